"""Figures against scikit-learn and SciPy, laws by hypothesis, every image counted once."""

from dataclasses import fields

import hypothesis.extra.numpy as arrays
import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import binomtest
from sklearn import metrics as reference

from epochal.app.evaluation.logits import predict_logits
from epochal.app.evaluation.metrics import (
    check_classes,
    evaluate_logits,
    frequent_mistakes,
    probabilities,
    wilson_interval,
)


def sample(num_images=400, num_classes=7, seed=0):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, num_classes, num_images).astype(np.int32)
    logits = generator.normal(size=(num_images, num_classes)).astype(np.float32)
    logits[np.arange(num_images), labels] += 1.5
    return logits, labels


@st.composite
def logits_and_labels(draw):
    num_images = draw(st.integers(1, 30))
    num_classes = draw(st.integers(1, 9))
    logits = draw(
        arrays.arrays(
            np.float32, (num_images, num_classes), elements=st.floats(-1e4, 1e4, width=32)
        )
    )
    labels = draw(arrays.arrays(np.int32, num_images, elements=st.integers(0, num_classes - 1)))
    return logits, labels


@pytest.mark.parametrize("num_classes", [2, 5, 6, 7, 100])
def test_figures_equal_those_of_scikit_learn(num_classes):
    logits, labels = sample(num_classes=num_classes)
    evaluation = evaluate_logits(logits, labels)
    every = np.arange(num_classes)
    predictions = logits.argmax(axis=1)
    precision, recall, f1, counts = reference.precision_recall_fscore_support(
        labels, predictions, labels=every, zero_division=np.nan
    )
    shares = softmax(logits.astype(np.float64), axis=1)
    assert evaluation.count == 400
    assert evaluation.accuracy == pytest.approx(
        reference.accuracy_score(labels, predictions), abs=0
    )
    assert evaluation.loss == pytest.approx(
        reference.log_loss(labels, shares, labels=every), rel=1e-12
    )
    np.testing.assert_array_equal(
        evaluation.confusion, reference.confusion_matrix(labels, predictions, labels=every)
    )
    np.testing.assert_allclose(evaluation.precision, precision)
    np.testing.assert_allclose(evaluation.recall, recall)
    np.testing.assert_allclose(evaluation.f1, f1)
    np.testing.assert_array_equal(evaluation.class_counts, counts)
    np.testing.assert_allclose(evaluation.confidences, shares.max(axis=1), rtol=1e-12)


@pytest.mark.parametrize("num_classes", [6, 12])
def test_top5_equals_that_of_scikit_learn(num_classes):
    logits, labels = sample(num_classes=num_classes)
    expected = reference.top_k_accuracy_score(labels, logits, k=5, labels=np.arange(num_classes))
    assert evaluate_logits(logits, labels).top5_accuracy == pytest.approx(expected, abs=0)


def test_top5_needs_more_than_five_classes():
    assert evaluate_logits(*sample(num_classes=5)).top5_accuracy is None


def test_ties_go_to_the_lower_class_in_top1_and_top5():
    evaluation = evaluate_logits(np.zeros((8, 8), np.float32), np.arange(8, dtype=np.int32))
    assert (evaluation.accuracy, evaluation.top5_accuracy) == (1 / 8, 5 / 8)
    assert evaluation.loss == pytest.approx(np.log(8), rel=1e-15)


def test_loss_is_stable_where_exponentials_overflow():
    logits = np.array([[3e38, 0], [0, 3e38], [-3e38, -3e38]], np.float32)
    losses = evaluate_logits(logits, np.array([0, 0, 1])).losses
    np.testing.assert_allclose(losses, [0, np.float32(3e38), np.log(2)], rtol=1e-15)


def test_loss_of_a_large_split_is_summed_in_float64():
    logits = np.tile(np.array([[0.1, 0]], np.float32), (300_000, 1))
    expected = np.log1p(np.exp(-np.float64(np.float32(0.1))))
    assert evaluate_logits(logits, np.zeros(300_000, np.int32)).loss == pytest.approx(
        expected, rel=1e-13
    )


def test_a_class_that_never_occurs_has_no_figure_instead_of_a_flattering_one():
    evaluation = evaluate_logits(np.eye(3, dtype=np.float32)[[0, 0]], np.array([0, 1]))
    np.testing.assert_array_equal(evaluation.precision, [0.5, np.nan, np.nan])
    np.testing.assert_array_equal(evaluation.recall, [1, 0, np.nan])
    np.testing.assert_allclose(evaluation.f1, [2 / 3, 0, np.nan])


@given(logits_and_labels())
def test_macro_figures_are_those_of_scikit_learn_over_the_classes_with_images(given_data):
    logits, labels = given_data
    figures = evaluate_logits(logits, labels).figures
    precision, recall, f1, _ = reference.precision_recall_fscore_support(
        labels,
        logits.argmax(axis=1),
        labels=np.unique(labels),
        average="macro",
        zero_division=0,
    )
    assert figures.macro_precision == pytest.approx(precision, abs=1e-12)
    assert figures.macro_recall == pytest.approx(recall, abs=1e-12)
    assert figures.macro_f1 == pytest.approx(f1, abs=1e-12)


def test_a_class_that_is_never_predicted_costs_macro_figures_what_accuracy_hides():
    labels = np.repeat([0, 1], [99, 1])
    logits = np.tile(np.array([[1.0, 0.0]], np.float32), (100, 1))
    figures = evaluate_logits(logits, labels).figures
    assert figures.accuracy == 0.99
    assert figures.macro_recall == 0.5
    assert figures.macro_f1 == pytest.approx(99 / 199)


@given(logits_and_labels())
def test_every_image_is_counted_once(given_data):
    logits, labels = given_data
    evaluation = evaluate_logits(logits, labels)
    assert evaluation.confusion.sum() == evaluation.count == len(labels)
    assert evaluation.losses.shape == evaluation.predictions.shape == labels.shape
    np.testing.assert_array_equal(
        evaluation.class_counts, np.bincount(labels, minlength=logits.shape[1])
    )
    assert (evaluation.losses >= 0).all()
    assert 0 <= evaluation.interval[0] <= evaluation.accuracy <= evaluation.interval[1] <= 1
    assert evaluation.top5_accuracy is None or evaluation.top5_accuracy >= evaluation.accuracy


@given(logits_and_labels(), st.randoms(use_true_random=False))
def test_the_order_of_images_does_not_matter(given_data, random):
    logits, labels = given_data
    order = list(range(len(labels)))
    random.shuffle(order)
    one = evaluate_logits(logits, labels)
    other = evaluate_logits(logits[order], labels[order])
    np.testing.assert_array_equal(one.confusion, other.confusion)
    np.testing.assert_array_equal(one.losses[order], other.losses)
    assert (one.accuracy, one.top5_accuracy) == (other.accuracy, other.top5_accuracy)
    assert one.loss == pytest.approx(other.loss, rel=1e-12)


@given(logits_and_labels(), st.integers(-1000, 1000))
def test_a_constant_added_to_all_logits_changes_nothing(given_data, constant):
    logits, labels = given_data
    logits = np.round(logits)  # so that the sum is exact in float32
    one = evaluate_logits(logits, labels)
    other = evaluate_logits(logits + np.float32(constant), labels)
    np.testing.assert_array_equal(one.losses, other.losses)
    np.testing.assert_array_equal(one.predictions, other.predictions)


@given(logits_and_labels())
def test_probabilities_are_the_softmax_of_scipy(given_data):
    logits, _ = given_data
    shares = probabilities(logits)
    np.testing.assert_allclose(
        shares, softmax(logits.astype(np.float64), axis=-1), rtol=1e-12, atol=1e-300
    )
    np.testing.assert_allclose(shares.sum(axis=-1), 1, rtol=1e-12)


@given(st.integers(1, 5000).flatmap(lambda count: st.tuples(st.integers(0, count), st.just(count))))
@settings(max_examples=50)
def test_wilson_interval_is_that_of_scipy(hits_and_count):
    hits, count = hits_and_count
    expected = binomtest(hits, count).proportion_ci(0.95, method="wilson")
    np.testing.assert_allclose(
        wilson_interval(hits, count), (expected.low, expected.high), atol=1e-12
    )


def test_interval_ends_exactly_at_the_ends():
    assert wilson_interval(0, 20)[0] == 0
    assert wilson_interval(20, 20)[1] == 1


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.zeros((0, 3), np.float32), np.zeros(0, np.int32), r"at least one image.*\(0, 3\)"),
        (np.zeros((2, 0), np.float32), np.zeros(2, np.int32), r"at least one image.*\(2, 0\)"),
        (np.zeros(3, np.float32), np.zeros(3, np.int32), r"must be \[N, C\].*\(3,\)"),
        (np.zeros((3, 2), np.float32), np.zeros(4, np.int32), r"labels must be \[3\].*\(4,\)"),
        (
            np.zeros((3, 2), np.float32),
            np.zeros((3, 1), np.int32),
            r"labels must be \[3\].*\(3, 1\)",
        ),
        (np.zeros((3, 2), np.float32), np.zeros(3), "labels integers, got float32 and float64"),
        (np.zeros((3, 2), np.int32), np.zeros(3, np.int32), "must be floats.*int32"),
        (np.array([[0, 1], [0, np.nan]]), np.zeros(2, np.int32), "1 of 2 images, first image 1"),
        (np.array([[0, np.inf], [0, 1]]), np.zeros(2, np.int32), "1 of 2 images, first image 0"),
        (np.zeros((2, 2), np.float32), np.array([0, 2]), r"0\.\.1, got 2"),
        (np.zeros((2, 2), np.float32), np.array([0, -1]), r"0\.\.1, got -1"),
    ],
)
def test_unusable_input_is_one_line(logits, labels, message):
    with pytest.raises(ValueError, match=message) as error:
        evaluate_logits(logits, labels)
    assert "\n" not in str(error.value)


def test_probabilities_and_interval_refuse_nonsense():
    with pytest.raises(ValueError, match="finite, got 1"):
        probabilities(np.array([1.0, np.nan]))
    with pytest.raises(ValueError, match=r"got shape \(\)"):
        probabilities(np.float32(1))
    for hits, count in [(0, 0), (3, 2), (-1, 2)]:
        with pytest.raises(ValueError, match=f"got {hits} of {count}"):
            wilson_interval(hits, count)


def test_frequent_mistakes_are_sorted_and_exclude_what_is_right():
    labels = np.array([0, 0, 0, 1, 1, 2, 2])
    logits = np.eye(3, dtype=np.float32)[[1, 1, 0, 2, 1, 2, 2]]
    evaluation = evaluate_logits(logits, labels)
    assert frequent_mistakes(evaluation) == [(0, 1, 2), (1, 2, 1)]
    assert frequent_mistakes(evaluation, 1) == [(0, 1, 2)]


def test_figures_are_plain_numbers_under_a_prefix():
    evaluation = evaluate_logits(*sample())
    figures = evaluation.figures.to_dict("test_")
    assert {type(value) for value in figures.values()} == {int, float}
    assert figures["test_accuracy"] == evaluation.accuracy
    assert (figures["test_accuracy_low"], figures["test_accuracy_high"]) == evaluation.interval
    assert (figures["test_count"], figures["test_loss"]) == (400, evaluation.loss)
    assert figures["test_top5_accuracy"] == evaluation.top5_accuracy
    assert "top5_accuracy" not in evaluate_logits(*sample(num_classes=3)).figures.to_dict()


def test_class_names_must_fit():
    with pytest.raises(ValueError, match="7 classes, got 2 names"):
        check_classes(evaluate_logits(*sample()), ["a", "b"])


def tiny_model(dtype="uint8"):
    keras.utils.set_random_seed(1)
    image = keras.Input((4, 4, 1), name="image", dtype=dtype)
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.Conv2D(3, 3)(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Dropout(0.5)(keras.layers.Flatten()(x))
    return keras.Model(image, keras.layers.Dense(3, name="logits")(x))


def images_and_labels(count):
    generator = np.random.default_rng(count)
    images = generator.integers(0, 256, (count, 4, 4, 1)).astype(np.uint8)
    return images, generator.integers(0, 3, count).astype(np.int64)


def cut(images, labels, sizes):
    ends = np.cumsum(sizes)
    return [
        (images[end - size : end], labels[end - size : end])
        for size, end in zip(sizes, ends, strict=True)
    ]


def test_predict_gives_every_image_once_in_order_and_in_inference_mode():
    model = tiny_model()
    (images, labels) = images_and_labels(11)
    logits, seen = predict_logits(model, cut(images, labels, [4, 0, 4, 3]))
    np.testing.assert_array_equal(seen, labels)
    np.testing.assert_allclose(logits, np.asarray(model(images, training=False)), atol=1e-6)
    assert (logits.dtype, seen.dtype) == (np.float32, np.int32)
    again, _ = predict_logits(model, cut(images, labels, [4, 0, 4, 3]))
    np.testing.assert_array_equal(logits, again)


def test_predict_takes_tf_data_of_unknown_length_without_a_batch_too_many():
    model = tiny_model()
    (images, labels) = images_and_labels(10)
    batches = tf.data.Dataset.from_tensor_slices((images, labels)).filter(lambda *_: True).batch(4)
    before = model.get_weights()
    logits, seen = predict_logits(model, batches)
    np.testing.assert_array_equal(seen, labels)
    np.testing.assert_allclose(logits, np.asarray(model(images, training=False)), atol=1e-6)
    for weight, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_predict_traces_the_model_once_for_all_batch_sizes():
    traces = []

    class Counting(keras.layers.Layer):
        def call(self, inputs):
            traces.append(inputs.shape)
            return inputs

    image = keras.Input((4, 4, 1), dtype="uint8")
    flat = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(image))
    model = keras.Model(image, keras.layers.Dense(3)(Counting()(flat)))
    traces.clear()
    predict_logits(model, cut(*images_and_labels(9), [4, 4, 1]))
    assert len(traces) == 1


def test_predict_feeds_bytes_to_a_model_of_floats():
    model = tiny_model("float32")
    (images, labels) = images_and_labels(5)
    logits, _ = predict_logits(model, [(images, labels)])
    np.testing.assert_allclose(logits, np.asarray(model(images.astype(np.float32))), atol=1e-6)


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "gave 0 images"),
        ([(np.zeros((0, 4, 4, 1), np.uint8), np.zeros(0, np.int32))], "gave 0 images"),
        (
            [(np.zeros((2, 4, 4, 1), np.uint8), np.zeros(3, np.int32))],
            "one label an image, got 2 and 3",
        ),
        (
            [(np.zeros((2, 4, 4, 3), np.uint8), np.zeros(2, np.int32))],
            r"\(4, 4, 1\), got \(4, 4, 3\)",
        ),
        ([(np.zeros((2, 4, 4, 1), np.float32), np.zeros(2, np.int32))], "as uint8, got float32"),
    ],
)
def test_predict_refuses_what_does_not_fit(batches, message):
    with pytest.raises(ValueError, match=message):
        predict_logits(tiny_model(), batches)


def test_evaluation_is_frozen():
    evaluation = evaluate_logits(*sample())
    for field in fields(evaluation):
        with pytest.raises(AttributeError):
            setattr(evaluation, field.name, None)
