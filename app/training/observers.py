"""The callbacks of a run that watch and steer, ahead of those that keep and save."""

from typing import Any

import keras
import numpy as np

import callbacks
from app.config import Optim
from app.data.pipeline import evaluation_batches
from app.runs import Run
from app.training.schedules import rate_callbacks
from app.training.setup import Setup

_HISTOGRAM_IMAGES = 64


def observers(setup: Setup, run: Run, budget: Any) -> list[Any]:
    """The callbacks that come before those that keep and save; `budget` is the first of them, or None."""
    config, split = setup.config, setup.dataset.train
    first = split.subset(np.arange(min(_HISTOGRAM_IMAGES, len(split))))
    images, labels = next(iter(evaluation_batches(first, setup.dataset.preprocessing.image_size)))
    return [
        *([budget] if budget else []),
        *rate_callbacks(config, setup.batches.steps, budget and budget.share),
        clipping(config.optim),
        callbacks.NanGuard(keep_state=True),
        *([] if setup.model.sample_losses is None else [setup.model.sample_losses]),  # learns of good epochs alone
        callbacks.WeightHistograms(run.folder / "tensorboard", batch=(images, labels)),
        callbacks.TrainingLog(run.folder),
        callbacks.Progress(images_per_epoch=len(split)),
        keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: run.log(_line(epoch, logs))),
    ]


def clipping(optim: Optim) -> Any:
    """What measures the gradient, and clips it where that was asked for."""
    for key, limit in optim.clipping.items():
        return callbacks.GradientClipping(limit, by=key.removeprefix("clip_"))
    return callbacks.GradientClipping()


def _line(epoch: int, logs: dict[str, float]) -> str:
    return f"epoch {epoch + 1}: " + ", ".join(f"{name} {value:.6g}" for name, value in logs.items())
