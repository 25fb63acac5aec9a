"""Optimizers by name, each with the learning rate that is usual for it. No Keras here."""

from epochal.app.config.checks import shortened
from epochal.app.errors import suggestion

# Keras' names in lower case, then ours. Unless something is said, the rate is the default of Keras,
# or of our class.
USUAL_RATES = {
    # He et al. 2016, arXiv:1512.03385, section 4.2: networks with batch norm
    "sgd": 0.1,
    "rmsprop": 1e-3,
    "adam": 1e-3,
    "adamw": 1e-3,
    # Zeiler 2012, arXiv:1212.5701: its updates have the units of the weights
    "adadelta": 1.0,
    # Duchi, Hazan and Singer 2011: the sum of squares in the denominator only grows
    "adagrad": 0.01,
    "adamax": 1e-3,
    # relative to the size of the weights: Shazeer and Stern 2018, arXiv:1804.04235, algorithm 5
    "adafactor": 0.01,
    "nadam": 1e-3,
    # McMahan et al. 2013; without its penalties it is AdaGrad
    "ftrl": 0.01,
    # Chen et al. 2023, arXiv:2302.06675: a third to a tenth of Adam's
    "lion": 1e-4,
    "lamb": 1e-3,
    "muon": 1e-3,
    # Defazio et al. 2024, arXiv:2405.15682
    "schedulefreeadamw": 0.0025,
    "adaptivegain": 0.01,
    # measured with resnet8 on the digits, 8 epochs: accuracy 0.68, at 0.01 only 0.21
    "globalgain": 0.1,
    "diagonalnewton": 0.01,
}


def usual_rate(optimizer: str) -> float:
    """Return the learning rate to begin with where none is given."""
    return USUAL_RATES[optimizer.lower()]


def check_optimizer(name: str) -> None:
    """Raise ValueError, with a suggestion, unless there is an optimizer of that name."""
    known = list(USUAL_RATES)
    if name.lower() not in known:
        hint = suggestion(name.lower(), known)
        raise ValueError(
            f"optimizer: unknown {shortened(repr(name))}{hint}; there are {', '.join(known)}"
        )
