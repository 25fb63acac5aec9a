"""`epochal finetune`: a network that was trained on ImageNet, trained on other images."""

from epochal.app.commands.arguments import (
    TRAIN_FLAGS,
    add_dataset,
    add_settings,
    gather_settings,
    take_dataset,
)
from epochal.app.commands.console import BEGAN, Parser, load_tensorflow, say
from epochal.app.commands.train import print_summary
from epochal.app.config import IMAGENET
from epochal.app.config.load import make_config
from epochal.app.errors import UsageError

_DESCRIPTION = """\
Train a network that was trained on ImageNet on images of your own: first the logits alone, on
features that are computed once, then all weights, the lower ones at a fifth of the rate.

  epochal finetune ./photos
  epochal finetune ./photos --model mobilenet_v2
  epochal finetune ./photos --weights FILE --image-size 160 --epochs 10

What is not given follows from the network and from the number of images; the run's config.yaml has
it. The run is one like others: epochal train --resume RUN goes on with it. Every option of epochal
train that makes a configuration, and:
"""
_MODEL = "efficientnet_lite0"
_FOREIGN = {**TRAIN_FLAGS, "--resume": "goes on with any run: epochal train --resume RUN"}


def make_parser() -> Parser:
    """Return the parser of `epochal finetune`: the data set and a flag for each setting."""
    parser = Parser("epochal finetune", _DESCRIPTION, foreign=_FOREIGN)
    parser.usage = "epochal finetune DATASET [options]"
    add_dataset(parser)
    add_settings(parser, in_help=False)
    return parser


def run(words: list[str], verbosity: int) -> int:
    """Parse, call, print; return the exit code."""
    arguments = make_parser().parse_args(words)
    take_dataset(arguments)
    settings = gather_settings(arguments)
    source = settings.get("init_from")
    if source is not None:
        raise UsageError(
            f"--init-from {source}: finetune begins with published weights; to go on from a run: "
            f"epochal train --init-from {source} --optim.head-epochs 30"
        )
    config = make_config({"model": _MODEL, "weights": IMAGENET} | settings)
    # Imported late: help needs no NumPy.
    from epochal.app.data.availability import check_data

    config = check_data(config)
    say(f"epochal finetune {config.dataset}: {config.model}; loading TensorFlow ...")
    load_tensorflow(verbosity)
    from epochal.app.training.finetune import finetune
    from epochal.app.training.train import Session

    finished = finetune(config, settings, Session(began=BEGAN))
    print_summary(finished, export=False)
    return 0
