"""`epochal data learning-curve`: what more images would bring, from trainings on fewer."""

from argparse import ArgumentTypeError

from epochal.app.commands.arguments import (
    TRAIN_FLAGS,
    add_dataset,
    add_settings,
    resolve_config,
    take_dataset,
)
from epochal.app.commands.console import Parser, load_tensorflow, say, whole_number
from epochal.app.config.files import read_value
from epochal.app.store.curve import ROOT, Curve
from epochal.app.store.runs import default_name

_DESCRIPTION = """\
Trains on growing parts of the training images, fits error = floor + scale * images ^ -exponent to
the validation errors, and tells what twice the images would bring. The test split is not looked at.

  epochal data learning-curve mnist --model lenet5 --epochs 5
  epochal data learning-curve photos --shares 0.25,0.5,0.75,1 --seeds 1

Table, law and plot are written to curves/NAME/findings/, the trainings to curves/NAME/runs/. The
same command again goes on where it was stopped; more --shares or --seeds add trainings.

Every option of `epochal train` that makes a configuration, and:
"""
_SHARES = "0.1,0.2,0.3,0.5,0.7,1"
_SEEDS = 3


def make_parser() -> Parser:
    """Return the parser: the command's own options and a flag for each setting."""
    parser = Parser("epochal data learning-curve", _DESCRIPTION, foreign=TRAIN_FLAGS)
    add_dataset(parser)
    parser.add_argument(
        "--shares",
        type=_shares,
        default=_shares(_SHARES),
        metavar="X,X,...",
        help=f"of the training images, above 0 and at most 1 ({_SHARES})",
    )
    parser.add_argument(
        "--seeds",
        type=_seeds,
        default=_SEEDS,
        metavar="N",
        help=f"trainings a share, each with a seed of its own ({_SEEDS})",
    )
    add_settings(parser, in_help=False)
    return parser


def run(words: list[str], verbosity: int) -> int:
    """Parse, call, print; return the exit code."""
    arguments = make_parser().parse_args(words)
    take_dataset(arguments)
    config = resolve_config(arguments)
    from epochal.app.data.availability import check_data

    config = check_data(config)
    folder = ROOT / (config.name or default_name(config))
    count = len(arguments.shares) * arguments.seeds
    say(
        f"epochal data learning-curve: {count} trainings of {config.model} on {config.dataset}, "
        f"in {folder}; loading TensorFlow ..."
    )
    load_tensorflow(verbosity)
    from epochal.app.tuning.learning_curve import check_curve, format_curve, make_learning_curve

    check_curve(config, arguments.shares)
    curve = Curve(folder)
    found = make_learning_curve(
        curve,
        config,
        arguments.shares,
        arguments.seeds,
    )
    print(format_curve(found))
    say(f"written to {curve.findings}")
    return 0


def _shares(text: str) -> tuple[float, ...]:
    shares = []
    for word in text.split(","):
        value = read_value(word)
        is_share = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1
        if not is_share:
            raise ArgumentTypeError(
                f"expected shares above 0 and at most 1, as {_SHARES}, got {text}"
            )
        shares.append(float(value))
    if len(set(shares)) < len(shares):
        raise ArgumentTypeError(f"expected each share once, got {text}")
    return tuple(sorted(shares))


def _seeds(text: str) -> int:
    return whole_number(text, 1, "a number of seeds from 1")
