"""Labels of mixed images through every loss, weight and metric, and through a run that stops."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from epochal.app.config import Augment, Config, Emphasis, Optim
from epochal.app.config import Objective as Settings
from epochal.app.store.run import Run
from epochal.app.training.step.classifier import Classifier
from epochal.app.training.step.objective import LOSSES, Objective, loss_of
from epochal.app.training.train import Session, resume, train
from tests.support.program import StopAfter, outcome

pytestmark = pytest.mark.usefixtures("determinism_ends_here")

RANDOM = np.random.default_rng(4)
IMAGES = RANDOM.normal(size=(7, 6)).astype(np.float32)
LOGITS = RANDOM.normal(size=(7, 3)).astype(np.float32)
OWN = np.array([0, 1, 2, 2, 1, 0, 2])
PARTNERS = np.roll(OWN, 1)
SHARES = np.array([0, 0.1, 0.25, 0.5, 0.75, 0.9, 1], np.float32)
MIXED = np.stack([OWN, PARTNERS, SHARES], axis=1).astype(np.float32)
CLASS_WEIGHTS = np.array([2.0, 1.0, 0.5], np.float32)
SOFT = SHARES[:, None] * np.eye(3)[OWN] + (1 - SHARES[:, None]) * np.eye(3)[PARTNERS]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_that_of_soft_labels(smoothing: float) -> None:
    objective = Objective(loss=loss_of(Settings(label_smoothing=smoothing)))
    losses, weighed = objective.losses(MIXED, LOGITS)
    expected = keras.losses.categorical_crossentropy(
        SOFT.astype(np.float32), LOGITS, from_logits=True, label_smoothing=smoothing
    )
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    np.testing.assert_array_equal(losses, weighed)


@pytest.mark.parametrize("name", LOSSES)
def test_each_label_has_the_weight_of_its_class(name: str) -> None:
    loss = LOSSES[name]
    image_weights = np.linspace(0.5, 2, 7).astype(np.float32)
    objective = Objective(loss=loss, class_weights=CLASS_WEIGHTS)
    losses, weighed = objective.losses(MIXED, LOGITS, image_weights)
    own = loss(OWN, LOGITS).numpy()
    partners = loss(PARTNERS, LOGITS).numpy()
    np.testing.assert_allclose(losses, SHARES * own + (1 - SHARES) * partners, rtol=1e-5)
    expected = SHARES * CLASS_WEIGHTS[OWN] * own
    expected += (1 - SHARES) * CLASS_WEIGHTS[PARTNERS] * partners
    np.testing.assert_allclose(weighed, image_weights * expected, rtol=1e-5)
    mean = objective.mean_loss(MIXED, LOGITS)
    assert float(mean) == pytest.approx(expected.mean(), rel=1e-5)


def step(labels: Any, *, micro_batches: int = 1, **objective: Any) -> tuple[np.ndarray, dict]:
    """Return the kernel after a step at a rate of 1 from a kernel of 0, and what is logged."""
    inputs = keras.Input((6,))
    logits = keras.layers.Dense(3, kernel_initializer="zeros", use_bias=False)(inputs)
    model = Classifier(
        keras.Model(inputs, logits), objective=Objective(**objective), micro_batches=micro_batches
    )
    model.compile(keras.optimizers.SGD(1.0), "sparse_categorical_crossentropy")
    batch = tf.data.Dataset.from_tensors((IMAGES, labels))
    history = model.fit(batch, verbose=0, shuffle=False).history
    return model.get_weights()[0], {key: values[0] for key, values in history.items()}


@pytest.mark.parametrize("micro_batches", [1, 3, 9])
@pytest.mark.parametrize("full_batch", [None, 10])
def test_a_step_follows_the_gradient_of_soft_labels(
    micro_batches: int, full_batch: int | None
) -> None:
    kernel, logs = step(
        MIXED, micro_batches=micro_batches, full_batch=full_batch, class_weights=CLASS_WEIGHTS
    )
    weights_by_class = SOFT * CLASS_WEIGHTS
    residual = weights_by_class.sum(1, keepdims=True) / 3 - weights_by_class
    np.testing.assert_allclose(kernel, -IMAGES.T @ residual / (full_batch or 7), atol=1e-6)
    # At logits of 0 the first class is guessed.
    assert logs == pytest.approx({"loss": np.log(3), "accuracy": SOFT[:, 0].mean()}, rel=1e-5)


def test_an_own_share_of_1_is_no_mixture() -> None:
    rows = np.stack([OWN, PARTNERS, np.ones(7)], axis=1).astype(np.float32)
    kernel, logs = step(rows, class_weights=CLASS_WEIGHTS)
    expected_kernel, expected_logs = step(OWN, class_weights=CLASS_WEIGHTS)
    np.testing.assert_array_equal(kernel, expected_kernel)
    assert logs == expected_logs


MIXING = Augment(mixup=0.4, cutmix=1.0)


@pytest.mark.parametrize(
    "emphasis",
    [
        pytest.param(Emphasis(), id="alike", marks=pytest.mark.slow),
        pytest.param(Emphasis(by="weights", start=1), id="weighed", marks=pytest.mark.slow),
    ],
)
def test_a_run_goes_on_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, emphasis: Emphasis
) -> None:
    monkeypatch.chdir(tmp_path)
    config = Config(
        model="mlp",
        epochs=2,
        batch_size=256,
        augment=MIXING,
        emphasis=emphasis,
        optim=Optim(micro_batches=2),
        checkpoint_seconds=0,
        name="run",
    )
    whole = outcome(train(config).folder)
    with pytest.raises(KeyboardInterrupt):
        train(config, Session(stop=StopAfter(7)))
    stopped = Run(Path("runs/run-2"))
    with stopped.locked():
        resume(stopped, stopped.config())
    assert outcome(stopped.folder) == whole
