"""The best epochs' weights: a sorted list says which files there must be."""

import json
import math
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epochal.callbacks import BestWeights, ExponentialMovingAverage

X = np.random.default_rng(0).normal(size=(16, 2)).astype("float32")
Y = X.sum(axis=1, keepdims=True)


def compiled(units: int = 1) -> keras.Model:
    model = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(units, name="line")], name="net"
    )
    model.compile("sgd", "mse")
    return model


MODEL = compiled()


def began(folder: Path, state: dict[str, Any] | None = None, **options: Any) -> BestWeights:
    best = BestWeights(folder, **options)
    best.set_model(MODEL)
    best.on_train_begin()
    if state is not None:
        best.set_state(json.loads(json.dumps(state)))
    return best


def ended(best: BestWeights, epoch: int, value: float, **logs: float) -> None:
    """An epoch whose weights say its number."""
    MODEL.set_weights([np.full((2, 1), float(epoch)), np.zeros(1)])
    best.on_epoch_end(epoch, {best.monitor: value, **logs})


def files(folder: Path) -> list[str]:
    return (
        sorted(path.name for path in folder.iterdir() if path.suffix == ".npz")
        if folder.exists()
        else []
    )


def listed(folder: Path) -> list[int]:
    return [
        entry["epoch"] for entry in json.loads((folder / "best_weights.json").read_text())["kept"]
    ]


VALUES = st.lists(
    st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, math.nan, math.inf]), min_size=1, max_size=12
)


@settings(max_examples=40, deadline=None)
@given(
    values=VALUES,
    top=st.integers(1, 4),
    monitor=st.sampled_from(["val_loss", "val_accuracy"]),
    data=st.data(),
)
def test_the_best_are_kept_whenever_training_is_resumed(
    values: list[float],
    top: int,
    monitor: str,
    data: st.DataObject,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("best") / "kept"
    best = began(folder, monitor=monitor, top=top)
    saved = 0
    state = best.get_state()
    for epoch, value in enumerate(values):
        ended(best, epoch, value)
        if data.draw(st.booleans()):
            saved = epoch + 1
            state = best.get_state()
        if data.draw(st.booleans()):  # killed: what came after the latest checkpoint comes again
            best = began(folder, state, monitor=monitor, top=top)
            for again in range(saved, epoch + 1):
                ended(best, again, values[again])
    sign = -1 if monitor == "val_loss" else 1
    finite = [epoch for epoch, value in enumerate(values) if math.isfinite(value)]
    expected = sorted(finite, key=lambda epoch: (-sign * values[epoch], epoch))[:top]
    assert files(folder) == sorted(f"epoch-{epoch + 1:04d}.npz" for epoch in expected)
    for rank, epoch in enumerate(expected, start=1):
        assert BestWeights.load(folder, MODEL, rank=rank)["epoch"] == epoch + 1
        assert MODEL.get_weights()[0].max() == epoch


def test_a_kill_at_any_write_loses_and_orphans_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace
    writes = []
    for point in range(1, 10):
        folder = tmp_path / str(point)
        best = began(tmp_path / str(point), top=1)

        def failing(source: Path, target: Path, point: int = point) -> None:
            writes.append(target)
            if len(writes) == point:
                raise KeyboardInterrupt
            replace(source, target)

        writes.clear()
        state = best.get_state()
        epoch = 0
        monkeypatch.setattr(os, "replace", failing)
        for epoch in range(3):
            state = best.get_state()
            try:
                ended(best, epoch, 3.0 - epoch)
            except KeyboardInterrupt:
                break
        monkeypatch.setattr(os, "replace", replace)
        best = began(folder, state, top=1)
        for again in range(epoch, 3):
            ended(best, again, 3.0 - again)
        assert files(folder) == ["epoch-0003.npz"]
        assert listed(folder) == [3]


def test_what_it_did_not_write_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "epoch-0001.npz").write_bytes(b"mine")
    (tmp_path / "notes.npz").write_bytes(b"mine too")
    best = began(tmp_path, top=1)
    ended(best, 1, 0.5)
    ended(best, 2, 0.4)
    assert files(tmp_path) == ["epoch-0001.npz", "epoch-0003.npz", "notes.npz"]
    with pytest.raises(FileExistsError, match=r"epoch-0001\.npz was not written by BestWeights"):
        ended(best, 0, 0.1)
    assert (tmp_path / "epoch-0001.npz").read_bytes() == b"mine"


def test_weights_that_are_not_finite_are_never_kept(tmp_path: Path) -> None:
    best = began(tmp_path / "kept", monitor="val_accuracy")
    ended(best, 0, 0.9, loss=math.nan)
    ended(best, math.nan, 0.9)  # type: ignore[arg-type]
    assert best.kept == []
    assert not (tmp_path / "kept").exists()


def test_another_training_takes_the_place_of_the_first(tmp_path: Path) -> None:
    for values in ((0.3, 0.2, 0.1), (0.9, 0.8)):
        best = began(tmp_path, top=2)
        for epoch, value in enumerate(values):
            ended(best, epoch, value)
    assert files(tmp_path) == ["epoch-0001.npz", "epoch-0002.npz"]
    assert [entry["value"] for entry in best.kept] == [0.8, 0.9]


def test_keeps_the_averages_that_were_evaluated(tmp_path: Path) -> None:
    model = compiled()
    best = BestWeights(tmp_path, top=1)
    options: dict[str, Any] = {"epochs": 3, "verbose": 0, "validation_data": (X, Y)}
    history = model.fit(X, Y, callbacks=[best, ExponentialMovingAverage(0.5)], **options).history
    entry = BestWeights.load(tmp_path, model)
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(entry["value"], rel=1e-6)
    assert entry["value"] == min(history["val_loss"])


def test_loading_says_what_is_wrong(tmp_path: Path) -> None:
    ended(began(tmp_path), 0, 0.5)
    with pytest.raises(ValueError, match="rank must be from 1 to 1"):
        BestWeights.load(tmp_path, MODEL, rank=2)
    other = compiled(3)
    before = other.get_weights()
    with pytest.raises(ValueError, match="another model"):
        BestWeights.load(tmp_path, other)
    np.testing.assert_array_equal(other.get_weights()[0], before[0])


def test_refuses_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="top must be at least 1 epoch, got 0"):
        BestWeights(tmp_path, top=0)
    with pytest.raises(ValueError, match="which is not logged"):
        began(tmp_path).on_epoch_end(0, {"loss": 1.0, "val_accuracy": 0.5})
