"""Averages over views in exports: every format answers as `predict` does."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import softmax

from epochal.app.config import Augment, Config, Evaluation
from epochal.app.errors import UsageError
from epochal.app.evaluation.evaluate_run import evaluate_run
from epochal.app.evaluation.predict_files import predict_files
from epochal.app.export import parity_program
from epochal.app.export.export import export
from epochal.app.export.exportable_run import ExportableRun, read_run
from epochal.app.export.variants import Variant
from epochal.app.store.export import Export
from epochal.app.store.run import Run
from epochal.app.training import train as training

pytestmark = pytest.mark.usefixtures("determinism_ends_here")

IMAGES = 359


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Looks at corners and centre of the padded digits."""
    trained = Run(tmp_path_factory.mktemp("runs") / "r")
    config = Config(
        model="mlp",
        epochs=1,
        augment=Augment(pad_crop=1, border="black"),
        evaluation=Evaluation(views="five_crop"),
    )
    training.train_at(trained, config, test=True)
    return trained


@pytest.fixture(scope="module")
def exportable(run: Run) -> ExportableRun:
    return read_run(run)


def test_the_figures_of_a_run_are_those_of_its_views(run: Run) -> None:
    result = run.result()
    assert result.test is not None
    figures = evaluate_run(run)
    assert figures["test_loss"] == result.test.loss
    single = evaluate_run(run, "none")
    assert single["test_loss"] != figures["test_loss"]
    # Validation while training looked once; its best epoch is the only one.
    assert single["validation_loss"] == pytest.approx(run.history()[0]["val_loss"], rel=1e-4)


@pytest.mark.slow
def test_a_saved_model_answers_as_predict_does(run: Run, tmp_path: Path) -> None:
    exported = export(run, "m", Variant(), tmp_path / "models")
    assert exported.read_card().input["views"] == "five_crop"
    temperature = exported.read_card().calibration.temperature
    paths = []
    sample = json.loads(exported.sample_request.read_text())
    signature = tf.saved_model.load(str(exported.folder)).signatures["serving_bytes"]
    pngs = [tf.io.decode_base64(_web_safe(each["b64"])) for each in sample["instances"]]
    served = signature(image_bytes=tf.stack(pngs))["probabilities"].numpy()
    for number, png in enumerate(pngs):
        path = tmp_path / f"{number}.png"
        path.write_bytes(png.numpy())
        paths.append(path)
    predictions = list(predict_files(run, paths, report_unreadable=pytest.fail))
    for prediction, probabilities in zip(predictions, served, strict=True):
        ranked = dict(prediction.ranked)
        predicted = np.array([ranked[str(digit)] for digit in range(10)])
        expected = softmax(np.log(predicted) / temperature)
        np.testing.assert_allclose(probabilities, expected, atol=1e-5)


def _web_safe(text: str) -> str:
    return text.replace("+", "-").replace("/", "_")


@pytest.mark.parametrize(
    ("format", "precision", "package"),
    [
        ("litert", "float32", "ai_edge_litert"),
        pytest.param("litert", "int8", "ai_edge_litert", marks=pytest.mark.slow),
        ("onnx", "float32", "onnxruntime"),
    ],
)
def test_another_runtime_averages_as_well(
    format: str, precision: str, package: str, exportable: ExportableRun, tmp_path: Path
) -> None:
    pytest.importorskip(package)
    variant = Variant(format=format, precision=precision)
    expected = exportable.write(tmp_path, variant, "m")
    (ask,) = parity_program.open_model(Export(tmp_path, format).model).values()
    reference = expected.reference
    answer: dict[str, Any] = ask(reference.images)
    gap = np.abs(answer["probabilities"] - reference.probabilities).max()
    assert len(reference.images) == IMAGES
    if expected.exact:
        assert gap < expected.tolerance
    else:
        same = answer["probabilities"].argmax(1) == reference.probabilities.argmax(1)
        assert same.mean() > 0.95


def test_other_views_than_the_runs_own_can_be_exported(run: Run) -> None:
    single = read_run(run, "none")
    assert single.model.card.loss == pytest.approx(evaluate_run(run, "none")["test_loss"])
    assert single.model.card.input["views"] == "none"
    with pytest.raises(UsageError, match="digits"):
        read_run(run, "mirrored")
