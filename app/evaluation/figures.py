"""Figures: the look of all plots, as PNG files or elements of an HTML page.

Matplotlib is imported when something is drawn, and through figures only: no window, no state of
pyplot.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING

from markupsafe import Markup

from epochal.app.characters import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

# Blue and vermillion are told apart by all common kinds of colour blindness (Okabe and Ito 2008),
# and the line style says it again. In an SVG each becomes a CSS variable of the page, so that dark
# mode can differ.
INK = "#1f2328"
SOFT = "#59636e"
GRID = "#d7dce1"
BLUE = "#0a68b4"
VERMILLION = "#d55e00"
VARIABLES = {
    INK: "--ink",
    SOFT: "--soft",
    GRID: "--grid",
    BLUE: "--blue",
    VERMILLION: "--vermillion",
}


@contextmanager
def style() -> Iterator[None]:
    """Draw with our defaults; the caller's settings are back afterwards."""
    import matplotlib

    settings = {
        "axes.axisbelow": True,
        "axes.facecolor": "none",
        "axes.edgecolor": GRID,
        "axes.labelcolor": SOFT,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlecolor": INK,
        "axes.titlelocation": "left",
        "axes.titlesize": 11.5,
        "axes.titleweight": "bold",
        "figure.constrained_layout.h_pad": 0.12,
        "figure.constrained_layout.w_pad": 0.12,
        "font.size": 9.5,
        "grid.color": GRID,
        "grid.linewidth": 0.7,
        "legend.frameon": False,
        "lines.linewidth": 1.8,
        "lines.markersize": 4,
        # Text stays text: searchable, small, in the page's own font.
        "svg.fonttype": "none",
        # Equal data gives equal bytes.
        "svg.hashsalt": "epochal",
        "text.color": INK,
        # A class may be called $a$.
        "text.parse_math": False,
        "xtick.color": SOFT,
        "ytick.color": SOFT,
    }
    with matplotlib.rc_context(settings), warnings.catch_warnings():  # type: ignore[arg-type]
        # A class name in a script that the font lacks: a PNG shows boxes, an SVG the name.
        warnings.filterwarnings(
            "ignore",
            r"Glyph \d+ .* missing from font",
            UserWarning,
        )
        yield


def clear_blue(least: float = 0.0, most: float = 1.0) -> Colormap:
    """Return colours from nearly clear to blue, by opacity, for light and for dark pages alike."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgba

    ends = [to_rgba(BLUE, least), to_rgba(BLUE, most)]
    return LinearSegmentedColormap.from_list("clear-blue", ends)


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure; its sides are in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def png(figure: Figure) -> bytes:
    """Return the figure as the bytes of a PNG file, the same ones each time."""
    buffer = io.BytesIO()
    figure.savefig(
        buffer,
        format="png",
        dpi=144,
        bbox_inches=_whole_extent(figure),
        metadata={"Software": None},
    )
    return buffer.getvalue()


def svg(size: tuple[float, float], draw: Callable[[Axes], None], title: str) -> Markup:
    """Return what `draw` leaves on a pair of axes as an element for the inside of an HTML page.

    It has no prolog, no namespaces and no ids that nothing refers to, since many stand on one page,
    and CSS variables for our colours.
    """
    width, height = size
    with style():
        figure = new_figure(width, height)
        figure.patch.set_visible(False)
        draw(figure.add_subplot())
        buffer = io.StringIO()
        no_metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(
            buffer,
            format="svg",
            metadata=no_metadata,
            bbox_inches=_whole_extent(figure),
        )
    text = buffer.getvalue()
    _, start, rest = text.partition("<svg")
    text = start + rest
    text = re.sub(
        r' xmlns(:xlink)?="[^"]*"| id="[a-zA-Z0-9.]+_\d+"',
        "",
        text,
    )
    label = escape(printable(title))
    labelled = f'<svg role="img" aria-label="{label}"'
    text = text.replace("<svg", labelled, 1)
    text = re.sub(
        r" *<style.*?</style>\n?",
        "",
        text,
        count=1,
        flags=re.DOTALL,
    )
    text = re.sub(
        r"((?:fill|stroke): )(#[0-9a-f]{6})\b",
        _use_variable,
        text,
    )
    return Markup(text)  # noqa: S704 Matplotlib has escaped the text in it


def _whole_extent(figure: Figure) -> Bbox:
    """Lay a figure out, and return its extent in inches, grown where a long name would be cut."""
    from matplotlib.transforms import Bbox

    figure.draw_without_rendering()
    extent = Bbox.union([figure.bbox_inches, figure.get_tightbbox()])
    # It is laid out; once more would cost as much as drawing it.
    figure.set_layout_engine(None)
    return extent


def _use_variable(match: re.Match[str]) -> str:
    """Return a colour of an SVG's style as a CSS variable, if it is one of ours."""
    attribute, colour = match.groups()
    if colour not in VARIABLES:
        return match[0]
    return f"{attribute}var({VARIABLES[colour]})"
