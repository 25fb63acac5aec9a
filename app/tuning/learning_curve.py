"""Learning curves: trainings on growing parts of a data set, and the gain of twice the data."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

import numpy as np

from epochal.app.config import Config
from epochal.app.errors import UsageError
from epochal.app.evaluation.learning_curve_plot import learning_curve_png
from epochal.app.evaluation.power_law import (
    LEAST_SIZES,
    Point,
    PowerLaw,
    Prediction,
    fit_power_law,
    predict_error,
)
from epochal.app.store.curve import Curve
from epochal.app.store.result import Result
from epochal.app.training.train import Session, train_at

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PartTraining:
    """A finished training on a share of the training images."""

    share: float
    seed: int
    images: int
    result: Result

    @property
    def point(self) -> Point:
        """Its error over the validation images; the test split is left alone."""
        validation = self.result.validation
        assert validation is not None
        return Point(
            images=self.images,
            error=1 - validation.accuracy,
            judged=validation.count,
        )

    def row(self) -> dict[str, float | int]:
        """Return its figures for the table."""
        validation = self.result.validation
        assert validation is not None
        return {
            "share": self.share,
            "images": self.images,
            "seed": self.seed,
            "error": 1 - validation.accuracy,
            "loss": validation.loss,
            "validation_images": validation.count,
            "epochs": self.result.epochs,
        }


@dataclass(frozen=True, kw_only=True)
class LearningCurve:
    """Trainings, the law of their errors, and what it says of twice the images."""

    trainings: tuple[PartTraining, ...]
    law: PowerLaw
    prediction: Prediction


def check_curve(config: Config, shares: Sequence[float]) -> None:
    """Refuse what no curve can be made of, before anything is read.

    Raises:
        UsageError: saying what to give instead.
    """
    if len(shares) < LEAST_SIZES:
        raise UsageError(
            f"--shares: expected at least {LEAST_SIZES} different ones, which a power law needs, "
            f"got {len(shares)}"
        )
    if config.data.part is not None:
        raise UsageError("data.part: the learning curve sets it; give --shares")
    if config.data.split == "all":
        raise UsageError(
            "data.split all trains on the images that are to judge; drop it, or give a fold"
        )


def make_learning_curve(
    curve: Curve,
    config: Config,
    shares: Sequence[float],
    seeds: int,
    session: Session | None = None,
) -> LearningCurve:
    """Train on each share of the training images with each seed; fit and publish the law.

    The images of a smaller share are among those of a larger one. Trainings that have ended are
    not repeated, and one that was stopped goes on.

    Args:
        curve: the folder, made if need be.
        config: what all trainings share but the seed, which is the first of them.
        shares: of the training images, above 0 and at most 1, each once.
        seeds: number of trainings a share.
        session: of this process.

    Raises:
        UsageError: as `check_curve`; the folder holds a curve of another configuration; or as
            training does.
    """
    check_curve(config, shares)
    config = replace(config, name=None)
    with curve.alone():
        curve.begin(config)
        trainings = []
        for share in sorted(shares):
            for seed in range(config.seed, config.seed + seeds):
                trainings.append(_train_part(curve, config, share, seed, session))
        points = [training.point for training in trainings]
        law = fit_power_law(points)
        most = max(point.images for point in points)
        prediction = predict_error(points, 2 * most, config.seed)
        curve.publish(
            [training.row() for training in trainings],
            {**asdict(law), "prediction": asdict(prediction)},
            partial(
                learning_curve_png,
                points=points,
                law=law,
                prediction=prediction,
                title=f"{config.model} on {config.dataset_name}",
            ),
        )
    return LearningCurve(
        trainings=tuple(trainings),
        law=law,
        prediction=prediction,
    )


def format_curve(curve: LearningCurve) -> str:
    """Return a line for each share, the law, and what it says of twice the images."""
    by_share: dict[float, list[Point]] = {}
    for training in curve.trainings:
        by_share.setdefault(training.share, []).append(training.point)
    lines = [f"{'share':>6} {'images':>9} {'trainings':>9} {'error':>8} {'spread':>8} {'law':>8}"]
    for share, points in by_share.items():
        errors = [point.error for point in points]
        images = points[0].images
        line = f"{share:6.0%} {images:9,} {len(points):9} {np.mean(errors):8.4f}"
        line += f" {np.std(errors):8.4f} {curve.law.error(images):8.4f}"
        lines.append(line)
    law = curve.law
    lines.append(f"error = {law.floor:.4g} + {law.scale:.4g} * images ^ -{law.exponent:.3g}")
    predicted = curve.prediction
    lines.append(
        f"with twice the images ({predicted.images:,}): error {predicted.error:.4f} "
        f"(95 % {predicted.low:.4f} to {predicted.high:.4f}), {predicted.gain:.4f} less"
    )
    return "\n".join(lines)


def _train_part(
    curve: Curve, config: Config, share: float, seed: int, session: Session | None
) -> PartTraining:
    part = None
    if share < 1:
        part = share
    run = curve.run(share, seed)
    data = replace(config.data, part=part)
    is_new = not run.finished
    result = train_at(
        run,
        replace(config, data=data, seed=seed),
        test=False,
        session=session,
    )
    images = run.data_card().counts.train
    assert result.validation is not None
    if is_new:
        _LOG.info(
            f"{share:.0%} of the images ({images:,}), seed {seed}: "
            f"validation error {1 - result.validation.accuracy:.4f}"
        )
    return PartTraining(
        share=share,
        seed=seed,
        images=images,
        result=result,
    )
