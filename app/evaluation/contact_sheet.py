"""Contact sheets: training images before and after augmentation, with what each drew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from epochal.app.characters import printable
from epochal.app.data.previews import Preview
from epochal.app.evaluation.figures import SOFT, new_figure, png, style
from epochal.app.evaluation.page import picture_uri

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SMALL = 64  # pixels, up to which an image is enlarged to its square
_LINE = 0.13  # inches
_MOST_LINES = 12
_GAP_LEVEL = 128  # seen beside black and beside white


def contact_sheet(shown: Sequence[Preview], title: str) -> bytes:
    """Return a PNG file of all images, each beside itself unchanged, in rows of four or three."""
    side = 1.0
    columns = 4
    if shown[0].after.shape[0] > _SMALL:
        side = 1.5
        columns = 3
    columns = min(columns, len(shown))
    num_rows = -(-len(shown) // columns)
    lines = 1 + min(_MOST_LINES, max(len(preview.draws) for preview in shown))
    cell_width = 2 * side + 0.25
    cell_height = side + _LINE * lines + 0.25
    with style():
        figure = new_figure(cell_width * columns, cell_height * num_rows + 0.4)
        axes: Any = figure.add_subplot()
        axes.set_axis_off()
        axes.set_aspect("equal")
        axes.set_title(printable(title), fontsize=9)
        for number, preview in enumerate(shown):
            row, column = divmod(number, columns)
            _draw(axes, preview, column * cell_width, row * cell_height, side)
        axes.set_xlim(0, cell_width * columns)
        axes.set_ylim(cell_height * num_rows, 0)
        return png(figure)


def _draw(axes: Axes, preview: Preview, left: float, top: float, side: float) -> None:
    """Draw an image, unchanged and changed, and the words below it."""
    bottom = top + side
    for start, image in ((left, preview.before), (left + side + 0.05, preview.after)):
        axes.imshow(
            np.broadcast_to(image, (*image.shape[:2], 3)),
            extent=(start, start + side, bottom, top),
            interpolation="none" if image.shape[0] <= _SMALL else "antialiased",
        )
    axes.text(
        left,
        bottom + 0.03,
        printable(preview.label),
        va="top",
        fontsize=7,
        fontweight="bold",
    )
    axes.text(
        left,
        bottom + 0.03 + _LINE,
        "\n".join(preview.draws[:_MOST_LINES]),
        va="top",
        fontsize=6.5,
        color=SOFT,
    )


def strip(shown: Sequence[Preview]) -> list[dict[str, Any]]:
    """Return plain values for the report of a run: a picture of each pair, label and draws."""
    records = []
    for preview in shown:
        side, _, channels = preview.after.shape
        gap = np.full((side, max(1, side // 16), channels), _GAP_LEVEL, np.uint8)
        pair = np.concatenate([preview.before, gap, preview.after], axis=1)
        record = {
            "uri": picture_uri(pair, 2 * 96),
            "label": preview.label,
            "draws": list(preview.draws),
        }
        records.append(record)
    return records
