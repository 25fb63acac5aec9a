"""`epochal evaluate`: the figures of a finished run, computed again."""

import json

from epochal.app.commands.arguments import add_views
from epochal.app.commands.console import Parser, load_tensorflow, say
from epochal.app.store import run as runs


def make_parser() -> Parser:
    """Return the parser of `epochal evaluate`."""
    parser = Parser(
        prog="epochal evaluate",
        description="Compute the figures of a finished run again, or those of other images.",
    )
    parser.add_argument("run", help="a run's folder, or its name under runs/")
    add_views(parser)
    parser.add_argument(
        "--dataset", metavar="FOLDER", help="evaluate on another folder of images of its classes"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def run(words: list[str], verbosity: int) -> int:
    """Parse, call, print; return the exit code."""
    arguments = make_parser().parse_args(words)
    finished = runs.find(arguments.run)
    say(f"epochal evaluate: {finished.folder}; loading TensorFlow ...")
    load_tensorflow(verbosity)
    from epochal.app.evaluation.evaluate_run import evaluate_folder, evaluate_run

    if arguments.dataset is None:
        figures = evaluate_run(finished, arguments.views)
    else:
        figures = evaluate_folder(finished, arguments.dataset, arguments.views)
    if arguments.json:
        print(json.dumps(figures))
        return 0
    for key, value in figures.items():
        print(f"{key}: {value}")
    return 0
