"""Keras callbacks, one a file; each is usable alone with any Keras model."""

from callbacks.early_stopping import EarlyStopping
from callbacks.gradient_clipping import GradientClipping
from callbacks.nan_guard import NanGuard, NonFiniteError
from callbacks.one_cycle import OneCycle
from callbacks.progress import Progress
from callbacks.step_decay import StepDecay
from callbacks.weight_histograms import WeightHistograms

__all__ = [
    "EarlyStopping",
    "GradientClipping",
    "NanGuard",
    "NonFiniteError",
    "OneCycle",
    "Progress",
    "StepDecay",
    "WeightHistograms",
]
