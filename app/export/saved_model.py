"""A SavedModel that takes pictures as they come: decoding, resizing, normalisation inside, augmentation never."""

import tempfile
from pathlib import Path
from typing import Any

import tensorflow as tf

from app.data import images
from app.data.augment import centre_crop
from app.trained import Trained

LABELS = "labels.txt"


def write(trained: Trained, folder: Path) -> None:
    """Saves the model with two signatures into an empty folder.

    `serving_default` takes `image`, uint8 `[N, H, W, C]` of any one size; `serving_bytes` takes `image_bytes`,
    `[N]` JPEG, PNG, GIF, BMP or WebP files. Both return `label` (string `[N]`) and `probabilities` (float32
    `[N, classes]`, in the order of the asset labels.txt).
    """
    with tempfile.TemporaryDirectory() as beside:
        labels = Path(beside) / LABELS
        labels.write_text("\n".join(trained.preprocessing.classes) + "\n", encoding="utf-8")
        served = _Served(trained, labels)
        signatures = {"serving_default": served.from_images, "serving_bytes": served.from_bytes}
        tf.saved_model.save(served, str(folder), signatures)


class _Served(tf.Module):
    """The two functions, and what they hold on to."""

    def __init__(self, trained: Trained, labels: Path) -> None:
        super().__init__()
        self.model = trained.model
        self.labels = tf.saved_model.Asset(str(labels))
        self._classes = tf.constant(trained.preprocessing.classes)
        self._preprocessing = trained.preprocessing
        channels = trained.preprocessing.channels
        self.from_images = tf.function(
            self._from_images,
            input_signature=[tf.TensorSpec([None, None, None, channels], tf.uint8, name="image")],
        )
        self.from_bytes = tf.function(
            self._from_bytes, input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")]
        )

    def _from_images(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        # A loaded signature checks no shapes, and a kernel that gets too few dimensions ends the whole process.
        image = tf.ensure_shape(image, [None, None, None, self._preprocessing.channels])
        return self._classified(images.fit(image, self._preprocessing.stored_size))

    def _from_bytes(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        size, channels = self._preprocessing.stored_size, self._preprocessing.channels
        fitted = tf.map_fn(
            lambda encoded: images.fit(images.decode(encoded, channels), size),
            image_bytes,
            fn_output_signature=tf.TensorSpec((size, size, channels), tf.uint8),
        )
        return self._classified(fitted)

    def _classified(self, stored: tf.Tensor) -> dict[str, Any]:
        logits = self.model(centre_crop(stored, self._preprocessing.image_size), training=False)
        label = tf.gather(self._classes, tf.argmax(logits, axis=-1))
        return {"label": label, "probabilities": tf.nn.softmax(tf.cast(logits, tf.float32))}
