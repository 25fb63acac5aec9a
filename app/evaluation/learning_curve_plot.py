"""Plot of a learning curve: errors over numbers of images, the fitted law, its prediction."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from epochal.app.evaluation.figures import BLUE, SOFT, VERMILLION, new_figure, png, style
from epochal.app.evaluation.power_law import Point, PowerLaw, Prediction
from epochal.app.store.files import write_bytes


def learning_curve_png(
    path: Path, points: Sequence[Point], law: PowerLaw, prediction: Prediction, title: str
) -> None:
    """Draw the error of each training, the law and the predicted error with its interval."""
    images = [point.images for point in points]
    errors = [point.error for point in points]
    sizes = np.geomspace(min(images), prediction.images, 100)
    with style():
        figure = new_figure(7.2, 3.8)
        axes: Any = figure.add_subplot()
        law_errors = [law.error(size) for size in sizes]
        axes.plot(sizes, law_errors, color=SOFT, label="power law")
        axes.plot(images, errors, "o", color=BLUE, label="trainings")
        below = prediction.error - prediction.low
        above = prediction.high - prediction.error
        axes.errorbar(
            prediction.images,
            prediction.error,
            yerr=[[below], [above]],
            fmt="s",
            color=VERMILLION,
            capsize=3,
            label="predicted, 95 %",
        )
        axes.set(
            xscale="log",
            xlabel="training images",
            ylabel="validation error",
            title=title,
        )
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.grid(axis="y")
        axes.legend()
        write_bytes(path, png(figure))
