"""Keras callbacks, one a file; each is usable alone with any Keras model."""

from callbacks.budget import Budget
from callbacks.early_stopping import EarlyStopping
from callbacks.freezing import Freezing
from callbacks.gradient_clipping import GradientClipping
from callbacks.nan_guard import NanGuard, NonFiniteError
from callbacks.plateau_decay import PlateauDecay
from callbacks.progress import Progress
from callbacks.rate_schedule import RateSchedule
from callbacks.step_decay import StepDecay
from callbacks.stuck_decay import StuckDecay
from callbacks.training_log import TrainingLog
from callbacks.weight_histograms import WeightHistograms

__all__ = [
    "Budget",
    "EarlyStopping",
    "Freezing",
    "GradientClipping",
    "NanGuard",
    "NonFiniteError",
    "PlateauDecay",
    "Progress",
    "RateSchedule",
    "StepDecay",
    "StuckDecay",
    "TrainingLog",
    "WeightHistograms",
]
