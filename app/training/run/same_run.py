"""What a run that goes on must share with the one that was stopped."""

from typing import Any

from epochal.app.config import Config
from epochal.app.errors import UsageError
from epochal.app.store.run import Run
from epochal.app.training.run.checkpoints import Checkpoint
from epochal.app.training.run.warm_start import Origin


def check_end(checkpoint: Checkpoint, config: Config, run: Run) -> None:
    """Refuses to end before where training stands."""
    after = config.stopping.after
    stands = checkpoint.epoch + bool(checkpoint.step)
    if after is not None and after < stands:
        raise UsageError(
            f"stopping.after: {run.folder} stands in epoch {stands}; give that or more, got {after}"
        )


def check_identity(stored: dict[str, Any], own: dict[str, Any], run: Run) -> None:
    """Refuses to go on with other data or another configuration than the checkpoint's."""
    before = _completed(stored["config"], Config().to_dict())
    differing = [key for key, value in before.items() if own["config"].get(key) != value]
    if differing:
        raise UsageError(
            f"{run.folder}/config.yaml was changed ({', '.join(differing)}); change it back or start a new run"
        )
    if stored["data"] != own["data"]:
        raise UsageError(
            f"{run.folder}: the data set is not the one it was trained on; restore it or start a new run"
        )


def _completed(stored: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """A configuration of an earlier version with the defaults of settings that it did not know."""
    known = {
        key: _completed(value, defaults.get(key) or {}) if isinstance(value, dict) else value
        for key, value in stored.items()
    }
    return {**defaults, **known}


def check_origin(origin: Origin | None, run: Run) -> None:
    """Refuses to begin a run again with other weights than it was begun with."""
    if origin is None:
        return
    begun = run.environment().init_from
    if begun is None or origin.weights != begun.weights:
        raise UsageError(
            f"{origin.run}: not the weights that {run.folder} was begun with; restore it or start a new run"
        )
