"""The groups of settings inside a configuration: frozen, keyword-only, checked when made."""

from app.settings.data import Augment, Data
from app.settings.emphasis import Emphasis
from app.settings.optim import Objective, Optim
from app.settings.schedule import Schedule, Stopping

__all__ = ["Augment", "Data", "Emphasis", "Objective", "Optim", "Schedule", "Stopping"]
