"""`epochal predict`: labels and probabilities for image files."""

import csv
import sys
from pathlib import Path

from epochal.app.commands.arguments import add_views
from epochal.app.commands.console import Parser, load_tensorflow, say
from epochal.app.store import runs


def make_parser() -> Parser:
    """Return the parser of `epochal predict`."""
    parser = Parser("epochal predict", description="Labels and probabilities of image files.")
    parser.add_argument("run", help="a run's folder, or its name under runs/")
    add_views(parser)
    parser.add_argument(
        "images",
        nargs="+",
        type=Path,
        metavar="IMAGE",
        help="JPEG, PNG, GIF, BMP or WebP files, or folders of them",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--json", action="store_true", help="print one JSON object a line, with all probabilities"
    )
    form.add_argument(
        "--csv", action="store_true", help="print a table, a file a row, with all probabilities"
    )
    return parser


def run(words: list[str], verbosity: int) -> int:
    """Parse, call, print; return the exit code."""
    arguments = make_parser().parse_args(words)
    finished = runs.find(arguments.run)
    say(f"epochal predict: {finished.folder}; loading TensorFlow ...")
    load_tensorflow(verbosity)
    from epochal.app.evaluation.predict_files import header, predict_files

    predictions = predict_files(
        finished,
        arguments.images,
        report_unreadable=lambda reason: say(f"error: {reason}"),
        views=arguments.views,
    )
    table = csv.writer(
        sys.stdout,
        quoting=csv.QUOTE_NONNUMERIC,  # a class may be called 01 or nan
        lineterminator="\n",
    )
    classes = finished.data_card().classes
    for number, prediction in enumerate(predictions):
        if arguments.json:
            print(prediction.json(), flush=True)
        elif arguments.csv:
            if number == 0:
                table.writerow(header(classes))
            table.writerow(prediction.row(classes))
        else:
            print(prediction.line(), flush=True)
    return 0
