"""`epochal models`: the zoo, a model layer by layer, cheaper blocks, runs by accuracy and cost.

The list of the zoo comes from a file beside the models, whose import would load TensorFlow.
"""

import json
from argparse import ArgumentTypeError, Namespace
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from epochal.app.commands.arguments import flag_of
from epochal.app.commands.console import Parser, load_tensorflow, say
from epochal.app.errors import UsageError
from epochal.app.evaluation import cost_tables
from epochal.app.store.files import check_new_png

_DESCRIPTION = """\
The zoo, what a model of it costs layer by layer, cheaper blocks, runs by accuracy and cost.

  epochal models                                     every model, at its native input
  epochal models resnet20 --image-size 64            its layers; --plot FILE.png draws them
  epochal models --cheaper 3,64,64,32                what can stand in for a convolution
  epochal models --pareto runs/* --plot FILE.png     runs; * where none is cheaper and as good
"""
_LARGEST = 1_000_000  # of pixels, channels, classes or images
_OF_A_MODEL = (
    "image_size",
    "channels",
    "classes",
    "batch_size",
    "norm",
    "activation",
    "precision",
)


_SUMS = (
    "params",
    "multiply_adds",
    "kept_bytes",
    "live_bytes",
    "moved_bytes",
    "weight_bytes",
)


def make_parser() -> Parser:
    """Return the parser of `epochal models`."""
    parser = Parser("epochal models", description=_DESCRIPTION)
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="a model: what it costs, layer by layer"
    )
    model = parser.add_argument_group("of a model")
    model.add_argument(
        "--image-size",
        type=int,
        metavar="PIXELS",
        help="side of the images (default: its native one)",
    )
    model.add_argument(
        "--channels",
        type=int,
        help="of the images (default: its native ones)",
    )
    model.add_argument(
        "--classes",
        type=int,
        help="how many (default: its native ones)",
    )
    model.add_argument(
        "--batch-size",
        type=int,
        metavar="IMAGES",
        help="whose activations are counted (default: 1)",
    )
    model.add_argument("--norm", help="as in epochal train")
    model.add_argument("--activation", help="as in epochal train")
    model.add_argument(
        "--precision",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
        help="default: float32",
    )
    parser.add_argument(
        "--cheaper",
        type=_convolution,
        metavar="K,IN,OUT,SIZE",
        help="what can stand in for a K x K convolution from IN to OUT channels on images of SIZE "
        "x SIZE pixels",
    )
    parser.add_argument(
        "--pareto", nargs="+", metavar="RUN", help="finished runs: folders or names under runs/"
    )
    parser.add_argument(
        "--plot", type=Path, metavar="FILE.png", help="of a model or of runs: draw it, too"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _convolution(text: str) -> tuple[int, ...]:
    """Return kernel, inputs, outputs and side of the image."""
    try:
        numbers = tuple(map(int, text.split(",")))
    except ValueError:
        numbers = ()
    if len(numbers) != 4 or min(numbers) < 1 or max(numbers) > _LARGEST:
        raise ArgumentTypeError(
            f"expected four numbers, each at least 1 and at most {_LARGEST}, as 3,64,64,32; "
            f"got {text}"
        )
    return numbers


def check(arguments: Namespace) -> None:
    """Raise UsageError for options that do not go together, before anything slow begins."""
    questions = [arguments.name, arguments.cheaper, arguments.pareto]
    if sum(map(bool, questions)) > 1:
        raise UsageError(
            "a model's NAME, --cheaper and --pareto exclude each other; give one of them"
        )
    for option in _OF_A_MODEL:
        if getattr(arguments, option) is not None and not arguments.name:
            raise UsageError(f"{flag_of(option)} needs a model's NAME; see epochal models")
    if arguments.batch_size is not None and arguments.batch_size < 1:
        raise UsageError(f"--batch-size must be at least 1, got {arguments.batch_size}")
    for option in ("image_size", "channels", "classes", "batch_size"):
        number = getattr(arguments, option)
        if number is not None and number > _LARGEST:
            raise UsageError(f"{flag_of(option)} must be at most {_LARGEST}, got {number}")
    if arguments.plot:
        _check_plot(arguments)


def _check_plot(arguments: Namespace) -> None:
    if not (arguments.name or arguments.pareto):
        raise UsageError(
            "--plot needs a model's NAME or --pareto; there is nothing to draw of the whole zoo"
        )
    check_new_png(arguments.plot)


def needs_tensorflow(arguments: Namespace) -> bool:
    """Tell whether models must be built."""
    return bool(arguments.name or arguments.cheaper or arguments.pareto)


def answer(arguments: Namespace) -> str:
    """Return the text to print."""
    if arguments.name:
        return _model(arguments)
    if arguments.cheaper:
        return _cheaper(arguments)
    if arguments.pareto:
        return _pareto(arguments)
    rows = json.loads(_sizes_file().read_bytes())
    if arguments.json:
        return json.dumps(rows)
    return cost_tables.zoo_table(rows)


def _sizes_file() -> Path:
    """Return the place of the figures of every model."""
    spec = find_spec("epochal.models")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "sizes.json"


def _model(arguments: Namespace) -> str:
    from epochal.app.evaluation.cost_plots import costs_png
    from epochal.models import complexity

    options = {}
    for name in ("norm", "activation"):
        if getattr(arguments, name) is not None:
            options[name] = getattr(arguments, name)
    try:
        model = complexity.skeleton(
            arguments.name,
            _shape(arguments),
            arguments.classes,
            options=options,
            precision=arguments.precision or "float32",
        )
        cost = complexity.model_cost(model, arguments.batch_size or 1)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if arguments.plot:
        costs_png(arguments.plot, cost)
        say(f"drawn in {arguments.plot}")
    if arguments.json:
        return json.dumps(_values(cost))
    return cost_tables.model_table(cost)


def _shape(arguments: Namespace) -> tuple[int, int, int] | None:
    """Return the shape of the images, as given or the zoo's; None for an unknown model."""
    from epochal.models import ZOO

    if arguments.name not in ZOO:
        return None
    height, width, channels = ZOO[arguments.name].input_shape
    if arguments.image_size is not None:
        height = arguments.image_size
        width = arguments.image_size
    if arguments.channels is not None:
        channels = arguments.channels
    return height, width, channels


def _values(cost: Any) -> dict[str, Any]:
    """Return plain values: the sums first, then the layers."""
    values = asdict(cost)
    layers = values.pop("layers")
    for name in _SUMS:
        values[name] = getattr(cost, name)
    values["flops"] = 2 * cost.multiply_adds
    values["layers"] = layers
    return values


def _cheaper(arguments: Namespace) -> str:
    from epochal.models.cheaper_blocks import menu

    kernel, inputs, outputs, side = arguments.cheaper
    blocks = menu(kernel, inputs, outputs)
    pixels = side * side
    if not arguments.json:
        return cost_tables.menu_table(blocks, pixels)
    rows = []
    for block in blocks:
        multiply_adds = block.multiply_adds(pixels)
        rows.append({"name": block.name, "params": block.params, "multiply_adds": multiply_adds})
    return json.dumps(rows)


def _pareto(arguments: Namespace) -> str:
    from epochal.app.evaluation.cost_plots import pareto_png
    from epochal.app.evaluation.pareto import compare_runs

    comparison = compare_runs(arguments.pareto)
    for reason in comparison.skipped:
        say(f"left out: {reason}")
    if arguments.plot:
        pareto_png(arguments.plot, comparison.runs)
        say(f"drawn in {arguments.plot}")
    if arguments.json:
        return json.dumps([asdict(run) for run in comparison.runs])
    return cost_tables.pareto_table(comparison.runs)


def run(words: list[str], verbosity: int) -> int:
    """Parse, call, print; return the exit code."""
    arguments = make_parser().parse_args(words)
    check(arguments)
    if needs_tensorflow(arguments):
        say("epochal models: loading TensorFlow ...")
        load_tensorflow(verbosity)
    print(answer(arguments))
    return 0
