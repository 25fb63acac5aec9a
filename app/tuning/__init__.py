"""Sweeps: KerasTuner's oracles over validation splits, resumable, in several processes."""
