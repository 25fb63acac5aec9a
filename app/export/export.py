"""Export: from a finished run to saved_models/NAME/VERSION/, proven before it is published."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import tensorflow as tf

from epochal.app.config import ViewsName, is_name
from epochal.app.errors import StorageError, UsageError
from epochal.app.export.exportable_average import ExportableAverage, check_average, read_average
from epochal.app.export.exportable_run import Expected, ExportableRun, read_run
from epochal.app.export.parity import check_parity
from epochal.app.export.parity_program import Parity
from epochal.app.export.reference_answers import ReferenceAnswers
from epochal.app.export.variants import Variant
from epochal.app.store import files
from epochal.app.store.export import Export, next_export
from epochal.app.store.run import Run

_LOG = logging.getLogger(__name__)
# TensorFlow's writers make these of a full disk, a file too large, a forbidden one: no OSError.
_UNWRITTEN = (
    tf.errors.ResourceExhaustedError,
    tf.errors.OutOfRangeError,
    tf.errors.PermissionDeniedError,
)
_LOST = 0.05  # of test accuracy: a precision that costs more is a mistake

Exportable = ExportableRun | ExportableAverage
Check = Callable[[Export, ReferenceAnswers, float], Parity]


def export(
    run: Run,
    name: str | None,
    variant: Variant,
    root: Path | None = None,
    *,
    views: ViewsName | None = None,
    check: Check = check_parity,
) -> Export:
    """Export a run's best model as the next version of `name`.

    Args:
        run: a finished one.
        name: of the exported model (None: the run's).
        variant: format and precision.
        root: folder of all exported models (None: that of the format).
        views: of each image, over which probabilities are averaged (None: the run's own).
        check: compares the written model with the run.

    Raises:
        UsageError: the run has not finished, or the name may not name a folder.
        StorageError: it cannot be written, or does not answer like the run; nothing is published
            then.
    """
    name = name or run.folder.name + variant.suffix
    _check_name(name)
    _LOG.info("computing the run's own answers ...")
    return export_variant(
        read_run(run, views),
        name,
        variant,
        root,
        check=check,
    )


def export_average(
    runs: Sequence[Run],
    name: str | None,
    variant: Variant,
    root: Path | None = None,
    *,
    views: ViewsName | None = None,
    check: Check = check_parity,
) -> Export:
    """Export the average of several runs' best models as one SavedModel; see `export`.

    Args:
        runs: finished ones, with the same classes, image sizes and test images.
        name: of the exported model (None: the first run's, and how many there are).
        variant: a SavedModel in the runs' own precision.
        root: folder of all exported models (None: that of the format).
        views: of each image, over which probabilities are averaged (None: the runs' own).
        check: compares the written model with the runs.

    Raises:
        UsageError: as `read_average`; or the name may not name a folder.
        StorageError: as `export`.
    """
    check_average(variant)
    name = name or f"{runs[0].folder.name}-average-of-{len(runs)}"
    _check_name(name)
    _LOG.info("computing the runs' own answers, one run after the other ...")
    return export_variant(
        read_average(runs, views),
        name,
        variant,
        root,
        check=check,
    )


def export_variant(
    exportable: Exportable,
    name: str,
    variant: Variant,
    root: Path | None = None,
    *,
    check: Check = check_parity,
) -> Export:
    """Export a run, or an average of runs, that was read; see `export`."""

    def fill(folder: Path) -> None:
        written = Export(folder, variant.format)
        expected = _write(
            exportable,
            written,
            variant,
            name,
        )
        _LOG.info(
            "asking it in a fresh process, %s test images each way in ...",
            f"{len(expected.reference.images):,}",
        )
        parity = check(written, expected.reference, expected.tolerance)
        _check_answers(exportable, parity, variant)
        exported = {
            "images": parity.images,
            "accuracy": parity.accuracy,
            "largest_difference": parity.largest_difference,
        }
        written.write_card(replace(written.read_card(), exported=exported))
        _log_answers(exportable, parity, exact=expected.exact)

    folder = (root or variant.root) / name
    with files.alone(folder):
        published = next_export(folder, variant.format)
        files.publish(published.folder, fill)
    return published


def _check_name(name: str) -> None:
    if not is_name(name):
        raise UsageError(f"--name {name!r} must be letters, digits, '.', '_' or '-' (at most 64)")


def _write(exportable: Exportable, export: Export, variant: Variant, name: str) -> Expected:
    _LOG.info("writing the %s ...", variant.format)
    try:
        return exportable.write(export.folder, variant, name)
    except _UNWRITTEN as error:
        raise StorageError(
            f"cannot write {export.folder}: {error.message[-150:]}; free space, then run again"
        ) from error


def _check_answers(exportable: Exportable, parity: Parity, variant: Variant) -> None:
    if parity.first_difference:
        raise StorageError(
            f"export of {exportable.source} differs from the run at "
            f"{parity.first_difference}; not published"
        )
    accuracy = exportable.reference.accuracy
    if parity.accuracy < accuracy - _LOST:
        raise StorageError(
            f"as {variant.format} {variant.precision} the test accuracy is "
            f"{parity.accuracy:.4f}, the run's own {accuracy:.4f}; "
            "not published: give another --precision"
        )


def _log_answers(exportable: Exportable, parity: Parity, *, exact: bool) -> None:
    """Tell the user how the model was asked, how close its answers were, and its temperature."""
    if exact:
        verdict = f"every label equal, probabilities within {parity.largest_difference:.1e}"
    else:
        accuracy = exportable.reference.accuracy
        verdict = f"test accuracy {parity.accuracy:.4f}, the run's own {accuracy:.4f}"
    ways = ", ".join(parity.ways)
    _LOG.info(
        "asked: %s test images through %s; %s",
        f"{parity.images:,}",
        ways,
        verdict,
    )
    calibration = exportable.model.card.calibration
    if calibration.fitted_on:
        _LOG.info(
            "probabilities are softmax(logits / %.3f), fitted on validation: "
            "calibration error in %s %.4f before, %.4f after",
            calibration.temperature,
            calibration.judged_on,
            calibration.error_before,
            calibration.error_after,
        )
