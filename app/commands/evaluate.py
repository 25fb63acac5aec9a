"""`epochal evaluate`: the figures of finished runs, computed again, and of their average."""

import json
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from epochal.app.commands.arguments import add_views
from epochal.app.commands.console import Parser, load_tensorflow, say
from epochal.app.errors import UsageError
from epochal.app.store import runs
from epochal.app.store.run import Run
from epochal.app.units import number_of

_DESCRIPTION = """Compute the figures of a finished run again, or those of other images.

  epochal evaluate runs/digits-resnet20
  epochal evaluate run1 run2 run3           each run's test figures, and those of the mean of
                                            their probabilities
  epochal evaluate run1 --invariance        how often predictions stay as an image is changed
"""


def make_parser() -> Parser:
    """Return the parser of `epochal evaluate`."""
    parser = Parser(prog="epochal evaluate", description=_DESCRIPTION)
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="a run's folder, or its name under runs/"
    )
    add_views(parser)
    parser.add_argument(
        "--dataset",
        metavar="IMAGES",
        help="evaluate on other images of its classes: a folder, a table of paths or shards",
    )
    parser.add_argument(
        "--invariance",
        action="store_true",
        help="how often predictions of validation images stay as they are flipped, shifted, ...",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def run(words: list[str], verbosity: int) -> int:
    """Parse, call, print; return the exit code."""
    arguments = make_parser().parse_args(words)
    is_more = (
        len(arguments.runs) > 1 or arguments.dataset is not None or arguments.views is not None
    )
    if arguments.invariance and is_more:
        raise UsageError(
            "--invariance looks once at the validation images of one run; give one run, without "
            "--dataset and --evaluation.views"
        )
    finished = [runs.find(name) for name in arguments.runs]
    names = ", ".join(str(found.folder) for found in finished)
    say(f"epochal evaluate: {names}; loading TensorFlow ...")
    load_tensorflow(verbosity)
    if arguments.invariance:
        _evaluate_invariance(finished[0], as_json=arguments.json)
        return 0
    if len(finished) > 1:
        _evaluate_several(finished, arguments)
        return 0
    from epochal.app.evaluation.evaluate_run import evaluate_folder, evaluate_run

    if arguments.dataset is None:
        figures = evaluate_run(finished[0], arguments.views)
    else:
        figures = evaluate_folder(finished[0], arguments.dataset, arguments.views)
    _print_figures(figures, as_json=arguments.json)
    if "test_uses" in figures:
        say(f"test split used {number_of(figures['test_uses'], 'time')}")
    return 0


def _evaluate_several(finished: list[Run], arguments: Namespace) -> None:
    from epochal.app.evaluation.ensemble import (
        evaluate_runs,
        evaluate_runs_on_folder,
        format_table,
    )

    if arguments.dataset is None:
        figures = evaluate_runs(finished, arguments.views)
    else:
        figures = evaluate_runs_on_folder(finished, arguments.dataset, arguments.views)
    if arguments.json:
        print(json.dumps(figures.to_dict()))
    else:
        print(format_table(figures))


def _evaluate_invariance(finished: Run, *, as_json: bool) -> None:
    from epochal.app.evaluation.invariance import format_invariance, measure_invariance

    figures = measure_invariance(finished)
    if as_json:
        print(json.dumps(figures.to_dict()))
    else:
        print(format_invariance(figures))


def _print_figures(figures: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(figures))
        return
    for key, value in figures.items():
        print(f"{key}: {value}")
