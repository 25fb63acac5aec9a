"""SavedModel exports: decoding and resizing inside, augmentation never."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from epochal.app.export.inference_model import InferenceModel
from epochal.app.store.export import Export, write_description

TOP = 5


def write(model: InferenceModel, export: Export) -> None:
    """Save the model with its signatures into an empty folder; labels and card are assets.

    Images are `[N, H, W, C]` of any one size, with the data set's channels; N is at least 1:

    - `serving_default` takes `image`, uint8; `serving_float` takes `image`, float32, levels 0 to
      255 as well;
    - `serving_bytes` takes `image_bytes`, `[N]` JPEG, PNG, GIF, BMP or WebP files;
    - `classify` takes `inputs`, `[N]` serialized tf.Example with the feature `image_bytes`, and
      returns `classes` and `scores`, `[N, k]`, as the Classify API of TensorFlow Serving wants
      them;
    - `features` takes `image`, uint8, and returns `features`, float32 `[N, F]`, what the last layer
      sees;
    - `preprocess` takes `image_bytes` and returns `image`, uint8 `[N, S, S, C]`, what the first
      layer sees.

    The first three return `label` (string `[N]`), `probabilities` (float32 `[N, classes]`, in the
    order of labels.txt) and the k = 5 likeliest classes, or all where there are fewer: `labels`
    (string `[N, k]`) and `scores` (float32).
    """
    with tempfile.TemporaryDirectory() as temporary:
        assets = write_description(
            Path(temporary),
            model.preprocessing.classes,
            model.card,
        )
        module = _ServingModule(model, assets)
        tf.saved_model.save(
            module,
            str(export.folder),
            module.signatures(),
        )


class _ServingModule(tf.Module):
    """Functions behind the signatures, and the variables and files that they need."""

    def __init__(self, model: InferenceModel, assets: Sequence[Path]) -> None:
        super().__init__()
        self.model = model.network
        self.assets = [tf.saved_model.Asset(str(path)) for path in assets]
        self._preprocessing = model.preprocessing
        self._classes = tf.constant(model.preprocessing.classes)
        self._answer = model.function()

    def signatures(self) -> dict[str, Any]:
        """Return each signature's function, traced for its one input."""
        shape = [None, None, None, self._preprocessing.channels]
        pixels = tf.TensorSpec(shape, tf.uint8, name="image")
        floats = tf.TensorSpec(shape, tf.float32, name="image")
        files = tf.TensorSpec([None], tf.string, name="image_bytes")
        examples = tf.TensorSpec([None], tf.string, name="inputs")
        # Lambdas, since tf.function names a signature's argument after the parameter.
        return {
            "serving_default": _trace(lambda image: self._classify_pixels(image), pixels),
            "serving_float": _trace(lambda image: self._classify_floats(image), floats),
            "serving_bytes": _trace(lambda image_bytes: self._classify_files(image_bytes), files),
            "classify": _trace(lambda inputs: self._classify_examples(inputs), examples),
            "preprocess": _trace(lambda image_bytes: self._preprocess(image_bytes), files),
            "features": _trace(lambda image: self._extract_features(image), pixels),
        }

    def _classify_pixels(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._classify(self._store_pixels(image))

    def _classify_floats(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._classify_pixels(_round_levels(image))

    def _classify_files(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._classify(self._store_files(image_bytes))

    def _classify_examples(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        spec = {"image_bytes": tf.io.FixedLenFeature([], tf.string)}
        examples = tf.io.parse_example(_refuse_empty(inputs), spec)
        answer = self._classify_files(examples["image_bytes"])
        return {"classes": answer["labels"], "scores": answer["scores"]}

    def _preprocess(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"image": self._preprocessing.crop(self._store_files(image_bytes))}

    def _extract_features(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"features": self._answer(self._store_pixels(image))["features"]}

    def _store_pixels(self, image: tf.Tensor) -> tf.Tensor:
        # A loaded signature checks no shapes, and a kernel that gets too few dimensions ends the
        # whole process.
        image = tf.ensure_shape(image, [None, None, None, self._preprocessing.channels])
        return self._preprocessing.store_pixels(_refuse_empty(image))

    def _store_files(self, image_bytes: tf.Tensor) -> tf.Tensor:
        image_bytes = tf.ensure_shape(image_bytes, [None])
        return self._preprocessing.store_files(_refuse_empty(image_bytes))

    def _classify(self, stored: tf.Tensor) -> dict[str, tf.Tensor]:
        probabilities = self._answer(stored)["probabilities"]
        num_labels = min(TOP, len(self._preprocessing.classes))
        scores, places = tf.math.top_k(probabilities, num_labels)
        labels = tf.gather(self._classes, places)
        return {
            "label": labels[:, 0],
            "probabilities": probabilities,
            "labels": labels,
            "scores": scores,
        }


def _trace(function: Any, spec: tf.TensorSpec) -> Any:
    return tf.function(function, input_signature=[spec], autograph=False)


def _refuse_empty(values: tf.Tensor) -> tf.Tensor:
    """Return the batch, which must not be empty: a convolution would fail obscurely."""
    check = tf.debugging.assert_positive(tf.shape(values)[0], "expected an image, got none")
    with tf.control_dependencies([check]):
        return tf.identity(values)


def _round_levels(image: tf.Tensor) -> tf.Tensor:
    """Return levels 0 to 255 as uint8; fractions of 1, which would all be black, are refused."""
    pixels = [1, 2, 3]
    levels = tf.round(image)
    has_fractions = tf.reduce_any(image != levels, pixels)
    brightest = tf.reduce_max(image, pixels)
    is_fractions = has_fractions & (brightest <= 1)
    in_range = tf.reduce_all((levels >= 0) & (levels <= 255))
    no_level = "expected levels 0 to 255, got some that are none"
    fractions = "expected levels 0 to 255, got fractions of 1: multiply by 255"
    checks = [
        tf.debugging.Assert(in_range, [no_level]),
        tf.debugging.Assert(~tf.reduce_any(is_fractions), [fractions]),
    ]
    with tf.control_dependencies(checks):
        return tf.saturate_cast(levels, tf.uint8)
