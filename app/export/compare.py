"""Comparison of all formats and precisions of a run: accuracy, size and latency."""

import logging
import tempfile
from pathlib import Path
from typing import Any

from epochal.app.config import ViewsName
from epochal.app.evaluation.split_uses import count_test_use
from epochal.app.export.exportable_run import ExportableRun, read_run
from epochal.app.export.parity import check_parity
from epochal.app.export.variants import Variant, installed_variants
from epochal.app.store.export import Export
from epochal.app.store.run import Run

_LOG = logging.getLogger(__name__)
_NEAR = 0.005  # of the best accuracy, within which the smallest is marked
_BATCHES = (1, 32)
_HEAD = (
    f"{'':2}{'format':12} {'precision':10} {'accuracy':>9} {'MB':>8} "
    f"{'ms: 1 im.':>9} {'95 %':>8} {'32 im.':>9} {'95 %':>8}"
)


def compare(run: Run, views: ViewsName | None = None) -> list[dict[str, Any]]:
    """Export each variant into a folder that is thrown away; return the figures of each.

    Accuracy is that of the whole test split, asked in a fresh process; latency, in milliseconds, is
    the median and 95th percentile of the first signature on all cores that this process may use,
    one call after the other.
    """
    exportable = read_run(run, views)
    count_test_use(run)  # by these figures a variant is chosen
    rows = []
    own_precision = exportable.model.card.precision
    for variant in installed_variants():
        if variant.format == "saved_model" and variant.precision == own_precision:
            continue  # the run's own is the same
        _LOG.info("%s %s ...", variant.format, variant.precision)
        rows.append(_measure(exportable, variant))
    best = max(row["accuracy"] for row in rows)
    least = best - _NEAR
    near = [row for row in rows if row["accuracy"] >= least]
    smallest = min(near, key=lambda row: row["bytes"])
    for row in rows:
        row["smallest"] = row is smallest
    return rows


def _measure(exportable: ExportableRun, variant: Variant) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as temporary:
        export = Export(Path(temporary), variant.format)
        expected = exportable.write(
            export.folder,
            variant,
            exportable.run.folder.name,
        )
        parity = check_parity(export, expected.reference, timed=_BATCHES)
        num_bytes = export.num_bytes()
    return {
        "format": variant.format,
        "precision": variant.precision,
        "bytes": num_bytes,
        "accuracy": parity.accuracy,
        "milliseconds": parity.milliseconds,
    }


def format_table(rows: list[dict[str, Any]]) -> str:
    """Return the figures of `compare`, a line a variant."""
    lines = [_HEAD]
    for row in rows:
        mark = ""
        if row["smallest"]:
            mark = "*"
        megabytes = row["bytes"] / 1e6
        line = f"{mark:2}{row['format']:12} {row['precision']:10}"
        line += f" {row['accuracy']:9.4f} {megabytes:8.2f}"
        for size in _BATCHES:
            median, late = row["milliseconds"][str(size)]
            line += f" {median:9.2f} {late:8.2f}"
        lines.append(line)
    lines.append(f"* the smallest within {100 * _NEAR:g} points of the best accuracy")
    return "\n".join(lines)
