"""Other images for a trained network: whole folders predicted and evaluated, names kept as text."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from epochal.app.commands import main
from epochal.app.config import Config
from epochal.app.config.files import read_config_file
from epochal.app.config.objective import Objective
from epochal.app.data.preprocessing import Preprocessing
from epochal.app.data.sources.folder import scan
from epochal.app.errors import UsageError
from epochal.app.evaluation.evaluate_run import evaluate_folder
from epochal.app.evaluation.predict_files import predict_files
from epochal.app.evaluation.trained_model import build_model, weight_arrays
from epochal.app.store.run import Run
from tests.support.corpus import image_folder
from tests.support.messages import heard
from tests.support.records import make_data_card, make_result

# Each is a number, a truth value or nothing to one reader or another; no two look alike.
NAMES = ("1", "01", "1e3", "true", "nan", "no", "null", "0x10", "~", "-", "# 1", "a: b", "label")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A finished run on classes with such names, with first weights."""
    monkeypatch.chdir(tmp_path)
    run = Run(Path("runs/r"))
    run.make()
    weights = {name: float(number) for number, name in enumerate(NAMES)}
    config = Config(model="softmax", objective=Objective(class_weights=weights))
    card = make_data_card(classes=NAMES, channels=3, mean=(99.0,) * 3, deviation=(50.0,) * 3)
    network = build_model(config, Preprocessing.from_card(card))
    random = np.random.default_rng(0)
    for variable in network.trainable_variables:
        variable.assign(random.normal(size=variable.shape))
    run.publish_weights(weight_arrays(network), "softmax")
    run.write_config(config)
    run.write_data_card(card)
    run.write_result(make_result())
    return run


def unheard(reason: str) -> None:
    raise AssertionError(reason)


def test_names_stay_text_in_every_file(run: Run) -> None:
    weights = read_config_file(run.config_file).objective.class_weights
    assert weights == {name: float(number) for number, name in enumerate(NAMES)}
    assert run.data_card().classes == NAMES


def test_a_folder_is_predicted_into_a_table(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    image_folder(Path("new photos"), {"a #1/deeper": 2, "b": 1}, kind="PNG")
    Path("new photos/b/0000.png").rename("new photos/b/IMG 0.PNG")
    Path("new photos/notes.txt").write_text("no image")
    with heard() as lines:
        assert main.main(["predict", "r", "new photos", "--csv"]) == 0
    assert "new photos: 1 file that are no images are left out" in lines
    text = capsys.readouterr().out
    header, *rows = csv.reader(text.splitlines(), quoting=csv.QUOTE_NONNUMERIC)
    assert header == ["path", "label", "probability", *(f"probability of {n}" for n in NAMES)]
    assert [row[0] for row in rows] == [
        "new photos/a #1/deeper/0000.png",
        "new photos/a #1/deeper/0001.png",
        "new photos/b/IMG 0.PNG",
    ]
    for _, label, probability, *all_probabilities in rows:
        assert label == NAMES[int(np.argmax(all_probabilities))]
        assert probability == max(all_probabilities)
    assert main.main(["predict", "r", "new photos", "--json"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["label"] for answer in answers] == [row[1] for row in rows]
    assert all(set(answer["probabilities"]) == set(NAMES) for answer in answers)


def test_a_damaged_image_in_a_folder_is_told(run: Run) -> None:
    folder = image_folder(Path("photos"), {"a": 2})
    whole = folder / "a/0000.png"
    (folder / "a/cut.png").write_bytes(whole.read_bytes()[:40])
    reasons: list[str] = []
    with pytest.raises(UsageError, match="1 of 3 files"):
        list(predict_files(run, [folder], reasons.append))
    assert [reason.startswith("photos/a/cut.png: ") for reason in reasons] == [True]


def test_a_folder_without_images_is_refused(run: Run) -> None:
    Path("empty/deeper").mkdir(parents=True)
    with pytest.raises(UsageError, match="empty: holds no image"):
        list(predict_files(run, [Path("empty")], unheard))


def test_another_folder_is_evaluated_by_the_names_of_its_classes(run: Run) -> None:
    folder = image_folder(Path("other"), {"nan": 1, "01": 5, "null": 4})
    right = 0
    for prediction in predict_files(run, [folder], unheard):
        right += prediction.ranked[0][0] == prediction.path.parent.name
    figures = evaluate_folder(run, "./other")
    assert figures["all_count"] == 10
    assert figures["all_accuracy"] == pytest.approx(right / 10)
    splits = image_folder(Path("splits"), {"test/nan": 2})
    assert scan(splits, known=NAMES).splits["test"].labels.tolist() == [NAMES.index("nan")] * 2
    image_folder(Path("other"), {"cow": 1})
    with pytest.raises(UsageError, match=r"class 'cow' .* is none of the run's"):
        evaluate_folder(run, "./other")
