"""Classes of unequal size: the macro F1 of every epoch, what it keeps, and balanced orders."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from epochal.app.config import Augment, Config, Data, Objective, Stopping
from epochal.app.data.dataset import Dataset
from epochal.app.data.load import load
from epochal.app.store.run import Run
from epochal.app.training.train import Session, train_at

pytestmark = pytest.mark.usefixtures("determinism_ends_here")

CONFIG = Config(
    model="softmax",
    epochs=5,
    batch_size=64,
    augment=Augment(pad_crop=0),
    data=Data(order="balanced"),
    stopping=Stopping(monitor="val_macro_f1"),
)


def with_rare_classes(config: Config) -> Dataset:
    """The digits with a tenth of those from five on."""
    dataset = load(config)
    train = dataset.train
    is_kept = (train.labels < 5) | (np.arange(len(train)) % 10 == 0)
    return replace(dataset, train=train.subset(np.flatnonzero(is_kept)))


def trained(folder: Path, config: Config) -> Run:
    run = Run(folder)
    train_at(run, config, test=True, session=Session(load=with_rare_classes))
    return run


def test_the_weights_of_the_epoch_with_the_best_macro_f1_are_kept(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", CONFIG)
    result = run.result()
    by_epoch = [row["val_macro_f1"] for row in run.history()]
    assert len(by_epoch) == 5
    assert len(set(by_epoch)) > 1
    best = int(np.argmax(by_epoch))
    assert result.best_epoch == best + 1
    assert result.validation is not None
    assert result.validation.macro_f1 == pytest.approx(by_epoch[best], rel=1e-12)
    assert "Macro F1" in run.report.read_text()


@pytest.mark.slow
def test_balanced_orders_find_more_of_the_rare_classes(tmp_path: Path) -> None:
    recalls = {}
    for order in ("shuffled", "balanced"):
        config = replace(CONFIG, data=Data(order=order))
        result = trained(tmp_path / order, config).result()
        assert result.test is not None
        recalls[order] = result.test.macro_recall
    assert recalls["balanced"] > recalls["shuffled"] + 0.02


def test_weights_and_a_balanced_order_together_are_refused() -> None:
    with pytest.raises(ValueError, match=r"objective\.class_weights must be null"):
        replace(CONFIG, objective=Objective(class_weights="balanced"))
