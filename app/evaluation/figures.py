"""Figures: the look of all plots, and the way from a plot to a PNG file or an element of an HTML page.

Matplotlib is imported when something is drawn, and through figures only: no window, no pyplot state.
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

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

# Blue and vermillion are told apart by all common kinds of colour blindness (Okabe and Ito 2008), and the
# line style says it again. In an SVG each becomes a CSS variable of the page, so that dark mode can differ.
INK, SOFT, GRID = "#1f2328", "#59636e", "#d7dce1"
BLUE, VERMILLION = "#0a68b4", "#d55e00"
VARIABLES = {
    INK: "--ink",
    SOFT: "--soft",
    GRID: "--grid",
    BLUE: "--blue",
    VERMILLION: "--vermillion",
}


def printable(text: object) -> str:
    """`str(text)` with control characters, lone surrogates and the like written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


@contextmanager
def style() -> Iterator[None]:
    """Our defaults while drawing; the caller's settings are back afterwards."""
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
        "svg.fonttype": "none",  # text stays text: searchable, small, in the page's own font
        "svg.hashsalt": "epochal",  # equal data, equal bytes
        "text.color": INK,
        "text.parse_math": False,  # a class may be called $a$
        "xtick.color": SOFT,
        "ytick.color": SOFT,
    }
    with matplotlib.rc_context(settings), warnings.catch_warnings():  # type: ignore[arg-type]
        # A class name in a script that the font lacks: a PNG shows boxes, an SVG the name.
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font", UserWarning)
        yield


def clear_blue(least: float = 0.0, most: float = 1.0) -> Colormap:
    """From as good as clear to blue, by opacity: the same picture sits on a light and on a dark page."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    return LinearSegmentedColormap.from_list(
        "clear-blue", [(*to_rgb(BLUE), least), (*to_rgb(BLUE), most)]
    )


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def png(figure: Figure) -> bytes:
    """The figure as the bytes of a PNG file, the same ones each time."""
    buffer = io.BytesIO()
    figure.savefig(
        buffer,
        format="png",
        dpi=144,
        metadata={"Software": None},
    )
    return buffer.getvalue()


def svg(size: tuple[float, float], draw: Callable[[Axes], None], title: str) -> Markup:
    """What `draw` leaves on one pair of axes, as an element for the inside of an HTML page.

    Without prolog, namespaces and unreferenced ids (several stand on one page), with CSS variables for our
    colours.
    """
    with style():
        figure = new_figure(*size)
        figure.patch.set_visible(False)
        draw(figure.add_subplot())
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r' xmlns(:xlink)?="[^"]*"| id="[a-zA-Z0-9.]+_\d+"', "", text)
    text = text.replace("<svg", f'<svg role="img" aria-label="{escape(printable(title))}"', 1)
    text = re.sub(
        r" *<style.*?</style>\n?",
        "",
        text,
        count=1,
        flags=re.DOTALL,
    )
    text = re.sub(
        r"((?:fill|stroke): )(#[0-9a-f]{6})\b",
        lambda found: (
            f"{found[1]}var({VARIABLES[found[2]]})" if found[2] in VARIABLES else found[0]
        ),
        text,
    )
    return Markup(text)  # noqa: S704 Matplotlib has escaped the text in it
