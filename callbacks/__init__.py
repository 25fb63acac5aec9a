"""Keras callbacks, one a file; each is usable alone with any Keras model."""

from epochal.callbacks.activation_monitor import ActivationMonitor
from epochal.callbacks.best_weights import BestWeights
from epochal.callbacks.budget import Budget
from epochal.callbacks.early_stopping import EarlyStopping
from epochal.callbacks.exponential_moving_average import ExponentialMovingAverage
from epochal.callbacks.freezing import Freezing
from epochal.callbacks.gradient_clipping import GradientClipping
from epochal.callbacks.gradient_flow import GradientFlow
from epochal.callbacks.loss_curves import LossCurves
from epochal.callbacks.nan_guard import NanGuard, NonFiniteError
from epochal.callbacks.plateau_decay import PlateauDecay
from epochal.callbacks.progress import Progress
from epochal.callbacks.rate_schedule import RateSchedule
from epochal.callbacks.small_updates import SmallUpdates
from epochal.callbacks.step_decay import StepDecay
from epochal.callbacks.stuck_decay import StuckDecay
from epochal.callbacks.timing import Timing
from epochal.callbacks.training_log import TrainingLog
from epochal.callbacks.weight_histograms import WeightHistograms

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
    "SmallUpdates",
    "StepDecay",
    "StuckDecay",
    "Timing",
    "TrainingLog",
    "WeightHistograms",
]
