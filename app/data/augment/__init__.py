"""Augmentation of training images in batches: pure functions of (seed, epoch, position)."""
