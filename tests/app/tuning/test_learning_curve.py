"""Learning curves: nested parts, trainings that are not repeated, findings that are whole."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from epochal.app.commands import data_learning_curve
from epochal.app.commands.main import main
from epochal.app.config import Augment, Config, Data
from epochal.app.data.dataset import Dataset
from epochal.app.data.load import load
from epochal.app.errors import UsageError
from epochal.app.evaluation.power_law import Point, predict_error
from epochal.app.store.curve import Curve
from epochal.app.store.run import Run
from epochal.app.training.train import Session, train_at
from epochal.app.tuning.learning_curve import check_curve, format_curve, make_learning_curve

pytestmark = pytest.mark.usefixtures("determinism_ends_here")

CONFIG = Config(model="softmax", epochs=2, augment=Augment(pad_crop=0))
SHARES = (0.1, 0.3, 0.6, 1.0)


class Loads:
    """Reads data sets and counts them; is stopped by the user before it reads one too many."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.count = 0

    def __call__(self, config: Config) -> Dataset:
        if self.count == self.most:
            raise KeyboardInterrupt
        self.count += 1
        return load(config)


def test_smaller_parts_are_inside_larger_ones() -> None:
    before: set[int] = set()
    for share in (0.1, 0.3, 0.6, None):
        train = load(replace(CONFIG, data=Data(part=share))).train
        images = set(train.indices.tolist())
        assert before < images
        before = images


def test_a_curve_that_was_stopped_goes_on_and_trains_nothing_twice(tmp_path: Path) -> None:
    curve = Curve(tmp_path / "c")
    with pytest.raises(KeyboardInterrupt):
        make_learning_curve(curve, CONFIG, SHARES, 1, Session(load=Loads(2)))
    assert not curve.findings.exists()
    loads = Loads(4)
    made = make_learning_curve(curve, CONFIG, SHARES, 1, Session(load=loads))
    assert loads.count == 2
    first_run = curve.run(0.1, 0)
    assert first_run.data_card().evaluated == ("validation",)
    assert first_run.test_uses() == 0
    before = curve.table.read_bytes()
    again = make_learning_curve(curve, CONFIG, SHARES, 1, Session(load=Loads(0)))
    assert again == made
    assert curve.table.read_bytes() == before
    check_findings(curve)
    with pytest.raises(UsageError, match=r"holds trainings with epochs 2, got 3; give the same"):
        make_learning_curve(curve, replace(CONFIG, epochs=3), SHARES, 1, Session(load=Loads(0)))
    table = format_curve(made)
    assert len(table.splitlines()) == len(SHARES) + 3


def check_findings(curve: Curve) -> None:
    rows = list(csv.DictReader(curve.table.read_text().splitlines()))
    images = [int(row["images"]) for row in rows]
    assert [float(row["share"]) for row in rows] == list(SHARES)
    np.testing.assert_allclose(np.array(images) / images[-1], SHARES, atol=0.01)
    points = []
    for row in rows:
        judged = int(row["validation_images"])
        points.append(Point(images=int(row["images"]), error=float(row["error"]), judged=judged))
    law = json.loads((curve.findings / "law.json").read_text())
    expected = predict_error(points, 2 * images[-1])
    assert law["prediction"]["error"] == pytest.approx(expected.error)
    assert law["prediction"]["images"] == 2 * images[-1]
    assert (curve.findings / "curve.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("config", "shares", "message"),
    [
        (CONFIG, (0.5, 0.7, 1.0), "at least 4 different ones"),
        (replace(CONFIG, data=Data(part=0.5)), SHARES, "data.part: the learning curve sets it"),
        (replace(CONFIG, data=Data(split="all")), SHARES, "data.split all"),
    ],
)
def test_what_no_curve_can_be_made_of_is_refused(
    config: Config, shares: tuple[float, ...], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        check_curve(config, shares)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["digits", "--shares", "0.1,2"], "above 0 and at most 1"),
        (["digits", "--shares", "0.1,0.1"], "each share once"),
        (["digits", "--seeds", "0"], "a number of seeds from 1"),
        (["digits", "--dataset", "mnist"], "given twice"),
        (["digits", "--resume"], "goes on with a run's own schedule"),
    ],
)
def test_options_that_make_no_sense_are_told_in_a_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "learning-curve", *words]) == 2
    assert message in capsys.readouterr().err
    assert data_learning_curve.make_parser().prog == "epochal data learning-curve"


@pytest.mark.slow
def test_a_quarter_of_mnist_foretells_the_error_of_a_half(tmp_path: Path) -> None:
    config = Config(
        dataset="mnist",
        model="mlp",
        epochs=3,
        batch_size=128,
        augment=Augment(pad_crop=0),
    )
    shares = (0.05, 0.1, 0.15, 0.25)
    made = make_learning_curve(Curve(tmp_path / "c"), config, shares, 1)
    run = Run(tmp_path / "held-back")
    held_back = train_at(run, replace(config, data=Data(part=0.5)), test=False).validation
    assert held_back is not None
    print(f"{made.prediction}\nheld back: {1 - held_back.accuracy}\n{format_curve(made)}")
    assert run.data_card().counts.train == pytest.approx(made.prediction.images, rel=0.001)
    assert made.prediction.error == pytest.approx(1 - held_back.accuracy, rel=0.3)
    errors = [training.point.error for training in made.trainings]
    assert errors == sorted(errors, reverse=True)
