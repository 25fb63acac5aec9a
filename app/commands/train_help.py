"""What `epochal train --help` shows."""

import shutil
import textwrap
from typing import Any

from epochal.app.commands.arguments import train_parser

_COLUMNS = 28  # of the flags

_EXAMPLES = """\
epochal train                                            the embedded digits, in half a minute
epochal train --dataset cifar10 --epochs 2 --augment.flip true
epochal train --recipe cifar10-resnet20                  a shipped configuration
epochal train --dataset path/to/folder --image-size 64   one sub-folder a class
epochal train --resume                                   go on with the newest run
"""


def train_help() -> str:
    """What `epochal train --help` shows: examples first, then every flag with its default."""
    lines = [_EXAMPLES]
    width = min(shutil.get_terminal_size().columns, 120) - _COLUMNS
    for group in train_parser()._action_groups:
        shown = [
            action
            for action in group._group_actions
            if action.help and not action.help.startswith("Path to a")
        ]
        if shown:
            lines += [
                f"{group.title}:",
                *(line for action in shown for line in _described(action, width)),
                "",
            ]
    return "\n".join(lines)


def _described(action: Any, width: int) -> list[str]:
    """A flag and its help, in two columns; null needs no default, for the help says what it means."""
    flag = action.option_strings[0].replace("_", "-") + (
        " [RUN]" if action.dest == "resume" else ""
    )
    told = action.default is not None and action.default is not False and action.nargs != 0
    default = f" (default: {action.default})" if told else ""
    first, *rest = textwrap.wrap(action.help + default, max(width, 30))
    head = f"  {flag:{_COLUMNS - 4}}  "
    return [head + first, *(" " * _COLUMNS + line for line in rest)]
