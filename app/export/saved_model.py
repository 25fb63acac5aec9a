"""A SavedModel that takes pictures as they come: decoding, resizing, normalisation inside, augmentation never."""

import json
import tempfile
from pathlib import Path
from typing import Any

import tensorflow as tf

from epochal.app.export.servable import Servable

LABELS = "labels.txt"
CARD = "card.json"
TOP = 5


def write(servable: Servable, folder: Path) -> None:
    """Saves the model with its signatures into an empty folder; labels.txt and card.json are assets.

    Images are `[N, H, W, C]` of any one size, with the data set's channels; N is at least 1:

    - `serving_default` takes `image`, uint8; `serving_float` takes `image`, float32, levels 0 to 255 as well;
    - `serving_bytes` takes `image_bytes`, `[N]` JPEG, PNG, GIF, BMP or WebP files;
    - `classify` takes `inputs`, `[N]` serialized tf.Example with the feature `image_bytes`, and returns `classes` and
      `scores`, `[N, k]`, as the Classify API of TensorFlow Serving wants them;
    - `features` takes `image`, uint8, and returns `features`, float32 `[N, F]`, what the last layer sees;
    - `preprocess` takes `image_bytes` and returns `image`, uint8 `[N, S, S, C]`, what the first layer sees.

    The first three return `label` (string `[N]`), `probabilities` (float32 `[N, classes]`, in the order of labels.txt)
    and the k = 5 likeliest classes, or all where there are fewer: `labels` (string `[N, k]`) and `scores` (float32).
    """
    with tempfile.TemporaryDirectory() as beside:
        describe(servable, Path(beside))
        served = _Served(servable, Path(beside))
        tf.saved_model.save(served, str(folder), served.signatures())


def describe(servable: Servable, folder: Path) -> None:
    """Writes labels.txt, a class a line, and card.json."""
    (folder / LABELS).write_text("\n".join(servable.preprocessing.classes) + "\n", encoding="utf-8")
    (folder / CARD).write_text(json.dumps(servable.card, indent=2) + "\n", encoding="utf-8")


class _Served(tf.Module):
    """The functions behind the signatures, and what they hold on to."""

    def __init__(self, servable: Servable, beside: Path) -> None:
        super().__init__()
        self.model = servable.model
        self.assets = [tf.saved_model.Asset(str(beside / name)) for name in (LABELS, CARD)]
        self._preprocessing = servable.preprocessing
        self._classes = tf.constant(servable.preprocessing.classes)
        self._answers = servable.function()

    def signatures(self) -> dict[str, Any]:
        """Each signature's function, traced for its one input."""
        shape = [None, None, None, self._preprocessing.channels]
        pixels, floats = (
            tf.TensorSpec(shape, dtype, name="image") for dtype in (tf.uint8, tf.float32)
        )
        files, examples = (
            tf.TensorSpec([None], tf.string, name=name) for name in ("image_bytes", "inputs")
        )
        functions: dict[str, tuple[Any, Any]] = {
            "serving_default": (lambda image: self._named(self._fitted(image)), pixels),
            "serving_float": (lambda image: self._named(self._fitted(_levels(image))), floats),
            "serving_bytes": (lambda image_bytes: self._named(self._decoded(image_bytes)), files),
            "classify": (lambda inputs: self._classified(inputs), examples),
            "preprocess": (lambda image_bytes: {"image": self._seen(image_bytes)}, files),
            "features": (
                lambda image: {"features": self._answers(self._fitted(image))["features"]},
                pixels,
            ),
        }
        return {
            name: tf.function(function, input_signature=[spec], autograph=False)
            for name, (function, spec) in functions.items()
        }

    def _fitted(self, image: tf.Tensor) -> tf.Tensor:
        # A loaded signature checks no shapes, and a kernel that gets too few dimensions ends the whole process.
        image = tf.ensure_shape(image, [None, None, None, self._preprocessing.channels])
        return self._preprocessing.store_pixels(_some(image))

    def _decoded(self, image_bytes: tf.Tensor) -> tf.Tensor:
        return self._preprocessing.store_files(_some(tf.ensure_shape(image_bytes, [None])))

    def _seen(self, image_bytes: tf.Tensor) -> tf.Tensor:
        return self._preprocessing.crop(self._decoded(image_bytes))

    def _classified(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        feature = {"image_bytes": tf.io.FixedLenFeature([], tf.string)}
        found = self._named(
            self._decoded(tf.io.parse_example(_some(inputs), feature)["image_bytes"])
        )
        return {"classes": found["labels"], "scores": found["scores"]}

    def _named(self, stored: tf.Tensor) -> dict[str, tf.Tensor]:
        chances = self._answers(stored)["probabilities"]
        scores, order = tf.math.top_k(chances, min(TOP, len(self._preprocessing.classes)))
        labels = tf.gather(self._classes, order)
        return {"label": labels[:, 0], "probabilities": chances, "labels": labels, "scores": scores}


def _some(values: tf.Tensor) -> tf.Tensor:
    """The batch, which must not be empty: oneDNN's convolution would fail with words about shapes."""
    with tf.control_dependencies(
        [tf.debugging.assert_positive(tf.shape(values)[0], "expected an image, got none")]
    ):
        return tf.identity(values)


def _levels(image: tf.Tensor) -> tf.Tensor:
    """Levels 0 to 255 as uint8; an image of what seem to be fractions of 1, which would all be black, is refused."""
    pixels = [1, 2, 3]
    levels = tf.round(image)
    fractions = tf.reduce_any(image != levels, pixels) & (tf.reduce_max(image, pixels) <= 1)
    fits = tf.reduce_all((levels >= 0) & (levels <= 255))
    checks = [
        tf.debugging.Assert(fits, ["expected levels 0 to 255, got some that are none"]),
        tf.debugging.Assert(
            ~tf.reduce_any(fractions),
            ["expected levels 0 to 255, got fractions of 1: multiply by 255"],
        ),
    ]
    with tf.control_dependencies(checks):
        return tf.saturate_cast(levels, tf.uint8)
