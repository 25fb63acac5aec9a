"""The configuration of a run: frozen groups of settings, checked when made. No TensorFlow here."""

from epochal.app.config.augment import Augment
from epochal.app.config.config import IMAGENET, Config, Precision, is_name
from epochal.app.config.data import Data
from epochal.app.config.emphasis import Emphasis
from epochal.app.config.evaluation import Evaluation, ViewsName
from epochal.app.config.keys import SETTINGS, get_setting, replace_settings
from epochal.app.config.objective import Objective
from epochal.app.config.optim import Optim
from epochal.app.config.schedule import Schedule
from epochal.app.config.settings import Setting, Traits
from epochal.app.config.stopping import Stopping

__all__ = [
    "IMAGENET",
    "SETTINGS",
    "Augment",
    "Config",
    "Data",
    "Emphasis",
    "Evaluation",
    "Objective",
    "Optim",
    "Precision",
    "Schedule",
    "Setting",
    "Stopping",
    "Traits",
    "ViewsName",
    "get_setting",
    "is_name",
    "replace_settings",
]
