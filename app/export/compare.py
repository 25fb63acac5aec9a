"""What every format and precision costs and gains, measured on this machine."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from epochal.app.export.export import asked
from epochal.app.export.exported_run import Source, read_source
from epochal.app.export.variants import Variant, installed
from epochal.app.store.run import Run

_NEAR = 0.005  # of the best accuracy, within which the smallest is marked
_BATCHES = ("1", "32")


def compare(run: Run, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Exports each variant into a folder that is thrown away; returns what was found of each.

    Accuracy is that of the whole test split, asked in a fresh process; latency, in milliseconds, is the median and
    95th percentile of the first signature on all cores that this process may use, one call after the other.
    """
    source = read_source(run)
    rows = []
    for variant in installed():
        if variant.format == "saved_model" and variant.precision == source.own.card["precision"]:
            continue  # the run's own is the same
        say(f"{variant.format} {variant.precision} ...")
        rows.append(_measured(source, variant))
    near = [row for row in rows if row["accuracy"] >= max(row["accuracy"] for row in rows) - _NEAR]
    smallest = min(near, key=lambda row: row["bytes"])
    return [{**row, "smallest": row is smallest} for row in rows]


def table(rows: list[dict[str, Any]]) -> str:
    """What `compare` found, a line a variant."""
    lines = [_line(row) for row in rows]
    taken = f"{'ms: 1 im.':>9} {'95 %':>8} {'32 im.':>9} {'95 %':>8}"
    head = f"{'':2}{'format':12} {'precision':10} {'accuracy':>9} {'MB':>8} {taken}"
    return "\n".join(
        [head, *lines, f"* the smallest within {100 * _NEAR:g} points of the best accuracy"]
    )


def _measured(source: Source, variant: Variant) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as beside:
        folder = Path(beside)
        expected = source.write(folder, variant, source.run.folder.name)
        verdict = asked(folder, expected.evidence, timed=",".join(_BATCHES))
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    found = {key: verdict[key] for key in ("accuracy", "milliseconds")}
    return {"format": variant.format, "precision": variant.precision, "bytes": size, **found}


def _line(row: dict[str, Any]) -> str:
    taken = [
        f"{row['milliseconds'][size][0]:9.2f} {row['milliseconds'][size][1]:8.2f}"
        for size in _BATCHES
    ]
    named = f"{'*' if row['smallest'] else '':2}{row['format']:12} {row['precision']:10}"
    return f"{named} {row['accuracy']:9.4f} {row['bytes'] / 1e6:8.2f} {taken[0]} {taken[1]}"
