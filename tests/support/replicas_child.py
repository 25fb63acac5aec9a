"""Training of twenty steps on some devices in a process of its own, for test_replicas.py."""

import sys
from dataclasses import replace

import keras
import numpy as np

from epochal.app.config import Augment, Config, Data, Emphasis, Objective, Optim
from epochal.app.data.pipeline import evaluation_batches
from epochal.app.training.run.callback_list import weight_steering
from epochal.app.training.run.macro_f1 import MacroF1
from epochal.app.training.run.setup import set_up
from epochal.app.training.step.classifier import Callbacks

SHORT_LAST = Data(batches="full")

CASES = {
    # Dropout drawn per sample, clipping after the reduction; 1,078 = 1,076 + 2 images: a last batch
    # of two leaves two of four replicas empty. From the third epoch on, the order depends on the
    # images' losses.
    "mlp": Config(
        model="mlp",
        epochs=10,
        batch_size=1076,
        data=SHORT_LAST,
        optim=Optim(clip_norm=0.5),
        emphasis=Emphasis(by="sampler", unbiased=True),
    ),
    # Batch norm over the global batch; 1,078 = 19 * 56 + 14 images: 20 steps, the last one partial.
    "resnet8": Config(
        model="resnet8",
        epochs=1,
        batch_size=56,
        learning_rate=0.01,
        augment=Augment(pad_crop=1),
        data=SHORT_LAST,
    ),
    # Residual branches that are left out for some images.
    "depth": Config(
        model="resnet8",
        epochs=1,
        batch_size=56,
        learning_rate=0.01,
        stochastic_depth=0.5,
    ),
    # 1,078 = 4 * 268 + 6 images: the last batch leaves the last of four replicas, and its
    # convolutions, without images.
    "resnet8 with few left": Config(
        model="resnet8", epochs=4, batch_size=268, learning_rate=0.01, data=SHORT_LAST
    ),
    # In float32 rounding decides which ReLUs on their kink let a gradient through, and a high rate
    # multiplies that. Batches are as equal as can be, 53 and 54 images.
    "resnet8 gently": Config(
        model="resnet8", epochs=1, batch_size=56, learning_rate=1e-4, augment=Augment(pad_crop=1)
    ),
    # What else goes into a step: parts of a batch, weights of classes, every kind of clipping,
    # other optimizers.
    "parts": Config(
        model="mlp",
        epochs=10,
        batch_size=1076,
        data=SHORT_LAST,
        learning_rate=1e-3,
        optimizer="adam",
        objective=Objective(loss="hinge", class_weights="balanced"),
        optim=Optim(options={"epsilon_mode": "outside"}, micro_batches=3, clip_value=0.01),
    ),
    # Mixed images, whose partners are on other devices; the last batch of two images leaves two of
    # four replicas without any.
    "mixed": Config(
        model="mlp",
        epochs=10,
        batch_size=1076,
        data=SHORT_LAST,
        learning_rate=0.01,
        augment=Augment(mixup=0.4, cutmix=1.0),
        emphasis=Emphasis(by="weights", start=2),
        objective=Objective(class_weights={"3": 2.0}, label_smoothing=0.1),
        optim=Optim(micro_batches=3),
    ),
    "gains": Config(
        model="mlp",
        epochs=10,
        batch_size=1076,
        data=SHORT_LAST,
        learning_rate=0.01,
        optimizer="adaptivegain",
        optim=Optim(options={}, clip_variable=0.1, l1=1e-3, l1_proximal=True, rate_growth=0.5),
    ),
    "curvatures": Config(
        model="mlp",
        epochs=10,
        batch_size=1076,
        data=SHORT_LAST,
        learning_rate=1e-3,
        optimizer="diagonalnewton",
        optim=Optim(options={"momentum": 0.9}, frozen="hidden1", unfreeze_every=5),
    ),
    "one gain": Config(
        model="mlp",
        epochs=10,
        batch_size=1076,
        data=SHORT_LAST,
        learning_rate=0.01,
        optimizer="globalgain",
        optim=Optim(
            options={"momentum": 0.9},
            clip_norm=1.0,
            weight_decay=1e-3,
            frozen="hidden1",
            unfreeze_every=5,
        ),
    ),
    "schedule-free": Config(
        model="mlp",
        epochs=10,
        batch_size=1076,
        data=SHORT_LAST,
        learning_rate=0.01,
        optimizer="schedulefreeadamw",
        optim=Optim(
            options={"warmup_steps": 5}, decay="decoupled", weight_decay=0.01, rates={"hidden": 0.5}
        ),
    ),
    "mean only": Config(
        model="resnet8", norm="weight_mean", epochs=1, batch_size=56, learning_rate=0.01
    ),
    # Two batches of 539 images an epoch: the shares of two and of four replicas differ in size.
    "running": Config(
        model="mlp",
        epochs=10,
        batch_size=1076,
        learning_rate=0.01,
        optimizer="adagrad",
        optim=Optim(options={}, clip_percentile=50, decay="decoupled", rates={"hidden": 0.5}),
    ),
}


def main(case: str, devices: str, floats: str, target: str) -> None:
    """Store weights, what each step logged, and the last epoch's figures."""
    config = replace(CASES[case], devices=int(devices))
    if config.optimizer == "sgd":
        config = replace(config, optim=replace(config.optim, options={"momentum": 0.9}))
    if floats == "float64":
        keras.config.set_floatx("float64")
        config = replace(config, precision="float64")
    setup = set_up(config)
    moves = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: setup.batches.position.set(epoch)
    )
    logged = []
    records = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: logged.append([logs["loss"], logs["accuracy"]])
    )
    losses = [] if setup.model.sample_losses is None else [setup.model.sample_losses]
    everyone = Callbacks(
        [moves, records, MacroF1(), *losses, *weight_steering(setup), setup.clipping],
        add_history=True,
        model=setup.model,
        epochs=config.epochs,
        steps=setup.batches.steps,
    )
    history = setup.model.fit(
        setup.batches.dataset(setup.strategy),
        epochs=config.epochs,
        validation_data=evaluation_batches(
            setup.dataset.validation, setup.dataset.preprocessing, setup.strategy
        ),
        callbacks=everyone,
        shuffle=False,
        verbose=0,
    )
    figures = np.array([history.history[key][-1] for key in sorted(history.history)])
    steps = int(setup.model.optimizer.iterations.numpy())
    np.savez(
        target,
        *[w.numpy() for w in setup.model.weights],
        figures=figures,
        steps=steps,
        logged=np.array(logged, float),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
