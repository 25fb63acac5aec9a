"""What every HTML page of ours is made of: one file with the same look, no outside link, no script."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from epochal.app.evaluation.figures import printable
from epochal.app.evaluation.sections.section import Section

TEMPLATE = Path(__file__).with_name("page.html")


def page(title: str, facts: Iterable[object], body: str) -> str:
    """A whole page: the heading, `facts` in a line below it, and `body`, which is HTML already."""
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escaped(title),
        subtitle=" · ".join(escaped(fact) for fact in facts if fact is not None),
        body=body,
    )


def tiles(shown: Iterable[tuple[str, str, str]]) -> str:
    """The headline figures: name, value and what the value is in or of."""
    rows = "".join(
        f"<div><dt>{escaped(name)}</dt><dd>{escaped(value)}</dd><dd>{escaped(unit)}</dd></div>"
        for name, value, unit in shown
    )
    return f'<dl class="tiles">{rows}</dl>'


def section_html(section: Section) -> str:
    """A heading, sentences, figures and a table; text is escaped, figures are ours."""
    head, *rows = section.table or ((),)
    cells = "".join(
        f'<th scope="col"{" class=number" if place else ""}>{escaped(cell)}</th>'
        for place, cell in enumerate(head)
    )
    body = "".join(row_html(row[:1], map(escaped, row[1:])) for row in rows)
    table = f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>" if rows else ""
    figures = "".join(f"<figure>{figure}</figure>" for figure in section.figures)
    return (
        f"<section><h2>{escaped(section.title)}</h2><p>{escaped(section.text)}</p>"
        + (f'<div class="curves">{figures}</div>' if figures else "")
        + (f'<div class="card scroll tall" tabindex="0">{table}</div>' if table else "")
        + "</section>"
    )


def folded(parts: Iterable[tuple[str, str]]) -> str:
    """Names to click on and the lines of text below each; what is empty is left out."""
    return "".join(
        f"<details><summary>{escaped(name)}</summary><pre>{_block(lines)}</pre></details>"
        for name, lines in parts
        if lines
    )


def pairs(values: Mapping[str, Any]) -> str:
    """`name: value` lines."""
    return "\n".join(f"{printable(name)}: {printable(value)}" for name, value in values.items())


def _block(lines: str) -> str:
    """Escaped text of several lines."""
    return "\n".join(map(escaped, lines.splitlines()))


def row_html(names: Iterable[str], cells: Iterable[str]) -> str:
    """One table row; `names` are escaped, `cells` are ours."""
    heads = "".join(
        f'<th scope="row" title="{escaped(name)}">{escaped(name)}</th>' for name in names
    )
    return f"<tr>{heads}{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def escaped(value: object) -> str:
    """Escaped for HTML, with control characters made visible."""
    return escape(printable(value))


def percent(share: float, digits: int = 1) -> str:
    """`97.8 %`, a dash where the share is undefined, and 100 % only where it is not rounded."""
    if np.isnan(share):
        return "–"
    return f"{100 * share if share == 1 else min(100 * share, 100 - 0.1**digits):.{digits}f} %"


def duration(seconds: float) -> str:
    """`42.1 s`, `3 min 20 s` or `2 h 05 min`."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02} min"
