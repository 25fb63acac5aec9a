"""Audits in words: lines for the console, and plain values for JSON."""

from collections import Counter
from typing import Any

import numpy as np

from epochal.app.characters import printable
from epochal.app.data.audit.audit import Audit, Suspect
from epochal.app.units import number_of

_SHOWN = 10  # of each kind
_IMBALANCE = 3.0  # times as many images in the largest class as in the smallest; more are told


def findings(audit: Audit) -> list[str]:
    """Return what is wrong, a sentence each; an empty list where nothing is."""
    survey = audit.survey
    found = []
    if survey.bad:
        found.append(f"not usable: {number_of(len(survey.bad), 'file')}")
    if audit.split_fault:
        found.append(f"it cannot be split for training: {audit.split_fault}")
    for names in audit.alike_classes:
        quoted = ", ".join(f"'{printable(name)}'" for name in names)
        found.append(f"classes {quoted} look alike; rename or merge them")
    totals = {name: counts.total() for name, counts in audit.counts().items()}
    empty = [name for name, total in totals.items() if not total]
    for name in empty:
        found.append(f"class '{printable(name)}' has no images")
    ratio = imbalance(audit)
    if ratio > _IMBALANCE:
        found.append(
            f"the largest class has {ratio:.3g} times the images of the smallest; see "
            "--objective.class-weights balanced"
        )
    if audit.odd:
        found.append(f"of odd size or shape: {number_of(len(audit.odd), 'image')}")
    exact = audit.copies.exact
    if exact:
        count = sum(len(places) - 1 for places in exact)
        found.append(f"pixel by pixel equal to another: {number_of(count, 'image')}")
    if len(audit.copies.near):
        found.append(f"near duplicates: {number_of(len(audit.copies.near), 'pair')}")
    groups = audit.copy_groups()
    across = [places for places in groups if audit.is_across(places)]
    if across:
        found.append(
            f"in several splits, exactly or nearly: {number_of(len(across), 'picture')}; see "
            "--data.near-duplicates keep-together"
        )
    differing = [places for places in groups if len({audit.class_of(at) for at in places}) > 1]
    if differing:
        found.append(f"in several classes: {number_of(len(differing), 'picture')}")
    if audit.suspects:
        found.append(f"likely wrong, by the run: {number_of(len(audit.suspects), 'label')}")
    return found


def imbalance(audit: Audit) -> float:
    """Return how many times the images of the smallest class that has any the largest has."""
    totals = [counts.total() for counts in audit.counts().values() if counts]
    if not totals:
        return 1.0
    return max(totals) / min(totals)


def sizes(audit: Audit) -> list[tuple[str, int]]:
    """Return sizes as `width x height` with numbers of images, the most frequent first."""
    found = Counter(f"{look.width} x {look.height}" for look in audit.survey.looks)
    return found.most_common()


def modes(audit: Audit) -> list[tuple[str, int]]:
    """Return formats and modes of the files with numbers of images, the most frequent first."""
    return Counter(look.mode for look in audit.survey.looks).most_common()


def table(audit: Audit) -> list[str]:
    """Return the lines that the console shows."""
    survey = audit.survey
    lines = [f"{printable(audit.name)}: {number_of(len(survey.names), 'image')}"]
    lines += ["", *_count_lines(audit), ""]
    lines.append(f"sizes: {_most_frequent(sizes(audit))}")
    lines.append(f"modes: {_most_frequent(modes(audit))}")
    _extend(lines, "bad files", [f"{printable(file.path)}: {file.reason}" for file in survey.bad])
    odd = []
    for place in audit.odd:
        look = survey.looks[place]
        odd.append(f"{_named(audit, place)}: {look.width} x {look.height}")
    _extend(lines, "odd sizes", odd)
    exact = [" = ".join(_named(audit, place) for place in places) for places in audit.copies.exact]
    _extend(lines, "equal pictures", exact)
    near = []
    for place, other in near_pairs(audit):
        near.append(f"{_named(audit, place)} ~ {_named(audit, other)}")
    _extend(lines, "near duplicates, across splits first", near)
    if audit.suspects is not None:
        _extend(lines, "likely wrong labels", [_suspect_line(audit, s) for s in audit.suspects])
    found = findings(audit)
    lines.append("")
    lines += [f"- {printable(sentence)}" for sentence in found]
    if not found:
        lines.append("nothing is wrong that an audit can see")
    return lines


def near_pairs(audit: Audit) -> list[tuple[int, int]]:
    """Return the near duplicates, those across splits first, then those that differ least."""
    near = audit.copies.near
    is_across = np.array([audit.is_across(pair) for pair in near.tolist()], bool)
    order = np.lexsort((audit.copies.differences, ~is_across))
    return [(int(first), int(second)) for first, second in near[order]]


def values(audit: Audit) -> dict[str, Any]:
    """Return all of an audit as plain values for JSON."""
    survey = audit.survey
    differences = {}
    for (first, second), difference in zip(
        audit.copies.near.tolist(), audit.copies.differences.tolist(), strict=True
    ):
        differences[first, second] = difference
    near = []
    for first, second in near_pairs(audit):
        entry: dict[str, Any] = {"images": [_entry(audit, first), _entry(audit, second)]}
        entry["difference"] = differences[first, second]
        entry["across_splits"] = audit.is_across((first, second))
        near.append(entry)
    exact = []
    for places, same_bytes in zip(audit.copies.exact, audit.copies.same_bytes, strict=True):
        entry = {"images": [_entry(audit, place) for place in places]}
        entry["same_bytes"] = same_bytes
        entry["across_splits"] = audit.is_across(places)
        exact.append(entry)
    found: dict[str, Any] = {
        "schema": 1,
        "dataset": audit.name,
        "images": len(survey.names),
        "findings": findings(audit),
        "classes": {name: dict(counts) for name, counts in audit.counts().items()},
        "imbalance": imbalance(audit),
        "sizes": dict(sizes(audit)),
        "modes": dict(modes(audit)),
        "bad": [{"file": file.path, "reason": file.reason} for file in survey.bad],
        "odd_sizes": [_entry(audit, place) for place in audit.odd],
        "alike_classes": [list(names) for names in audit.alike_classes],
        "exact_duplicates": exact,
        "near_duplicates": near,
    }
    if audit.suspects is not None:
        suspects = []
        for suspect in audit.suspects:
            entry = _entry(audit, suspect.place) | vars(suspect)
            del entry["place"]
            suspects.append(entry)
        found["suspects"] = suspects
    return found


def _entry(audit: Audit, place: int) -> dict[str, Any]:
    look = audit.survey.looks[place]
    return {
        "name": audit.survey.names[place],
        "split": audit.assigned[place],
        "class": audit.class_of(place),
        "width": look.width,
        "height": look.height,
    }


def _count_lines(audit: Audit) -> list[str]:
    """Return the table of numbers of images by class and split."""
    splits = audit.splits()
    rows = [["class", *splits]]
    total: Counter[str] = Counter()
    for name, counts in audit.counts().items():
        rows.append([printable(name), *(f"{counts[split]:,}" for split in splits)])
        total += counts
    rows.append(["all", *(f"{total[split]:,}" for split in splits)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(splits) + 1)]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        for cell, width in zip(row[1:], widths[1:], strict=True):
            cells.append(cell.rjust(width))
        lines.append("  ".join(cells))
    return lines


def _most_frequent(counts: list[tuple[str, int]]) -> str:
    texts = [f"{name} ({count:,})" for name, count in counts[:_SHOWN]]
    if len(counts) > _SHOWN:
        texts.append(f"and {len(counts) - _SHOWN:,} more")
    return ", ".join(texts)


def _extend(lines: list[str], title: str, entries: list[str]) -> None:
    """Add a part with a title and its first entries, unless there are none."""
    if not entries:
        return
    lines += ["", f"{title} ({len(entries):,}):"]
    lines += [f"  {entry}" for entry in entries[:_SHOWN]]
    if len(entries) > _SHOWN:
        lines.append(f"  and {len(entries) - _SHOWN:,} more; --json lists all")


def _named(audit: Audit, place: int) -> str:
    return f"{printable(audit.survey.names[place])} ({audit.assigned[place]})"


def _suspect_line(audit: Audit, suspect: Suspect) -> str:
    fate = f"forgotten {suspect.forgotten} times"
    if not suspect.was_learned:
        fate = "never learned"
    return (
        f"{_named(audit, suspect.place)}, class '{printable(audit.class_of(suspect.place))}': "
        f"margin {suspect.margin:.2f}, loss {suspect.loss:.2f}, {fate}"
    )
