"""Keras callbacks, one a file; each is usable alone with any Keras model."""

from callbacks.activation_monitor import ActivationMonitor
from callbacks.best_weights import BestWeights
from callbacks.budget import Budget
from callbacks.early_stopping import EarlyStopping
from callbacks.exponential_moving_average import ExponentialMovingAverage
from callbacks.freezing import Freezing
from callbacks.gradient_clipping import GradientClipping
from callbacks.gradient_flow import GradientFlow
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
    "ActivationMonitor",
    "BestWeights",
    "Budget",
    "EarlyStopping",
    "ExponentialMovingAverage",
    "Freezing",
    "GradientClipping",
    "GradientFlow",
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
