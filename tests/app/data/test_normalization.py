"""Normalisation of images against NumPy and scikit-learn, and what it does to gradients."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from epochal.app.config import Config, Data
from epochal.app.data.dataset import CachedImages, RawDataset, Split
from epochal.app.data.load import load
from epochal.app.data.normalization import Normalization, fit_normalization
from epochal.app.data.preprocessing import ImageShape
from epochal.app.data.statistics import condition_number
from epochal.app.errors import StorageError, UsageError
from epochal.app.training.run.normalised import normalised
from epochal.models.layers.normalize import Normalize

SHAPE = ImageShape(channels=2, stored_size=4, image_size=4)
FEATURES = 32
COUNT = 700
EXACT = 1e-9  # epsilon that leaves variances as they are


def correlated_images(seed: int = 0) -> np.ndarray:
    """Images whose features are mixtures of each other, of unlike variances."""
    generator = np.random.default_rng(seed)
    mixing = generator.normal(size=(FEATURES, FEATURES)) * np.linspace(2, 6, FEATURES)
    values = 128 + generator.normal(size=(COUNT, FEATURES)) @ mixing
    return values.clip(0, 255).astype(np.uint8).reshape(COUNT, *SHAPE.input_shape)


def split_of(images: np.ndarray) -> Split:
    return Split(
        CachedImages(tf.constant(images)),
        np.arange(len(images)),
        np.zeros(len(images), np.int32),
    )


def fit(kind: str, images: np.ndarray, **options) -> Normalization:
    settings = Data(normalization=kind, **{"epsilon": EXACT, **options})
    normalization = fit_normalization(split_of(images), SHAPE, settings, 0)
    assert normalization is not None
    return normalization


def apply(normalization: Normalization, images: np.ndarray, dtype: str = "float32") -> np.ndarray:
    layer = Normalize(normalization.mean, normalization.factors, dtype=dtype)
    return layer(images).numpy().reshape(len(images), -1)


IMAGES = correlated_images()
ROWS = IMAGES.reshape(COUNT, FEATURES).astype(np.float64)


def covariance(rows: np.ndarray) -> np.ndarray:
    return np.atleast_2d(np.cov(rows.astype(np.float64), rowvar=False, bias=True))


def test_condition_numbers_of_the_lecture() -> None:
    shifted = np.array([[101.0, 101.0], [101.0, 99.0]])
    scaled = np.array([[0.1, 10.0], [0.1, -10.0]])
    assert condition_number(shifted) == pytest.approx(40_006, abs=0.1)
    assert condition_number(scaled) == pytest.approx(10_000, abs=1e-6)
    assert condition_number(shifted - 100) == pytest.approx(1.0, abs=1e-12)
    assert condition_number(scaled / [0.1, 10.0]) == pytest.approx(1.0, abs=1e-12)
    curvature = shifted.T @ shifted
    assert condition_number(shifted) == pytest.approx(np.linalg.cond(curvature))


def test_pixels_have_zero_mean_and_unit_variance_each() -> None:
    rows = apply(fit("pixel", IMAGES), IMAGES)
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(rows.std(axis=0), 1, atol=1e-3)


def test_pca_decorrelates_as_scikit_learn_does() -> None:
    rows = apply(fit("pca", IMAGES), IMAGES)
    result = covariance(rows)
    variances = np.diag(result)
    np.testing.assert_allclose(result - np.diag(variances), 0, atol=1e-3)
    assert variances.mean() == pytest.approx(1, abs=1e-3)
    reference = PCA().fit(ROWS)
    np.testing.assert_allclose(
        variances / variances.sum(), reference.explained_variance_ratio_, atol=1e-5
    )
    ours = rows * np.sqrt(ROWS.var(axis=0).mean())
    np.testing.assert_allclose(np.abs(ours), np.abs(reference.transform(ROWS)), atol=0.01)


@pytest.mark.parametrize("kind", ["whiten", "zca"])
def test_whitened_features_are_uncorrelated_and_of_unit_variance(kind: str) -> None:
    rows = apply(fit(kind, IMAGES), IMAGES)
    np.testing.assert_allclose(covariance(rows), np.eye(FEATURES), atol=1e-3)
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-3)


def test_zca_is_the_whitening_that_changes_images_least() -> None:
    fitted = fit("zca", IMAGES)
    np.testing.assert_allclose(fitted.factors, fitted.factors.T, atol=1e-7)
    variances, vectors = np.linalg.eigh(covariance(ROWS))
    expected = vectors / np.sqrt(variances) @ vectors.T
    np.testing.assert_allclose(fitted.factors, expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["pca", "whiten", "zca"])
def test_the_inverse_gives_the_images_back(kind: str) -> None:
    fitted = fit(kind, IMAGES)
    inverse = np.linalg.inv(fitted.factors.astype(np.float64))
    back = apply(fitted, IMAGES) @ inverse + fitted.mean
    np.testing.assert_allclose(back, ROWS, atol=0.05)


@settings(max_examples=6)
@given(st.integers(1, FEATURES), st.sampled_from(["pca", "whiten", "zca"]))
def test_components_are_those_of_the_largest_variance(components: int, kind: str) -> None:
    fitted = fit(kind, IMAGES, components=components)
    rows = apply(fitted, IMAGES)
    values = np.linalg.eigvalsh(covariance(rows))[::-1]
    assert rows.shape[1] == (FEATURES if kind == "zca" else components)
    np.testing.assert_allclose(values[components:], 0, atol=1e-3)
    whole = apply(fit(kind, IMAGES), IMAGES)
    if kind == "zca":
        np.testing.assert_allclose(values[:components], 1, atol=1e-3)
    else:
        np.testing.assert_allclose(rows, whole[:, :components], atol=1e-4)


@pytest.mark.parametrize("kind", ["pixel", "pca", "whiten", "zca"])
@pytest.mark.parametrize("epsilon", [0.0, EXACT])
def test_what_never_varies_stays_bounded(kind: str, epsilon: float) -> None:
    images = IMAGES.copy()
    images[:, 0, 0, :] = 17
    fitted = fit(kind, images, epsilon=epsilon)
    rows = apply(fitted, images)
    assert np.isfinite(rows).all()
    other = images.copy()
    other[:, 0, 0, :] = 255
    assert np.abs(apply(fitted, other) - rows).max() < 20
    same = np.full_like(images, 9)
    assert not apply(fit(kind, same, epsilon=epsilon), same).any()


@pytest.mark.parametrize("kind", ["pixel", "pca", "whiten", "zca"])
def test_half_precision_gets_rounded_results_and_no_infinity(kind: str) -> None:
    fitted = fit(kind, IMAGES)
    half = apply(fitted, IMAGES, "mixed_float16")
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, apply(fitted, IMAGES), rtol=2e-3, atol=2e-3)


def test_epsilon_leaves_faint_components_fainter() -> None:
    rows = apply(fit("whiten", IMAGES, epsilon=0.5), IMAGES)
    variances = np.linalg.eigvalsh(covariance(ROWS))[::-1]
    typical = ROWS.var(axis=0).mean()
    expected = variances / (variances + 0.5 * typical)
    np.testing.assert_allclose(rows.var(axis=0), expected, atol=1e-3)


class RecordedImages(CachedImages):
    """Images that remember which of them were read."""

    def read(self, indices: tf.Tensor) -> tf.Tensor:
        tf.py_function(lambda read: SEEN.update(read.numpy().tolist()), [indices], [])
        return super().read(indices)


SEEN: set[int] = set()


@pytest.mark.parametrize("kind", ["channel", "minmax", "pixel", "whiten", "zca"])
def test_no_image_outside_of_the_training_split_is_read(kind: str) -> None:
    store = RecordedImages(tf.constant(IMAGES))
    labels = np.arange(COUNT, dtype=np.int32) % 3
    whole = Split(store, np.arange(COUNT), labels)
    config = Config(dataset="digits", model="mlp", data=Data(normalization=kind, validation=0.3))
    raw = RawDataset(splits={"all": whole}, classes=("a", "b", "c"), shape=SHAPE)
    SEEN.clear()
    dataset = load(config, sources={"digits": lambda config: raw})
    dataset = normalised(config, dataset, None)
    trained_on = set(dataset.train.indices.tolist())
    assert trained_on == SEEN
    assert len(SEEN) < 0.8 * COUNT


def test_minmax_is_from_0_to_1() -> None:
    images = IMAGES // 2 + 40
    raw = RawDataset(
        splits={"train": split_of(images), "validation": split_of(images)},
        classes=("a", "b"),
        shape=SHAPE,
    )
    raw.splits["test"] = raw.splits["validation"]
    config = Config(dataset="digits", model="mlp", data=Data(normalization="minmax"))
    preprocessing = load(config, sources={"digits": lambda config: raw}).preprocessing
    scaled = (images - np.array(preprocessing.mean)) / np.array(preprocessing.deviation)
    np.testing.assert_allclose(scaled.min(axis=(0, 1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(scaled.max(axis=(0, 1, 2)), 1, atol=1e-6)


def test_too_many_features_are_refused_before_any_image_is_read() -> None:
    shape = ImageShape(channels=3, stored_size=224, image_size=224)
    with pytest.raises(UsageError, match="150,528 features, expected at most 4,096"):
        fit_normalization(split_of(IMAGES), shape, Data(normalization="zca"), 0)
    with pytest.raises(UsageError, match=r"data.components: 40 .* 32 features"):
        fit("pca", IMAGES, components=40)


def damaged() -> dict[str, dict[str, np.ndarray]]:
    mean = np.zeros(4, np.float32)
    matrix = np.eye(4, dtype=np.float32)
    return {
        "an array is missing": {"mean": mean},
        "another shape": {"mean": mean, "factors": matrix[:3]},
        "no matrix": {"mean": mean, "factors": mean},
        "another dtype": {"mean": mean, "factors": matrix.astype(np.float64)},
        "infinite": {"mean": mean, "factors": np.full_like(matrix, np.inf)},
    }


@pytest.mark.parametrize("fault", damaged())
def test_damaged_arrays_are_refused(fault: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="use another run"):
        Normalization.from_arrays("zca", damaged()[fault], tmp_path)


def weight_gradients(rows: np.ndarray) -> np.ndarray:
    """Gradients of a hidden neuron's weights for each image alone, `[N, D]`."""
    inputs = tf.constant(rows, tf.float32)
    hidden = keras.layers.Dense(1, "tanh")
    output = keras.layers.Dense(1)
    output(hidden(inputs))
    gradients = []
    for row in inputs[:50]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum((output(hidden(row[None])) - 1) ** 2)
        gradients.append(tape.gradient(loss, hidden.kernel).numpy()[:, 0])
    return np.array(gradients)


def sign_agreement(gradients: np.ndarray) -> float:
    """Share of pairs of a neuron's weights whose gradients have one sign."""
    signs = np.sign(gradients)
    products = signs[:, :, None] * signs[:, None, :]
    pairs = products[:, *np.triu_indices(FEATURES, 1)]
    return float((pairs > 0).mean())


def test_positive_inputs_move_all_weights_of_a_neuron_one_way() -> None:
    keras.utils.set_random_seed(0)
    positive = (ROWS + 1) / 1000
    assert sign_agreement(weight_gradients(positive)) == 1.0
    centred = apply(fit("pixel", IMAGES), IMAGES) / 10
    assert 0.4 < sign_agreement(weight_gradients(centred)) < 0.65


def steps_to_converge(rows: np.ndarray, targets: np.ndarray) -> int:
    """Steps of gradient descent, at the largest stable rate, to a thousandth of the error."""
    curvature = rows.T @ rows / len(rows)
    rate = 1 / np.linalg.eigvalsh(curvature)[-1]
    weights = np.zeros(FEATURES)
    least = np.linalg.lstsq(rows, targets, rcond=None)[0]
    first = np.mean((rows @ (weights - least)) ** 2)
    for step in range(2000):
        if np.mean((rows @ (weights - least)) ** 2) < 1e-3 * first:
            return step
        weights -= rate * rows.T @ (rows @ weights - targets) / len(rows)
    return 2000


def test_a_linear_model_converges_in_fewer_steps_the_more_is_normalised() -> None:
    generator = np.random.default_rng(1)
    targets = generator.normal(size=COUNT) + ROWS @ generator.normal(size=FEATURES) / 50
    targets -= targets.mean()
    steps = {}
    for kind in ("pixel", "whiten", "zca"):
        steps[kind] = steps_to_converge(apply(fit(kind, IMAGES), IMAGES).astype(float), targets)
    assert steps["whiten"] <= 2
    assert steps["zca"] <= 2
    assert steps["pixel"] > 10
    assert steps_to_converge(ROWS, targets) > steps["pixel"]
