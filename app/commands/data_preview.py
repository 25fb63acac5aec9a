"""`epochal data preview`: training images as the network will see them, on a contact sheet."""

from argparse import ArgumentTypeError
from pathlib import Path

from epochal.app.commands.arguments import (
    TRAIN_FLAGS,
    add_dataset,
    add_settings,
    resolve_config,
    take_dataset,
)
from epochal.app.commands.console import Parser, load_tensorflow, say, whole_number
from epochal.app.store.files import check_new_png, write_bytes

_DESCRIPTION = """\
Draws the first training images of the first epoch before and after augmentation, with what each
drew, as a run with the same options will train on them. Trains nothing.

  epochal data preview cifar10
  epochal data preview ./photos --image-size 224 --out photos.png

Every option of `epochal train` that makes a configuration, and:
"""
_OUT = Path("preview.png")
_MOST_IMAGES = 256


def make_parser() -> Parser:
    """Return the parser of `epochal data preview`: its own options and a flag for each setting."""
    parser = Parser("epochal data preview", _DESCRIPTION, foreign=TRAIN_FLAGS)
    add_dataset(parser, nargs="?")
    parser.add_argument(
        "--images",
        type=_images,
        default=16,
        metavar="N",
        help=f"on the sheet, at most {_MOST_IMAGES} (16)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=_OUT,
        metavar="FILE.png",
        help=f"a new file ({_OUT})",
    )
    add_settings(parser, in_help=False)
    return parser


def run(words: list[str], verbosity: int) -> int:
    """Parse, call, print; return the exit code."""
    arguments = make_parser().parse_args(words)
    check_new_png(arguments.out, "--out")
    take_dataset(arguments)
    # Imported late: help needs no NumPy.
    from epochal.app.data.availability import check_data

    config = check_data(resolve_config(arguments))
    say(f"epochal data preview: {config.dataset}; loading TensorFlow ...")
    load_tensorflow(verbosity)
    from epochal.app.evaluation.contact_sheet import contact_sheet
    from epochal.app.training.run.preview import preview_training

    shown = preview_training(config, arguments.images)
    title = f"{config.dataset}: before and after, epoch 1, seed {config.seed}"
    write_bytes(arguments.out, contact_sheet(shown, title))
    for number, preview in enumerate(shown, start=1):
        print(f"{number:3d}  {preview.label}: {', '.join(preview.draws) or 'unchanged'}")
    say(f"drawn in {arguments.out}")
    return 0


def _images(text: str) -> int:
    count = whole_number(text, 1, "a number of images from 1")
    if count > _MOST_IMAGES:
        raise ArgumentTypeError(f"expected {_MOST_IMAGES} images at most, got {text}")
    return count
