"""Keras callbacks, one a file; each is usable alone with any Keras model."""

from callbacks.early_stopping import EarlyStopping
from callbacks.gradient_clipping import GradientClipping
from callbacks.loss_curves import LossCurves
from callbacks.nan_guard import NanGuard, NonFiniteError
from callbacks.plateau_decay import PlateauDecay
from callbacks.progress import Progress
from callbacks.rate_schedule import RateSchedule
from callbacks.step_decay import StepDecay
from callbacks.stuck_decay import StuckDecay
from callbacks.timing import Timing
from callbacks.training_log import TrainingLog
from callbacks.weight_histograms import WeightHistograms

__all__ = [
    "EarlyStopping",
    "GradientClipping",
    "LossCurves",
    "NanGuard",
    "NonFiniteError",
    "PlateauDecay",
    "Progress",
    "RateSchedule",
    "StepDecay",
    "StuckDecay",
    "Timing",
    "TrainingLog",
    "WeightHistograms",
]
