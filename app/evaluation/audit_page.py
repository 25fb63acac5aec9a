"""Pages of audits: what is wrong with a data set, with pictures; no outside link, no script."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from epochal.app.data.audit import words
from epochal.app.data.audit.audit import Audit, Suspect
from epochal.app.evaluation.page import picture_uri, render
from epochal.app.store import files
from epochal.app.units import number_of

_SHOWN = 48  # pictures of a kind
_NAMED = 6  # images of a group


def write_audit_page(path: Path, audit: Audit) -> None:
    """Write an audit as one self-contained HTML file.

    Raises:
        StorageError: the file cannot be written.
    """
    files.write_bytes(path, audit_html(audit).encode())


def audit_html(audit: Audit) -> str:
    """Return the page of an audit; everything that came from outside is escaped."""
    survey = audit.survey
    splits = audit.splits()
    rows = []
    for name, counts in audit.counts().items():
        rows.append([name, *(f"{counts[split]:,}" for split in splits)])
    return render(
        "evaluation/audit.html",
        title=f"Audit of {audit.name}",
        facts=[
            number_of(len(survey.names), "image"),
            f"{len(survey.classes)} classes",
            f"splits {', '.join(splits)}",
        ],
        tiles=_tiles(audit),
        findings=words.findings(audit),
        heads=["class", *splits],
        classes=rows,
        sizes=_rows(words.sizes(audit)),
        modes=_rows(words.modes(audit)),
        bad=[[file.path, file.reason] for file in survey.bad],
        galleries=_galleries(audit),
    )


def _tiles(audit: Audit) -> list[tuple[str, str, str]]:
    """Return name, value and unit of the headline figures."""
    groups = audit.copy_groups()
    across = sum(audit.is_across(places) for places in groups)
    tiles = [
        ("Images", f"{len(audit.survey.names):,}", "that can be used"),
        ("Bad files", f"{len(audit.survey.bad):,}", "that cannot"),
        ("Copies", f"{len(groups):,}", "pictures that come more than once"),
        ("Leaks", f"{across:,}", "of these lie in several splits"),
        ("Imbalance", f"{words.imbalance(audit):.3g}", "largest class over smallest"),
    ]
    if audit.suspects is not None:
        tiles.append(("Suspects", f"{len(audit.suspects):,}", "labels that may be wrong"))
    return tiles


def _rows(counts: Sequence[tuple[str, int]]) -> list[list[str]]:
    return [[name, f"{count:,}"] for name, count in counts]


def _galleries(audit: Audit) -> list[dict[str, Any]]:
    """Return title, text and cards of each part that shows pictures, unless there are none."""
    galleries = []
    if audit.suspects:
        cards = [_suspect_card(audit, suspect) for suspect in audit.suspects[:_SHOWN]]
        text = (
            "Training images whose label had less than another class on average over the epochs, "
            "the most suspicious first; the margin is the label's logit less the largest other."
        )
        galleries.append(_gallery("Labels that may be wrong", text, cards, len(audit.suspects)))
    near = words.near_pairs(audit)
    if near:
        cards = [_group_card(audit, pair) for pair in near[:_SHOWN]]
        text = "The same but for recoding, a slight crop or brightness; those across splits first."
        galleries.append(_gallery("Near duplicates", text, cards, len(near)))
    exact = audit.copies.exact
    if exact:
        cards = [_group_card(audit, places) for places in exact[:_SHOWN]]
        text = "Pictures that come again pixel by pixel; the first two of each are shown."
        galleries.append(_gallery("Equal pictures", text, cards, len(exact)))
    if audit.odd:
        cards = [_card(audit, place) for place in audit.odd[:_SHOWN]]
        text = "Images whose size or shape is unlike that of the others."
        galleries.append(_gallery("Odd sizes", text, cards, len(audit.odd)))
    return galleries


def _gallery(title: str, text: str, cards: list[dict[str, Any]], count: int) -> dict[str, Any]:
    if count > len(cards):
        text = f"{text} The first {len(cards)} of {count:,}."
    return {"title": title, "text": text, "cards": cards}


def _card(audit: Audit, place: int) -> dict[str, Any]:
    """Return what is shown of an image."""
    look = audit.survey.looks[place]
    return {
        "names": [audit.survey.names[place]],
        "label": audit.class_of(place),
        "split": audit.assigned[place],
        "text": f"{look.width} x {look.height}",
        "uris": [picture_uri(audit.survey.read(place))],
    }


def _group_card(audit: Audit, places: Sequence[int]) -> dict[str, Any]:
    """Return what is shown of images that show the same: two of them, side by side."""
    cards = [_card(audit, place) for place in places[:2]]
    labels = dict.fromkeys(audit.class_of(place) for place in places)
    splits = dict.fromkeys(audit.assigned[place] for place in places)
    return {
        "names": [audit.survey.names[place] for place in places[:_NAMED]],
        "label": ", ".join(labels),
        "split": ", ".join(splits),
        "text": number_of(len(places), "image"),
        "uris": [card["uris"][0] for card in cards],
    }


def _suspect_card(audit: Audit, suspect: Suspect) -> dict[str, Any]:
    fate = "never learned"
    if suspect.was_learned:
        fate = f"forgotten {suspect.forgotten} x"
    text = f"margin {suspect.margin:.1f} · {fate}"
    return _card(audit, suspect.place) | {"text": text}
