"""Every norm with every activation: trained, validated and exported, for test_pairs.py.

A network a norm has a branch for each activation, so that few graphs have all pairs.
"""

import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from epochal import models
from epochal.app.config import Config
from epochal.app.evaluation.trained_model import build_model, weight_arrays
from epochal.app.export import saved_model
from epochal.app.export.inference_model import InferenceModel, with_features, without_batch_norm
from epochal.app.export.parity_program import open_model
from epochal.app.store.export import Export
from epochal.app.training.probes.dry_run import train_two_steps
from epochal.app.training.run.setup import set_up
from epochal.models import initializers
from epochal.models.blocks import Style
from epochal.models.heads import classifier
from epochal.models.zoo import Architecture
from tests.support.records import make_model_card

FEATURES = 3  # of an activation, from each kind of unit
OURS = ["leaky_relu", "prelu", "scaled_tanh", "maxout"]
# Of a feature, relative to the largest: a graph has fused kernels, which round otherwise.
TOLERANCES = {"float32": 1e-4, "mixed_bfloat16": 0.05, "mixed_float16": 0.01}


def accepted(norm: str) -> list[str]:
    """Return all activations that the zoo accepts with a norm."""
    names = []
    for name in sorted({*vars(keras.activations), *OURS}):
        try:
            Style(norm=norm, activation=name)
        except (ValueError, TypeError):
            continue
        names.append(name)
    return names


def branches(activations: list[str]) -> Callable[..., keras.KerasTensor]:
    """Return a builder of a network that has a convolution and a dense unit of each activation."""

    def build(x: keras.KerasTensor, num_classes: int, style: Style) -> keras.KerasTensor:
        # Not one behind the other: exp(exp(x)) leaves the finite numbers.
        x = layers.AveragePooling2D(2, name="pool")(x)
        flat = layers.Flatten(name="flatten")(x)
        parts = []
        for activation in activations:
            styled = replace(style, activation=activation)
            maps = styled.unit(x, FEATURES, 3, stride=2, name=f"{activation}_conv_unit")
            parts.append(layers.GlobalAveragePooling2D(name=f"{activation}_pool")(maps))
            parts.append(styled.dense_unit(flat, FEATURES, name=f"{activation}_dense_unit"))
        features = layers.Concatenate(name="features")(parts)
        return classifier(features, num_classes, initializer=initializers.xavier())

    return build


def check(config: Config, activations: list[str]) -> None:
    """Train, validate and export a network; compare the export's answers with the layers' own.

    What several devices trained is exported as what one trained: from the weights alone.

    Raises:
        AssertionError: naming the activation whose features differ.
    """
    setup = set_up(config)
    before = weight_arrays(setup.model)
    train_two_steps(setup, None)
    arrays = weight_arrays(setup.model)
    changed = [name for name in arrays if (arrays[name] != before[name]).any()]
    for activation in activations:
        moved = [name for name in changed if f"/{activation}_" in name]
        assert moved, f"{activation} was not trained"
    if config.devices > 1:
        return
    network = build_model(config, setup.dataset.preprocessing)
    network.set_weights(list(arrays.values()))
    model = InferenceModel(
        network=with_features(without_batch_norm(network)),
        preprocessing=setup.dataset.preprocessing,
        temperature=1.0,
        card=make_model_card(),
    )
    images = setup.dataset.test.read().numpy()[:64]
    expected, _ = with_features(network)(images, training=False)
    with tempfile.TemporaryDirectory() as folder:
        export = Export(Path(folder), "saved_model")
        saved_model.write(model, export)
        exported = open_model(export.folder)["features"](images)["features"]
    _compare(tf.cast(expected, tf.float32).numpy(), exported, activations, config.precision)


def _compare(expected: Any, found: Any, activations: list[str], precision: str) -> None:
    assert np.isfinite(expected).all()
    for place, activation in enumerate(activations):
        columns = slice(2 * place * FEATURES, 2 * (place + 1) * FEATURES)
        scale = max(1.0, np.abs(expected[:, columns]).max())
        gap = np.abs(expected[:, columns] - found[:, columns]).max() / scale
        assert gap < TOLERANCES[precision], f"{activation}: {gap}"


def main(devices: str, norms: str, precisions: str, activations: str = "") -> None:
    """Check every norm in every precision on as many devices; exit 1 and say what failed."""
    failed = 0
    for norm in norms.split(","):
        chosen = activations.split(",") if activations else accepted(norm)
        models.ZOO["branches"] = Architecture(builder=branches(chosen), input_shape=(8, 8, 1))
        for precision in precisions.split(","):
            config = Config(
                model="branches",
                norm=norm,
                activation="relu",
                batch_size=128,
                learning_rate=1e-3,
                precision=precision,
                devices=int(devices),
            )
            told = f"{norm} {precision} {len(chosen)} activations {devices} device(s)"
            try:
                check(config, chosen)
            except Exception as error:
                failed += 1
                told += f" FAILED: {type(error).__name__}: {error!s:.2000}"
            print(told, flush=True)
    sys.exit(min(failed, 1))


if __name__ == "__main__":
    main(*sys.argv[1:])
