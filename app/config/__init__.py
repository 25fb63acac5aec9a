"""The configuration of a run: frozen, keyword-only groups of settings, checked when made. No TensorFlow here."""

from epochal.app.config.config import Config, Precision, is_name
from epochal.app.config.data import Augment, Data
from epochal.app.config.emphasis import Emphasis
from epochal.app.config.optim import Objective, Optim
from epochal.app.config.schedule import Schedule, Stopping

__all__ = [
    "Augment",
    "Config",
    "Data",
    "Emphasis",
    "Objective",
    "Optim",
    "Precision",
    "Schedule",
    "Stopping",
    "is_name",
]
