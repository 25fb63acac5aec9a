"""Pages: HTML files of one look, from templates that escape all text; no link out, no script."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from epochal.app.characters import printable

_APP = Path(__file__).parents[1]
_THUMBNAIL = 160  # pixels of the longer side above which an image is shrunk, to keep the file small


def render(template: str, **values: Any) -> str:
    """Fill a template, named by its path below `app/`, such as `evaluation/report.html`.

    All text is escaped and its control characters are made visible; only `markupsafe.Markup`, such
    as an SVG element of `figures.svg`, stays as it is. Templates extend `evaluation/page.html`,
    which takes `title` and `facts` (short texts for the line below the title).
    """
    return _templates().get_template(template).render(**values)


@cache
def _templates() -> Environment:
    """Return the one environment of all pages."""
    environment = Environment(
        loader=FileSystemLoader(_APP),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        lstrip_blocks=True,
        trim_blocks=True,
    )
    environment.filters["percent"] = percent
    environment.filters["thousands"] = thousands
    return environment


def _finalize(value: object) -> object:
    """Make control characters of a text visible."""
    if isinstance(value, Markup):
        return value
    return printable(value)


def name_value_lines(values: Mapping[str, Any]) -> str:
    """Return `name: value` lines, control characters made visible."""
    lines = [f"{printable(name)}: {printable(value)}" for name, value in values.items()]
    return "\n".join(lines)


def thousands(number: int) -> str:
    """Return `1,234,567`."""
    return f"{number:,}"


def percent(share: float, digits: int = 1) -> str:
    """Return `97.8 %`, a dash where the share is NaN, and 100 % only where it is not rounded."""
    if np.isnan(share):
        return "–"
    value = 100 * share
    if share != 1:
        largest = 100 - 0.1**digits
        value = min(value, largest)
    return f"{value:.{digits}f} %"


def duration(seconds: float) -> str:
    """Return `42.1 s`, `3 min 20 s` or `2 h 05 min`."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    all_minutes = round(seconds / 60)
    hours, minutes = divmod(all_minutes, 60)
    return f"{hours} h {minutes:02} min"


def picture_uri(image: np.ndarray, longest: int = _THUMBNAIL) -> str:
    """Return an image, uint8 `[H, W, 1 or 3]`, as a PNG inside a URI; a larger one is shrunk."""
    from PIL import Image

    if image.shape[-1] == 1:
        image = image[..., 0]
    picture = Image.fromarray(image)
    picture.thumbnail((longest, longest))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    text = base64.b64encode(buffer.getvalue()).decode()
    return f"data:image/png;base64,{text}"
