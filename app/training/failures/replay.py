"""Replays: the step that left the finite numbers, taken again layer by layer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from epochal.app.config import Config
from epochal.app.data.normalization import preprocessing_of
from epochal.app.evaluation.trained_model import build_model
from epochal.app.store import arrays as archive
from epochal.app.store.run import Run
from epochal.app.training.failures.failed_step import FailedStep, load_step
from epochal.app.training.failures.layer_calls import ForwardPass, LayerCall
from epochal.app.training.optimizers import weight_penalty
from epochal.app.training.run import state
from epochal.app.training.step.objective import Objective, loss_of
from epochal.callbacks.parts.frozen import freeze, frozen_in, frozen_parts
from epochal.models.layers.part_of_batch import Part, first_row, part_of_batch


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The first place that is not finite.

    Args:
        place: "weight" (before the step), "input", "layer" (its output), "loss", "gradient" (of the
            loss by `of` the layer), "update" (all of these are finite, what the optimizer made of
            them is not) or "nothing"
        name: of the layer, inside a model MODEL/LAYER, of the weight, or of the loss
        value: what is not finite; for an update the largest gradient, of the weight `name`; for
            nothing the batch's loss
        of: "output", "input" or the name of the weight that a gradient is by
        image: the number of the image in the batch that it belongs to, from 0
        index: the first such element of its tensor, without the image
        count: elements that are not finite
        largest: the largest absolute activation before it
        largest_in: the layer of that
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


def replay(run: Run) -> tuple[FailedStep, Finding]:
    """Take the run's kept step again, on one device.

    With micro-batches on several devices dropout draws other masks; all else is what training did.

    Raises:
        UsageError: the run kept none.
        StorageError: what it kept is damaged or of another model.
    """
    step = load_step(run)
    config = run.config()
    keras.utils.clear_session()  # names of variables then are those of the training process
    model = build_model(config, preprocessing_of(run))
    archive.assign(
        state.model_variables(model),
        step.variables,
        run.failed_step,
    )
    if config.optim.frozen is not None:
        held = frozen_parts(model, config.optim.frozen)
        freeze(
            model,
            frozen_in(
                step.epoch,
                held,
                config.optim.unfreeze_every,
            ),
        )
    return step, Examination(model, config, step).find()


def parts_of_batch(count: int, devices: int, micro_batches: int) -> list[np.ndarray]:
    """Return the places in a global batch of each of its parts.

    The devices take a part together, one part after the other.
    """
    share = -(-count // devices)
    parts = []
    for part in range(micro_batches):
        places = []
        for device in range(devices):
            of_device = np.arange(count)[device * share : (device + 1) * share]
            first = first_row(len(of_device), part, micro_batches)
            end = first_row(len(of_device), part + 1, micro_batches)
            places.append(of_device[first:end])
        parts.append(np.concatenate(places))
    return parts


class Examination:
    """One step of a model, with everything in it looked at in the order of its making.

    Args:
        model: with the variables from before the step; its state moves as the step moved it
        config: of the run
        step: to be taken again
    """

    def __init__(self, model: Any, config: Config, step: FailedStep) -> None:
        self._model = model
        self._config = config
        self._step = step
        self._objective = Objective(
            loss=loss_of(config.objective),
            class_weights=step.class_weights,
            penalty=weight_penalty(config),
        )
        self._is_training = step.split == "train"
        self._largest_activation: tuple[float, str] = (0.0, "")
        self._largest_gradient: tuple[float, str] = (0.0, "")
        self._loss = 0.0

    def find(self) -> Finding:
        """Take the step and return the first place that is not finite."""
        finding = next(self._findings(), None)
        if finding is not None:
            return finding
        activation, layer = self._largest_activation
        if self._step.spoilt:
            gradient, weight = self._largest_gradient
            return Finding(
                place="update",
                name=weight,
                value=f"{gradient:.3g}",
                largest=activation,
                largest_in=layer,
            )
        return Finding(
            place="nothing",
            name="",
            value=f"{self._loss:.3g}",
            largest=activation,
            largest_in=layer,
        )

    def _findings(self) -> Iterator[Finding]:
        for variable in self._model.variables:
            yield from self._look(
                "weight",
                variable.path,
                [variable.value],
            )
        images = tf.convert_to_tensor(self._step.images)
        count = len(self._step.images)
        name = self._model.inputs[0].name
        yield from self._look("input", name, [images], np.arange(count))
        micro_batches = self._config.optim.micro_batches if self._is_training else 1
        parts = parts_of_batch(count, self._config.devices, micro_batches)
        shares = sum(len(chosen) > 0 for chosen in parts)
        for number, chosen in enumerate(parts):
            if len(chosen):
                yield from self._findings_in_part(number, chosen, shares)

    def _findings_in_part(self, number: int, chosen: np.ndarray, shares: int) -> Iterator[Finding]:
        """Yield what is not finite in the forward and the backward pass of a part of the batch.

        It takes one of `shares` equal shares of the penalties.
        """
        count = len(self._step.images)
        images = tf.cast(self._step.images[chosen], self._model.inputs[0].dtype)
        forward = ForwardPass(training=self._is_training)
        with tf.GradientTape() as tape:
            with part_of_batch(self._part(number, len(chosen))):
                (logits,) = keras.tree.flatten(forward(self._model, images))
            losses = self._losses(logits, chosen)
            of_weights = self._objective.penalty.values(self._model.trainable_weights)
            penalties = [*self._model.losses, *of_weights]
            total = self._objective.penalized(
                tf.reduce_sum(losses) / count,
                penalties,
                shares,
            )
        for call in forward.calls:
            yield from self._look(
                "layer",
                call.name,
                call.outputs,
                chosen,
            )
            self._note_activations(call)
        yield from self._look(
            "loss",
            self._config.objective.loss,
            [losses],
            chosen,
        )
        yield from self._look("loss", "weight penalty", penalties)
        yield from self._look("loss", "sum over the batch", [total])
        self._loss += float(total)
        if self._is_training:
            yield from self._findings_on_the_way_back(
                forward.calls,
                tape,
                total,
                chosen,
            )

    def _part(self, number: int, rows: int) -> Part:
        """Return what layers must know of a part with so many rows."""
        count = len(self._step.images)
        first = first_row(count, number, self._config.optim.micro_batches)
        return Part(
            number,
            tf.constant(first, tf.int64),
            tf.constant(count, tf.int64),
            tf.constant(rows, tf.int64),
            tf.constant(True),
        )

    def _losses(self, logits: tf.Tensor, chosen: np.ndarray) -> tf.Tensor:
        """Return the losses of the chosen images times their weights and those of their classes."""
        labels = tf.constant(self._step.labels[chosen])
        image_weights = self._step.weights
        if image_weights is not None:
            image_weights = image_weights[chosen]
        _, weighed = self._objective.losses(labels, logits, image_weights)
        return weighed

    def _findings_on_the_way_back(
        self, calls: list[LayerCall], tape: tf.GradientTape, total: tf.Tensor, chosen: np.ndarray
    ) -> Iterator[Finding]:
        """Yield gradients that are not finite, from the loss back to the input."""
        # A tensor may be the output of one layer and the input of another: identity tells them.
        weights_of_calls = []
        sources: dict[int, Any] = {}
        for call in calls:
            weights = [weight.value for weight in call.weights]
            weights_of_calls.append(weights)
            for source in [*call.outputs, *call.inputs, *weights]:
                sources[id(source)] = source
        all_gradients = tape.gradient(total, list(sources.values()))
        gradients = dict(zip(sources, all_gradients, strict=True))

        def gradients_by(tensors: Sequence[Any]) -> list[tf.Tensor]:
            present = []
            for tensor in tensors:
                gradient = gradients[id(tensor)]
                if gradient is not None:
                    present.append(tf.convert_to_tensor(gradient))
            return present

        for call, weights in zip(
            reversed(calls),
            reversed(weights_of_calls),
            strict=True,
        ):
            by_outputs = gradients_by(call.outputs)
            yield from self._look(
                "gradient",
                call.name,
                by_outputs,
                chosen,
                of="output",
            )
            by_inputs = gradients_by(call.inputs)
            yield from self._look(
                "gradient",
                call.name,
                by_inputs,
                chosen,
                of="input",
            )
            for weight, value in zip(call.weights, weights, strict=True):
                for gradient in gradients_by([value]):
                    yield from self._look(
                        "gradient",
                        call.name,
                        [gradient],
                        of=weight.name,
                    )
                    largest = float(tf.reduce_max(tf.abs(gradient)))
                    self._largest_gradient = max(self._largest_gradient, (largest, weight.path))

    def _note_activations(self, call: LayerCall) -> None:
        for output in call.outputs:
            if tf.size(output):
                largest = float(tf.reduce_max(tf.abs(output)))
                self._largest_activation = max(self._largest_activation, (largest, call.name))

    def _look(
        self,
        place: str,
        name: str,
        tensors: Sequence[Any],
        chosen: np.ndarray | None = None,
        of: str = "",
    ) -> Iterator[Finding]:
        """Yield a finding for each tensor that is not finite.

        Its first axis is that of the `chosen` images, if any.
        """
        for tensor in tensors:
            if not tensor.dtype.is_floating or tf.reduce_all(tf.math.is_finite(tensor)):
                continue
            array = tf.cast(tensor, tf.float64).numpy()
            not_finite = np.argwhere(~np.isfinite(array))
            index = tuple(int(place) for place in not_finite[0])
            value = str(array[index])
            image = None
            if chosen is not None and index and array.shape[0] == len(chosen):
                image = int(chosen[index[0]])
                index = index[1:]
            largest, largest_in = self._largest_activation
            yield Finding(
                place=place,
                name=name,
                value=value,
                of=of,
                image=image,
                index=index,
                count=len(not_finite),
                largest=largest,
                largest_in=largest_in,
            )
