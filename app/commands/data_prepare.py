"""`epochal data prepare`: a data set decoded and scaled once, to train without decoding."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from epochal.app.commands.arguments import add_setting, given_settings
from epochal.app.commands.console import BEGAN, Parser, load_tensorflow, say
from epochal.app.config import SETTINGS
from epochal.app.config.load import make_config
from epochal.app.units import number_of, size, time_of

if TYPE_CHECKING:
    from epochal.app.data.prepare import Progress

_DESCRIPTION = """\
Decode and scale the images of a data set once, into a folder that `--dataset FOLDER` then trains
from, with the same images to the bit and without decoding any.

  epochal data prepare ./photos --out ./photos-64 --image-size 64
  epochal train --dataset ./photos-64

The folder appears whole or not at all. Given again after a stop, the command goes on.
"""
# That decide which images there are, and their pixels.
_SETTINGS = (
    "image_size",
    "data_dir",
    "data.skip_bad",
    "data.nested",
    "data.classes",
    "data.features",
    "augment.scale_crop",
)
_SECONDS_BETWEEN_LINES = 5.0


def make_parser() -> Parser:
    """Return the parser of `epochal data prepare`."""
    parser = Parser("epochal data prepare", _DESCRIPTION)
    parser.add_argument("dataset", metavar="SOURCE", help="anything that --dataset of train takes")
    parser.add_argument(
        "--out", required=True, type=Path, metavar="FOLDER", help="does not exist yet, or is empty"
    )
    for key in _SETTINGS:
        add_setting(parser, SETTINGS[key], in_help=True)
    return parser


def run(words: list[str], verbosity: int) -> int:
    """Parse, call, print; return the exit code."""
    arguments = make_parser().parse_args(words)
    # Imported late: help needs no NumPy.
    from epochal.app.data.availability import check_data

    config = check_data(make_config(given_settings(arguments)))
    say(f"epochal data prepare: {config.dataset}; loading TensorFlow ...")
    load_tensorflow(verbosity)
    from epochal.app.data.prepare import prepare

    record = prepare(config, arguments.out, report=_Reporter().report)
    count = sum(split.count for split in record.splits.values())
    seconds = time_of(time.monotonic() - BEGAN)
    pixels = f"{record.stored_size} x {record.stored_size} x {record.channels}"
    print(
        f"{arguments.out}: {number_of(count, 'image')} of {pixels}, "
        f"{len(record.classes):,} classes, "
        f"{size(count * record.image_bytes)}, {seconds}"
    )
    return 0


class _Reporter:
    """Says how far a preparation is, now and then."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def report(self, progress: "Progress") -> None:
        """Say it if the last line is some seconds old."""
        now = time.monotonic()
        if now - self._last >= _SECONDS_BETWEEN_LINES:
            self._last = now
            say(f"  {progress.done:,} of {progress.total:,} images")
