"""Averages of runs: laws, members of a bootstrap, refusals, and one export of all."""

import json
from dataclasses import replace
from pathlib import Path

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.special import softmax

from epochal.app.config import Augment, Config, Data
from epochal.app.config.splits import Splits
from epochal.app.data.folds import fold_positions
from epochal.app.data.load import load
from epochal.app.errors import UsageError
from epochal.app.evaluation.ensemble import (
    AVERAGE,
    EnsembleFigures,
    average_logits,
    check_same_classes,
    evaluate_runs,
    evaluate_runs_on_folder,
    format_table,
)
from epochal.app.evaluation.metrics import evaluate_logits
from epochal.app.export.export import export_average
from epochal.app.export.variants import Variant
from epochal.app.store.run import Run
from epochal.app.training.train import train_at

pytestmark = pytest.mark.usefixtures("determinism_ends_here")

CONFIG = Config(model="mlp", epochs=3, batch_size=64, augment=Augment(pad_crop=0))
MEMBERS = 3


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Networks that were trained on resamples of the digits."""
    folder = tmp_path_factory.mktemp("runs")
    members = []
    for number in range(1, MEMBERS + 1):
        run = Run(folder / f"r{number}")
        data = Data(split=f"bootstrap:{MEMBERS}/{number}")
        train_at(run, replace(CONFIG, data=data), test=True)
        members.append(run)
    return members


@pytest.fixture(scope="module")
def figures(runs: list[Run]) -> EnsembleFigures:
    return evaluate_runs(runs)


@st.composite
def logits_of_members(draw: st.DrawFn) -> np.ndarray:
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 8), st.integers(1, 5)))
    values = st.floats(-300, 300, width=32)
    logits: np.ndarray = draw(arrays.arrays(np.float32, shape, elements=values))
    return logits


@given(logits_of_members())
def test_the_average_is_the_mean_of_probabilities(logits: np.ndarray) -> None:
    expected = softmax(logits.astype(np.float64), axis=-1).mean(axis=0)
    np.testing.assert_allclose(softmax(average_logits(logits), axis=-1), expected, atol=1e-12)


@given(logits_of_members(), st.integers(0, 4))
def test_the_average_never_has_a_larger_loss_than_its_mean_member(
    logits: np.ndarray, label: int
) -> None:
    labels = np.full(logits.shape[1], label % logits.shape[2])
    mean = np.mean([evaluate_logits(member, labels).loss for member in logits])
    assert evaluate_logits(average_logits(logits), labels).loss <= mean + 1e-9


def test_members_of_a_bootstrap_see_632_of_1000_images_each() -> None:
    labels = np.arange(10_000) % 10
    splits = Splits.of("bootstrap:20")
    shares = []
    for index in range(20):
        train, _ = fold_positions(labels, "0123456789", splits, index, seed=0)
        shares.append(len(np.unique(train)) / len(train))
    # A share varies by 0.003, a mean of twenty by 0.0007.
    assert np.mean(shares) == pytest.approx(1 - np.exp(-1), abs=0.003)


def test_each_run_has_its_own_figures_and_the_average_is_no_worse(
    runs: list[Run], figures: EnsembleFigures
) -> None:
    members = figures.members["test"]
    assert list(members) == [*(str(run.folder) for run in runs), AVERAGE]
    for run in runs:
        assert members[str(run.folder)] == run.result().test
    of_runs = [members[str(run.folder)] for run in runs]
    assert members[AVERAGE].accuracy >= np.mean([member.accuracy for member in of_runs])
    assert members[AVERAGE].loss <= np.mean([member.loss for member in of_runs])


def test_the_test_split_was_used_by_training_and_here(
    runs: list[Run], figures: EnsembleFigures
) -> None:
    assert figures.test_uses == {str(run.folder): 2 for run in runs}
    assert "Test split used" in runs[0].report.read_text()
    table = format_table(figures)
    assert table.count("2 times") == MEMBERS
    assert len(table.splitlines()) == MEMBERS + 2


def test_figures_as_json_have_each_run_and_the_average(figures: EnsembleFigures) -> None:
    values = json.loads(json.dumps(figures.to_dict()))
    assert values[AVERAGE]["test_count"] == 359
    assert len(values) == MEMBERS + 1


def test_other_images_are_judged_by_all_runs_alike(runs: list[Run], tmp_path: Path) -> None:
    dataset = load(runs[0].config())
    first = dataset.test.subset(np.arange(40))
    for number, (image, label) in enumerate(zip(first.read().numpy(), first.labels, strict=True)):
        folder = tmp_path / dataset.preprocessing.classes[label]
        folder.mkdir(exist_ok=True)
        Image.fromarray(image[..., 0]).save(folder / f"{number:02d}.png")
    found = evaluate_runs_on_folder(runs, str(tmp_path))
    members = found.members["all"]
    assert list(members) == [*(str(run.folder) for run in runs), AVERAGE]
    assert members[AVERAGE].count == 40
    assert members[AVERAGE].accuracy > 0.8
    assert members[AVERAGE].loss <= np.mean([members[str(run.folder)].loss for run in runs])
    assert found.test_uses == {}
    assert "used" not in format_table(found)


def test_a_run_given_twice_is_refused(runs: list[Run]) -> None:
    with pytest.raises(UsageError, match="given twice"):
        evaluate_runs([runs[0], Run(runs[0].folder / ".." / runs[0].folder.name)])


def test_runs_with_other_test_images_are_refused(runs: list[Run], tmp_path: Path) -> None:
    other = Run(tmp_path / "other")
    train_at(other, replace(CONFIG, model="softmax", epochs=1, seed=1), test=True)
    with pytest.raises(UsageError, match="seeds 0 and 1 cut it off differently"):
        evaluate_runs([runs[0], other])


@pytest.mark.parametrize(
    ("classes", "message"),
    [(("a",), "2 and 1 classes"), (("b", "a"), "'a' in place of 'b'")],
)
def test_runs_with_other_classes_are_refused(classes: tuple[str, ...], message: str) -> None:
    first = Run(Path("first"))
    with pytest.raises(UsageError, match=message):
        check_same_classes(first, ("a", "b"), Run(Path("second")), classes)


def test_an_average_is_exported_only_as_it_was_trained(runs: list[Run], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="drop --format and --precision"):
        export_average(runs, None, Variant(precision="bfloat16"), tmp_path)


@pytest.mark.slow
def test_the_exported_average_answers_like_the_average_of_the_runs(
    runs: list[Run], figures: EnsembleFigures, tmp_path: Path
) -> None:
    exported = export_average(runs, None, Variant(), tmp_path)
    assert exported.folder == tmp_path / f"r1-average-of-{MEMBERS}" / "1"
    card = exported.read_card()
    average = figures.members["test"][AVERAGE]
    assert (card.accuracy, card.loss) == (average.accuracy, pytest.approx(average.loss))
    assert card.exported is not None
    assert card.exported["accuracy"] == average.accuracy
    assert card.parameters == sum(run.result().params for run in runs)
    loaded = tf.saved_model.load(str(exported.folder))
    test = load(runs[0].config()).test
    images = tf.constant(test.subset(np.arange(5)).read())
    answers = loaded.signatures["serving_default"](image=images)
    np.testing.assert_allclose(answers["probabilities"].numpy().sum(axis=1), 1, atol=1e-6)
