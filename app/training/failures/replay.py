"""The step that left the finite numbers, taken again layer by layer: where it began."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from epochal.app.config import Config
from epochal.app.config.files import read_config_file
from epochal.app.data.preprocessing import Preprocessing
from epochal.app.store import arrays as archive
from epochal.app.store.run import Run
from epochal.app.store.trained_model import build_model
from epochal.app.training.failures.failed_step import FOLDER, Evidence, load
from epochal.app.training.failures.layer_calls import Passage, Walk
from epochal.app.training.optimizers import make_optimizer
from epochal.app.training.optimizers.penalties import penalize
from epochal.app.training.run import state
from epochal.app.training.step.objective import criterion
from epochal.callbacks.parts.frozen import freeze, frozen_in, frozen_parts
from epochal.models.layers.part_of_batch import Part, first_row, part_of_batch


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The first place that is not finite.

    `place` is "weight" (before the step), "input", "layer" (its output), "loss", "gradient" (of the loss by `of` the
    layer), "update" (all of these are finite, what the optimizer made of them is not; `value` is the largest gradient,
    of the weight `name`), or "nothing" (`value` is the batch's loss). Else `value` is what is not finite, and `name`
    the layer's, inside a model MODEL/LAYER, or the weight's, or the loss'. `index` is the first such element of its
    tensor, `image` the image of the batch that it belongs to, both from 0; `count` are the elements that are not
    finite. `largest` is the largest absolute activation before it.
    """

    place: str
    name: str
    value: str = ""
    of: str = ""
    image: int | None = None
    index: tuple[int, ...] = ()
    count: int = 0
    largest: float = 0.0
    largest_in: str = ""


def replay(run: Run) -> tuple[Evidence, Finding]:
    """Takes the run's kept step again, on one device.

    With micro-batches on several devices dropout draws other masks; all else is what training did.

    Raises:
        UsageError: when the run kept none.
        StorageError: when what it kept is damaged or of another model.
    """
    evidence = load(run)
    config = read_config_file(run.folder / "config.yaml")
    keras.utils.clear_session()  # names of variables then are those of the training process
    keras.config.set_dtype_policy(config.precision)
    model = build_model(config, Preprocessing.from_dict(run.read_json("data.json")))
    penalize(model, make_optimizer(config), config.optim)
    archive.assign(state.model_variables(model), evidence.variables, run.folder / FOLDER)
    if config.optim.frozen is not None:
        held = frozen_parts(model, config.optim.frozen)
        freeze(model, frozen_in(evidence.epoch, held, config.optim.unfreeze_every))
    return evidence, Examination(model, config, evidence).finding()


def parts(count: int, devices: int, micro_batches: int) -> list[np.ndarray]:
    """The places in a global batch of each of its parts, which the devices take together, one after the other."""
    each = -(-count // devices)
    shares = [np.arange(count)[device * each : (device + 1) * each] for device in range(devices)]
    cut = [
        [first_row(len(share), part, micro_batches) for part in range(micro_batches + 1)]
        for share in shares
    ]
    pieces = [
        [share[ends[part] : ends[part + 1]] for share, ends in zip(shares, cut, strict=True)]
        for part in range(micro_batches)
    ]
    return [np.concatenate(piece) for piece in pieces]


class Examination:
    """One step of a model, with everything in it looked at in the order of its making."""

    def __init__(self, model: Any, config: Config, evidence: Evidence) -> None:
        self._model = model
        self._config = config
        self._evidence = evidence
        self._training = evidence.split == "train"
        self._largest: tuple[float, str] = (0.0, "")
        self._steepest: tuple[float, str] = (0.0, "")
        self._loss = 0.0

    def finding(self) -> Finding:
        """The first place that is not finite; moves the model's state as the step did."""
        if (found := next(self._all(), None)) is not None:
            return found
        largest, where = self._largest
        if self._evidence.spoilt:
            gradient, weight = self._steepest
            place = "update"
            name = weight
            value = gradient
        else:
            place = "nothing"
            name = ""
            value = self._loss
        return Finding(
            place=place, name=name, value=f"{value:.3g}", largest=largest, largest_in=where
        )

    def _all(self) -> Iterator[Finding]:
        for variable in self._model.variables:
            yield from self._look("weight", variable.path, [variable.value])
        images = tf.convert_to_tensor(self._evidence.images)
        count = len(self._evidence.images)
        yield from self._look("input", self._model.inputs[0].name, [images], np.arange(count))
        micro_batches = self._config.optim.micro_batches if self._training else 1
        for number, chosen in enumerate(parts(count, self._config.devices, micro_batches)):
            if len(chosen):
                yield from self._part(number, chosen)

    def _part(self, number: int, chosen: np.ndarray) -> Iterator[Finding]:
        """What is not finite in the forward and the backward pass of a part of the batch."""
        evidence = self._evidence
        walk = Walk(training=self._training)
        images = tf.cast(evidence.images[chosen], self._model.inputs[0].dtype)
        count = len(evidence.images)
        first = first_row(count, number, self._config.optim.micro_batches)
        begins, rows, own = (tf.constant(value, tf.int64) for value in (first, count, len(chosen)))
        with tf.GradientTape() as tape:
            with part_of_batch(Part(number, begins, rows, own, tf.constant(True))):
                (logits,) = keras.tree.flatten(walk(self._model, images))
            losses = self._losses(logits, chosen)
            penalties = self._model.losses
            total = tf.reduce_sum(losses) / count
            total += tf.add_n(
                [tf.cast(penalty, total.dtype) for penalty in penalties] or [tf.zeros_like(total)]
            )
        for passage in walk.passages:
            yield from self._look("layer", passage.name, passage.outputs, chosen)
            self._note(passage)
        yield from self._look("loss", self._config.objective.loss, [losses], chosen)
        yield from self._look("loss", "weight penalty", penalties)
        yield from self._look("loss", "sum over the batch", [total])
        self._loss += float(total)
        if self._training:
            yield from self._backward(walk.passages, tape, total, chosen)

    def _losses(self, logits: tf.Tensor, chosen: np.ndarray) -> tf.Tensor:
        """Of the chosen images, times their weights and those of their classes."""
        labels = self._evidence.labels[chosen]
        evidence = self._evidence
        losses = criterion(self._config.objective)(tf.constant(labels), logits)
        if evidence.weights is not None:
            losses *= tf.cast(evidence.weights[chosen], losses.dtype)
        if evidence.class_weights is not None:
            losses *= tf.cast(evidence.class_weights[labels], losses.dtype)
        return losses

    def _backward(
        self, passages: list[Passage], tape: tf.GradientTape, total: tf.Tensor, chosen: np.ndarray
    ) -> Iterator[Finding]:
        """What is not finite on the way back: what the loss, a sum of gradients or a layer made of finite ones."""
        groups = [(p.outputs, p.inputs, [w.value for w in p.weights]) for p in passages]
        sources = {id(source): source for group in groups for kind in group for source in kind}
        made = dict(zip(sources, tape.gradient(total, list(sources.values())), strict=True))
        for passage, (outputs, inputs, weights) in zip(
            reversed(passages), reversed(groups), strict=True
        ):
            for of, kind in (("output", outputs), ("input", inputs)):
                found = [tf.convert_to_tensor(made[id(x)]) for x in kind if made[id(x)] is not None]
                yield from self._look("gradient", passage.name, found, chosen, of=of)
            for weight, value in zip(passage.weights, weights, strict=True):
                if made[id(value)] is None:
                    continue
                gradient = tf.convert_to_tensor(made[id(value)])
                yield from self._look("gradient", passage.name, [gradient], of=weight.name)
                self._steepest = max(
                    self._steepest, (float(tf.reduce_max(tf.abs(gradient))), weight.path)
                )

    def _note(self, passage: Passage) -> None:
        for output in passage.outputs:
            if tf.size(output):
                self._largest = max(
                    self._largest, (float(tf.reduce_max(tf.abs(output))), passage.name)
                )

    def _look(
        self,
        place: str,
        name: str,
        tensors: Sequence[Any],
        chosen: np.ndarray | None = None,
        of: str = "",
    ) -> Iterator[Finding]:
        """A finding for each tensor that is not finite; its first axis is that of the `chosen` images, if any."""
        for tensor in tensors:
            if not tensor.dtype.is_floating or tf.reduce_all(tf.math.is_finite(tensor)):
                continue
            array = tf.cast(tensor, tf.float64).numpy()
            wrong = np.argwhere(~np.isfinite(array))
            index = tuple(int(place) for place in wrong[0])
            mine = chosen is not None and len(index) > 0 and array.shape[0] == len(chosen)
            yield Finding(
                place=place,
                name=name,
                value=str(array[index]),
                of=of,
                image=int(chosen[index[0]]) if mine and chosen is not None else None,
                index=index[1:] if mine else index,
                count=len(wrong),
                largest=self._largest[0],
                largest_in=self._largest[1],
            )
