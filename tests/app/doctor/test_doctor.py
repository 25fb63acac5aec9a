"""The doctor's checks: each catches the fault that is planted for it, and passes sound setups."""

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from epochal import models
from epochal.app.commands.main import main
from epochal.app.config import Config, Optim, Schedule
from epochal.app.config import Objective as Settings
from epochal.app.data.dataset import Split
from epochal.app.data.pipeline import TrainingBatches
from epochal.app.doctor import CHECKS, cost, examine, learning
from epochal.app.doctor.finding import Finding
from epochal.app.doctor.model_copy import copy_model
from epochal.app.doctor.rate import judge_losses
from epochal.app.doctor.sample_images import draw_balanced, draw_images
from epochal.app.training.optimizers import make_optimizer
from epochal.app.training.run.setup import Setup, set_up, start
from epochal.app.training.step.classifier import Classifier
from epochal.app.training.step.objective import Objective, cross_entropy
from epochal.models.layers.batch_norm import FusedBatchNormalization
from epochal.models.layers.standardize import Standardize
from tests.support.corpus import image_folder
from tests.support.zoo import SMALLER_KIN

pytestmark = pytest.mark.usefixtures("determinism_ends_here")

CROSS_ENTROPY = Objective()
Net = Callable[[Any], Any]  # from standardised images to logits
QUICK = [check for check in CHECKS if check not in ("by heart", "random labels", "time")]


@pytest.fixture(scope="module")
def sound() -> Setup:
    """A small network on the digits, nothing wrong with it."""
    return set_up(Config(model="lenet300", batch_size=32))


def with_net(
    setup: Setup,
    net: Net,
    classifier: type[Classifier] = Classifier,
    objective: Objective = CROSS_ENTROPY,
) -> Setup:
    """Return the setup with another network."""
    keras.utils.set_random_seed(0)
    images = keras.Input((8, 8, 1), dtype="uint8", name="image")
    x = Standardize([78.0], [96.0], name="standardize")(images)
    model = classifier(keras.Model(images, net(x)), objective=objective)
    return with_optimizer(replace(setup, model=model), keras.optimizers.SGD(0.1))


def with_optimizer(setup: Setup, optimizer: Any) -> Setup:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    setup.model.compile(optimizer=optimizer, loss=loss)
    setup.model.optimizer.build(setup.model.trainable_variables)
    return setup


def dense(x: Any, *between: Any, **last: Any) -> Any:
    """Build a hidden layer, the layers `between`, and the logits with the options `last`."""
    x = layers.Flatten()(x)
    x = layers.Dense(24, activation="tanh", name="hidden")(x)
    for layer in between:
        x = layer(x)
    return layers.Dense(10, name="logits", **last)(x)


def level(check: str, setup: Setup) -> str:
    return CHECKS[check](setup).level


class Faulty(layers.Layer):
    """Base of the planted layers, which keep the shape of their input."""

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape


class AlwaysDropping(Faulty):
    def call(self, inputs: Any) -> Any:
        return tf.nn.dropout(inputs, 0.5)


class CentredByBatch(Faulty):
    def call(self, inputs: Any) -> Any:
        return inputs - tf.reduce_mean(inputs, axis=0, keepdims=True)


class Blocking(Faulty):
    def call(self, inputs: Any) -> Any:
        return tf.stop_gradient(inputs)


class Blind(Faulty):
    def call(self, inputs: Any) -> Any:
        return 0 * inputs


class Misjudging(Faulty):
    """Squares its input; its gradient is `factor` times too large and lacks `dropped` features."""

    def __init__(self, factor: float = 1.01, dropped: int = 0, **options: Any) -> None:
        super().__init__(**options)
        self.factor = factor
        self.dropped = dropped

    def call(self, inputs: Any) -> Any:
        @tf.custom_gradient
        def squared(x: tf.Tensor) -> Any:
            def gradient(upstream: tf.Tensor) -> tf.Tensor:
                kept = tf.cast(tf.range(x.shape[-1]) >= self.dropped, x.dtype)
                return tf.cast(self.factor, x.dtype) * 2 * x * kept * upstream

            return tf.square(x), gradient

        return squared(inputs)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor, "dropped": self.dropped}


class Accumulating(Classifier):
    """Forgets to set the gradients of the step before to zero."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.before = []
        for weight in self.trainable_weights:
            zeros = tf.zeros(weight.shape, weight.dtype)
            self.before.append(tf.Variable(zeros, trainable=False))

    def compute_gradients(self, data: Any, **options: Any) -> list[Any]:
        gradients = super().compute_gradients(data, **options)
        pairs = zip(self.before, gradients, strict=True)
        return [total.assign_add(gradient) for total, gradient in pairs]


class Relabelled(TrainingBatches):
    """Gives an image another label every time."""

    def dataset(self, strategy: Any = None) -> Any:
        def shuffled(images: Any, labels: Any) -> Any:
            return images, tf.random.uniform(tf.shape(labels), 0, 10, labels.dtype)

        return super().dataset(strategy).map(shuffled)


@pytest.mark.slow
def test_a_sound_set_up_has_no_findings(sound: Setup) -> None:
    results = list(examine(sound))
    assert [result.check for result in results] == list(CHECKS)
    for result in results:
        assert result.level in ("ok", "skipped"), result
        assert result.seconds >= 0
        assert result.text
        assert "\n" not in result.text


def test_nothing_is_changed(sound: Setup) -> None:
    variables = [*sound.model.variables, *sound.model.optimizer.variables]
    before = [variable.numpy() for variable in variables]
    assert level("time", sound) == "ok"
    assert level("differences", sound) == "ok"
    for variable, value in zip(variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def findings(setup: Setup, checks: Iterable[str] = QUICK) -> list[str]:
    return [check for check in checks if level(check, setup) in ("warning", "error")]


@pytest.mark.parametrize(
    "name",
    ["mlp", *(pytest.param(name, marks=pytest.mark.slow) for name in ("rnn", "lenet5", "resnet8"))],
)
def test_sound_models(name: str) -> None:
    assert findings(set_up(Config(model=name, batch_size=16))) == []


def test_a_sound_network_with_batch_norm(sound: Setup) -> None:
    assert findings(with_net(sound, lambda x: normalised(x, bias=False))) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in models.ZOO if name not in SMALLER_KIN])
def test_the_whole_zoo_is_sound(name: str) -> None:
    image_size = max(8, models.ZOO[name].min_size)
    # Deep networks without batch norm diverge at higher rates.
    setup = set_up(Config(model=name, learning_rate=1e-3, image_size=image_size, batch_size=32))
    start(setup)
    assert findings(setup, CHECKS) == []


# classes, flips, splits


def with_split(setup: Setup, name: str, split: Split) -> Setup:
    return replace(setup, dataset=replace(setup.dataset, **{name: split}))


def named(setup: Setup, classes: tuple[str, ...]) -> Setup:
    preprocessing = replace(setup.dataset.preprocessing, classes=classes)
    return replace(setup, dataset=replace(setup.dataset, preprocessing=preprocessing))


@pytest.mark.parametrize(
    ("split", "expected"), [("train", "error"), ("validation", "warning"), ("test", "warning")]
)
def test_a_class_without_images(sound: Setup, split: str, expected: str) -> None:
    images = getattr(sound.dataset, split)
    poorer = with_split(sound, split, images.subset(np.flatnonzero(images.labels != 3)))
    finding = CHECKS["classes"](poorer)
    assert finding.level == expected
    assert f"{split} has no image of 1 of 10 classes (3)" in finding.text


def test_class_maps_that_disagree(sound: Setup) -> None:
    validation = sound.dataset.validation
    shifted = replace(validation, labels=validation.labels + 1)
    assert level("classes", with_split(sound, "validation", shifted)) == "error"
    assert level("classes", named(sound, tuple("0123456788"))) == "error"
    assert level("classes", named(sound, tuple("0123456789a"))) == "error"


def test_mirrored_digits(sound: Setup) -> None:
    augmentation = replace(sound.batches.augmentation, flip=True)
    mirrored = replace(sound, batches=replace(sound.batches, augmentation=augmentation))
    assert level("flips", mirrored) == "warning"
    photographs = replace(sound.dataset, name="photographs", handedness=0.52)
    assert level("flips", replace(mirrored, dataset=photographs)) == "ok"
    scans = replace(photographs, handedness=0.9)
    assert level("flips", replace(mirrored, dataset=scans)) == "warning"


def leaking(setup: Setup) -> Setup:
    """Return the setup with training images in validation."""
    return with_split(setup, "validation", setup.dataset.train.subset(np.arange(0, 1000, 3)))


def test_images_in_two_splits(sound: Setup) -> None:
    finding = CHECKS["splits"](leaking(sound))
    assert finding.level == "warning"
    assert finding.text.startswith("100.00% of validation and 0.00% of test")


def test_random_labels_find_images_in_two_splits(sound: Setup) -> None:
    assert level("random labels", leaking(sound)) == "error"


# loss, biases, optimizer


def probable(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    return keras.losses.sparse_categorical_crossentropy(labels, outputs, from_logits=False)


@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("from_logits", [False, True])
def test_softmax_and_loss(sound: Setup, softmax: bool, from_logits: bool) -> None:
    activation = "softmax" if softmax else None
    objective = Objective(loss=cross_entropy if from_logits else probable)
    setup = with_net(sound, lambda x: dense(x, activation=activation), objective=objective)
    assert level("logits", setup) == ("error" if softmax == from_logits else "ok")


def normalised(x: Any, *, bias: bool, last: bool = True) -> Any:
    x = layers.Conv2D(6, 3, use_bias=bias, name="conv")(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Dense(10, use_bias=last, name="scores")(layers.Flatten()(x))
    return layers.Activation("linear")(x)


@pytest.mark.parametrize(
    ("bias", "last", "expected", "text"),
    [
        (False, True, "ok", "none before batch norm"),
        (True, True, "warning", "bias of conv (1 in all)"),
        (False, False, "warning", "scores, has no bias"),
        (True, False, "warning", "scores, has no bias"),
    ],
)
def test_biases(sound: Setup, bias: bool, last: bool, expected: str, text: str) -> None:
    finding = CHECKS["biases"](with_net(sound, lambda x: normalised(x, bias=bias, last=last)))
    assert finding.level == expected
    assert text in finding.text


def test_biases_that_were_published_are_no_finding(sound: Setup) -> None:
    published = replace(sound, config=replace(sound.config, model="vgg11_cifar"))
    assert level("biases", with_net(published, lambda x: normalised(x, bias=True))) == "ok"


@pytest.mark.parametrize(
    ("beta_2", "expected"), [(0.999, "ok"), (0.9, "warning"), (0.5, "warning")]
)
def test_betas(sound: Setup, beta_2: float, expected: str) -> None:
    config = Config(optimizer="adam", optim=Optim(options={"beta_2": beta_2}))
    setup = with_optimizer(with_net(sound, dense), make_optimizer(config))
    assert level("betas", setup) == expected


# inference mode


def test_an_evaluation_at_random(sound: Setup) -> None:
    assert level("evaluation", with_net(sound, lambda x: dense(x, AlwaysDropping()))) == "error"


def test_batch_norm_that_never_trains(sound: Setup) -> None:
    def frozen(x: Any) -> Any:
        return dense(FusedBatchNormalization(trainable=False)(x))

    def training(x: Any) -> Any:
        return dense(x, FusedBatchNormalization())

    assert level("evaluation", with_net(sound, frozen)) == "warning"
    assert level("evaluation", with_net(sound, training)) == "ok"


def test_logits_that_depend_on_the_batch(sound: Setup) -> None:
    assert level("batch-mates", with_net(sound, lambda x: dense(x, CentredByBatch()))) == "error"


# first steps


def test_the_doctors_loss_has_the_weights_of_classes(sound: Setup) -> None:
    """Gradient and steps are those of training: a class of weight 0 moves nothing."""
    class_weights = np.eye(10, dtype=np.float32)[3] * 10
    setup = with_net(sound, dense, objective=Objective(class_weights=class_weights))
    copy = copy_model(setup)
    np.testing.assert_array_equal(copy.objective.class_weights, class_weights)
    images, labels = draw_images(setup, 20)
    logits = copy(images)
    losses = cross_entropy(labels, logits).numpy() * class_weights[labels]
    assert float(copy.objective.mean_loss(labels, logits)) == pytest.approx(losses.mean(), rel=1e-5)
    assert level("steps", setup) == "ok"
    assert level("first loss", setup) == "ok"


def test_a_loud_last_layer(sound: Setup) -> None:
    large = keras.initializers.RandomNormal(stddev=5)
    loud = with_net(sound, lambda x: dense(x, kernel_initializer=large))
    assert level("first loss", loud) == "warning"
    objective = Objective(loss=lambda labels, logits: 0.01 * cross_entropy(labels, logits))
    faint = with_net(sound, dense, objective=objective)
    assert level("first loss", faint) == "warning"
    other = replace(loud, config=replace(loud.config, objective=Settings(loss="hinge")))
    assert level("first loss", other) == "skipped"


def test_a_weight_without_gradient(sound: Setup) -> None:
    finding = CHECKS["gradients"](with_net(sound, lambda x: dense(x, Blocking())))
    assert finding.level == "error"
    assert "hidden/kernel, hidden/bias" in finding.text


def test_a_frozen_layer(sound: Setup) -> None:
    setup = with_net(sound, dense)
    setup.model.get_layer("hidden").trainable = False
    finding = CHECKS["gradients"](setup)
    assert finding.level == "warning"
    assert "hidden/kernel, hidden/bias" in finding.text


@pytest.mark.parametrize("start_at", [0.0, 0.1])
def test_units_that_stay_alike(sound: Setup, start_at: float) -> None:
    def symmetric(x: Any) -> Any:
        same = keras.initializers.Constant(start_at)
        x = layers.Flatten()(x)
        x = layers.Dense(24, activation="tanh", kernel_initializer=same, name="hidden")(x)
        return layers.Dense(10, kernel_initializer=same, name="logits")(x)

    finding = CHECKS["symmetry"](with_net(sound, symmetric))
    assert finding.level == "error"
    assert "hidden/kernel (23 units)" in finding.text


def test_a_classifier_may_start_at_zero(sound: Setup) -> None:
    def linear(x: Any) -> Any:
        return layers.Dense(10, kernel_initializer="zeros", name="logits")(layers.Flatten()(x))

    assert level("symmetry", with_net(sound, linear)) == "ok"


@pytest.mark.parametrize(
    ("factor", "dropped", "expected"), [(1.0, 0, "ok"), (1.01, 0, "error"), (1.0, 1, "error")]
)
def test_a_wrong_gradient(sound: Setup, factor: float, dropped: int, expected: str) -> None:
    setup = with_net(sound, lambda x: dense(x, Misjudging(factor, dropped)))
    assert level("differences", setup) == expected


def test_kinks_are_no_finding(sound: Setup) -> None:
    def kinked(x: Any) -> Any:
        x = layers.Dense(500, activation="relu", name="hidden")(layers.Flatten()(x))
        return layers.Dense(10, name="logits")(layers.ReLU(threshold=0.1)(x))  # jumps there

    assert level("differences", with_net(sound, kinked)) in ("ok", "skipped")


def test_gradients_that_add_up(sound: Setup) -> None:
    assert level("steps", with_net(sound, dense, Accumulating)) == "error"
    assert level("steps", with_net(sound, dense)) == "ok"
    later = keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)
    assert level("steps", with_optimizer(with_net(sound, dense), later)) == "warning"


# learning


def at(setup: Setup, rate: float, **options: Any) -> Setup:
    return replace(setup, config=replace(setup.config, learning_rate=rate, **options))


def test_a_rate_that_training_does_not_bear(sound: Setup) -> None:
    before = [variable.numpy() for variable in sound.model.optimizer.variables]
    finding = CHECKS["rate"](at(sound, 100.0))
    assert finding.level == "error"
    assert "learning rates up to 100;" in finding.text
    assert "lr-find" in finding.text
    assert level("rate", sound) == "ok"
    for variable, value in zip(sound.model.optimizer.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_a_rate_is_tried_as_training_would_come_to_it(sound: Setup) -> None:
    rising = at(sound, 100.0, epochs=3000, schedule=Schedule(warm_up=2000))
    assert level("rate", rising) == "ok"
    clipped = set_up(replace(sound.config, learning_rate=100.0, optim=Optim(clip_norm=1e-3)))
    assert level("rate", clipped) == "ok"


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([2.3] * 10 + [50.0] * 10 + [2.5] * 30, "ok"),  # a network with batch norm that recovers
        ([2.3] * 10 + [5.0] * 40, "warning"),
        ([2.3] * 10 + [50.0] * 40, "error"),
        ([2.3, float("nan")], "error"),
        ([float("nan")], "error"),
        ([float("inf")], "error"),
        ([0.0] * 50, "ok"),  # all margins of a hinge are met
        ([2.3] * 10 + [50.0] * 10, "ok"),  # a large one that had no time to recover
    ],
)
def test_a_rate_is_judged_by_where_the_loss_comes_to(losses: list[float], expected: str) -> None:
    assert judge_losses(losses, 0.1).level == expected


def check_memorisation(setup: Setup) -> Finding:
    """Check in few steps, for what cannot be learned in more, either."""
    return learning.check_memorisation(setup, max_steps=60)


def test_a_model_that_does_not_look(sound: Setup) -> None:
    finding = check_memorisation(with_net(sound, lambda x: dense(x, Blind())))
    assert finding.level == "error"
    assert finding.text.startswith("could not memorise 32 images in 60 steps")


def test_labels_that_change(sound: Setup) -> None:
    changing = replace(sound, batches=Relabelled(**vars(sound.batches)))
    assert check_memorisation(changing).level == "error"


def test_a_wrong_loss(sound: Setup) -> None:
    objective = Objective(loss=lambda labels, logits: cross_entropy((labels + 1) % 10, logits))
    setup = with_net(sound, dense, objective=objective)
    assert check_memorisation(setup).level == "error"


def test_labels_that_need_no_images(sound: Setup) -> None:
    train = sound.dataset.train
    always = with_split(sound, "train", replace(train, labels=np.full(len(train), 7, np.int32)))
    finding = CHECKS["by heart"](always)
    assert finding.level == "error"
    assert "blank images, too" in finding.text


# cost


def test_memory_that_is_not_there() -> None:
    much = cost.judge_memory(2**31, "much", 2**30, max_batch=64)
    assert much.level == "warning"
    assert "--batch-size to 64" in much.text
    little = cost.judge_memory(2**29, "little", 2**30, max_batch=256)
    assert little.level == "ok"
    assert "256 at a time" in little.text
    assert cost.judge_memory(2**40, "unknown", None).level == "ok"


def test_memory_is_asked_of_the_system(sound: Setup) -> None:
    assert level("memory", sound) == "ok"
    assert cost.check_memory(sound, read_available=lambda: 2**10).level == "warning"


@pytest.mark.parametrize(
    ("each", "most"), [(1.0, 512), (2.0, 256), (1.1, 512), (744.0, 1), (745.0, None), (0.0, None)]
)
def test_the_largest_batch_is_a_power_of_two_that_fits(each: float, most: int | None) -> None:
    assert cost.largest_batch(24, each, 1024) == most  # 768 - 24 bytes may be used


def test_memory_grows_with_the_batch(sound: Setup) -> None:
    # Of one image: the input of three dense layers, two ReLUs and the flattened image, in float32.
    image_bytes = 4 * (64 + 300 + 100)
    small = cost.check_memory(sound).text
    assert f"{32 * image_bytes / 1024:.1f} KiB of activations" in small
    larger = replace(sound, config=replace(sound.config, batch_size=3200))
    large = cost.check_memory(larger).text
    assert f"{3200 * image_bytes / 2**20:.2f} MiB of activations" in large


def test_a_full_disk(sound: Setup, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert level("disk", sound) == "ok"
    assert cost.check_disk(sound, free=2**20).level == "error"


def test_a_budget_below_an_epoch(sound: Setup) -> None:
    finding = cost.check_duration(replace(sound, config=replace(sound.config, budget="0h0m1s")))
    assert finding.level == "ok"
    assert "epochs in a budget of" in finding.text
    split = sound.batches.split
    indices = np.tile(split.indices, 10_000)
    labels = np.tile(split.labels, 10_000)
    batches = replace(sound.batches, split=replace(split, indices=indices, labels=labels))
    longer = replace(sound, batches=batches, config=replace(sound.config, budget="1s"))
    finding = cost.check_duration(longer)
    assert finding.level == "error"
    assert "not one epoch" in finding.text


# samples and the command


def test_samples_are_of_as_many_classes_as_can_be() -> None:
    labels = np.repeat([0, 1, 2], [100, 10, 1])
    assert sorted(labels[draw_balanced(labels, 3, seed=0)]) == [0, 1, 2]
    assert sorted(labels[draw_balanced(labels, 9, seed=0)]) == [0, 0, 0, 0, 1, 1, 1, 1, 2]
    assert sorted(draw_balanced(labels, 1000, seed=0)) == list(range(111))


@pytest.mark.slow
def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["doctor", "--model", "lenet300", "--augment.flip", "true", "-v"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[6:19].strip() for line in lines] == list(CHECKS)
    assert {line[:4].strip() for line in lines} == {"ok", "skip", "WARN"}
    assert next(line for line in lines if line.startswith("WARN")).split()[1] == "flips"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_command_fails_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Pictures whose class cannot be seen: those of both are alike."""
    monkeypatch.chdir(tmp_path)
    for check in set(CHECKS) - {"classes", "by heart"}:
        monkeypatch.delitem(CHECKS, check)
    monkeypatch.setitem(CHECKS, "by heart", check_memorisation)
    image_folder(tmp_path / "photos", {"a": 20, "b": 20}, kind="PNG", size=8)
    for picture in (tmp_path / "photos/a").iterdir():
        (tmp_path / "photos/b" / picture.name).write_bytes(picture.read_bytes())
    assert main(["doctor", "--dataset", "./photos", "--model", "softmax", "--json"]) == 5
    out, err = capsys.readouterr()
    assert [result["level"] for result in json.loads(out)] == ["ok", "error"]
    last = err.splitlines()[-1]
    assert last.startswith("error: 1 of 2 checks failed")
    assert "by heart" in last


@pytest.mark.parametrize("words", [["--resume"], ["--dry-run"], ["--pilot"], ["--sample-ladder"]])
def test_the_command_refuses(words: list[str], capsys: Any) -> None:
    assert main(["doctor", *words]) == 2
    assert words[0] in capsys.readouterr().err
