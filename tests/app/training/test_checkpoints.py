"""Checkpoints: every place to stop at, damage of every kind, and what is refused."""

from pathlib import Path

import pytest

from epochal.app.config import Config, Emphasis, Optim
from epochal.app.store import arrays as archive
from epochal.app.training.run.checkpoints import Checkpoint, Checkpoints, Trigger, newest
from epochal.app.training.run.history import History
from epochal.app.training.run.setup import set_up
from epochal.app.training.train import fit
from epochal.callbacks import EarlyStopping, ExponentialMovingAverage, StepDecay
from tests.support.program import StopAt

pytestmark = pytest.mark.usefixtures("determinism_ends_here")

# 5 steps an epoch, the last one partial; an order of images that depends on their losses.
CONFIG = Config(
    model="mlp",
    epochs=3,
    batch_size=256,
    emphasis=Emphasis(by="sampler", start=1),
    optim=Optim(clip_norm=1.0),
)
STEPS = 5


def trained(folder: Path, stopping, checkpoint: Checkpoint | None = None) -> dict:
    """Train until `stopping` says so; return history and the newest checkpoint's arrays."""
    setup = set_up(CONFIG)
    history = History(folder / "history.csv", images_per_step=CONFIG.global_batch)
    average = ExponentialMovingAverage(0.9)
    early = EarlyStopping("val_accuracy")
    losses = setup.model.sample_losses
    watching = [
        StepDecay([1, 2], factor=0.5),
        setup.clipping,
        average,
        early,
        history,
        losses,
    ]
    saver = Checkpoints(
        folder / "checkpoints",
        watching,
        begin=checkpoint or Checkpoint(identity=setup.identity()),
        trigger=Trigger(3600, stopping),
        position=setup.batches.position,
    )
    fit(setup, watching, saver)
    arrays, _ = archive.load(max((folder / "checkpoints").glob("epoch-*")))
    rows = [
        {k: v for k, v in row.items() if k not in ("seconds", "images_per_second")}
        for row in history.rows
    ]
    return {"rows": rows, "arrays": {name: array.tobytes() for name, array in arrays.items()}}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> dict:
    return trained(tmp_path_factory.mktemp("whole"), lambda: False)


# An epoch asks 2 times a training step, once or twice a validation step and at its end: this
# covers two epochs.
@pytest.mark.parametrize(
    "count",
    [1, 9, 12, *(pytest.param(n, marks=pytest.mark.slow) for n in (4, 10, 11, 13, 14, 15, 17))],
)
def test_a_stop_anywhere_changes_nothing(tmp_path: Path, uninterrupted: dict, count: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, StopAt(count))
    checkpoint = newest(tmp_path / "checkpoints")
    assert checkpoint is not None
    assert trained(tmp_path, lambda: False, checkpoint) == uninterrupted
