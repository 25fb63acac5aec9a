"""`epochal predict`: labels and probabilities for image files."""

from pathlib import Path

from epochal.app.commands.console import Parser, load_tensorflow, say
from epochal.app.store import run as runs


def run(words: list[str], verbosity: int) -> int:
    """Parses, calls, prints; returns the exit code."""
    parser = Parser(prog="epochal predict", description="Labels and probabilities of image files.")
    parser.add_argument("run", help="a run's folder, or its name under runs/")
    parser.add_argument(
        "images", nargs="+", type=Path, metavar="IMAGE", help="JPEG, PNG, GIF, BMP or WebP files"
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object a line, with all probabilities"
    )
    asked = parser.parse_args(words)
    run = runs.find(asked.run)
    say(f"epochal predict: {run.folder}; loading TensorFlow ...")
    load_tensorflow(verbosity)
    from epochal.app.evaluation.predict_files import predict_files

    for prediction in predict_files(run, asked.images, refused=lambda why: say(f"error: {why}")):
        print(prediction.json() if asked.json else prediction.line(), flush=True)
    return 0
