"""`epochal lr-plan`: the learning rate of a configuration over its epochs, before training."""

from pathlib import Path

from epochal.app.commands.arguments import TRAIN_FLAGS, add_settings, resolve_config
from epochal.app.commands.console import Parser, load_tensorflow, say
from epochal.app.config import Config
from epochal.app.store.files import check_new_png
from epochal.app.units import number_of

_DESCRIPTION = """\
The learning rate of a configuration, epoch by epoch, before anything is trained.

  epochal lr-plan --epochs 30 --schedule.shape cosine --schedule.warm-up 2
  epochal lr-plan --recipe cifar10-resnet20-short --plot FILE.png

Every option of `epochal train` that makes a configuration, and:
"""


def make_parser() -> Parser:
    """Return the parser of `epochal lr-plan`: its own options and a flag for each setting."""
    parser = Parser("epochal lr-plan", _DESCRIPTION, foreign=TRAIN_FLAGS)
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="FILE.png",
        help="draw it, too",
    )
    add_settings(parser, in_help=False)
    return parser


def run(words: list[str], verbosity: int) -> int:
    """Parse, call, print; return the exit code."""
    arguments = make_parser().parse_args(words)
    check_new_png(arguments.plot)
    config = resolve_config(arguments)
    load_tensorflow(verbosity)
    from epochal.app.evaluation.rate_plots import plan_png
    from epochal.app.training.probes.rate_plan import plan_rates
    from epochal.app.training.step.learning_rate import arithmetic

    plan = plan_rates(config)
    for remark in _remarks(config):
        say(remark)
    epochs = number_of(config.epochs, "epoch")
    title = f"{config.schedule.shape}, {epochs}, learning rate {arithmetic(config)}"
    if arguments.plot:
        plan_png(arguments.plot, plan.curve(), config.epochs, title)
        say(f"drawn in {arguments.plot}")
    print(title)
    print("epoch   begins at     ends at")
    for epoch, first, last in plan.rows():
        print(f"{epoch:5d}  {first:10.4g}  {last:10.4g}")
    return 0


def _remarks(config: Config) -> list[str]:
    """Return what may make the course another one."""
    remarks = []
    if config.budget:
        remarks.append(
            f"with a budget of {config.budget} this course follows the clock: epochs are its "
            "proportions alone"
        )
    if config.schedule.shape in ("plateau", "stuck"):
        remarks.append(
            f"{config.schedule.shape} drops the rate when training says so: this is the course "
            "without a drop"
        )
    if config.nan_policy == "rollback":
        remarks.append(
            "each rollback divides the rates that follow it by ten: this is the course without one"
        )
    return remarks
