"""Runs whose images are whitened: stored, read again, refused, exported and gone on with."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from epochal.app.config import Config, Data, Stopping
from epochal.app.data.normalization import normalization_of
from epochal.app.doctor.model_copy import copy_model
from epochal.app.errors import StorageError, UsageError
from epochal.app.evaluation.evaluate_run import evaluate_run
from epochal.app.evaluation.trained_model import load_trained
from epochal.app.export import parity_program
from epochal.app.export.exportable_run import ExportableRun, read_run
from epochal.app.export.variants import Variant
from epochal.app.store.export import Export
from epochal.app.store.run import Run
from epochal.app.training.run.inheritance import inherited_settings
from epochal.app.training.run.setup import set_up
from epochal.app.training.train import train_at

pytestmark = pytest.mark.usefixtures("determinism_ends_here")

COMPONENTS = 20
WHITENED = Config(
    model="mlp",
    epochs=2,
    data=Data(normalization="whiten", components=COMPONENTS),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    trained = Run(tmp_path_factory.mktemp("runs") / "r")
    train_at(trained, WHITENED, test=True)
    return trained


@pytest.fixture(scope="module")
def exportable(run: Run) -> ExportableRun:
    return read_run(run)


def test_what_is_stored_is_the_networks_first_layer(run: Run) -> None:
    assert run.data_card().normalization == "whiten"
    stored = normalization_of(run)
    assert stored is not None
    assert stored.factors.shape == (64, COMPONENTS)
    layer = load_trained(run).model.get_layer("standardize")
    np.testing.assert_array_equal(layer.factors, stored.factors)
    assert not layer.weights
    result = run.result()
    assert result.test is not None
    assert evaluate_run(run)["test_loss"] == result.test.loss


def break_file(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)


@pytest.mark.parametrize("name", ["arrays.npz", "state.json", "manifest.json", None])
def test_arrays_that_were_changed_or_are_gone_are_refused(
    name: str | None, run: Run, tmp_path: Path
) -> None:
    copy = Run(Path(shutil.copytree(run.folder, tmp_path / "r")))
    if name is None:
        shutil.rmtree(copy.normalization_arrays)
    else:
        break_file(copy.normalization_arrays, name)
    with pytest.raises(StorageError, match="normalization"):
        load_trained(copy)


def test_a_card_of_an_unknown_kind_is_refused(run: Run, tmp_path: Path) -> None:
    copy = Run(Path(shutil.copytree(run.folder, tmp_path / "r")))
    text = copy.data_file.read_text().replace('"whiten"', '"magic"')
    copy.data_file.write_text(text)
    with pytest.raises(StorageError, match=r"data\.json is missing or damaged"):
        load_trained(copy)


@pytest.mark.parametrize(
    ("variant", "package"),
    [
        pytest.param(Variant(), "tensorflow", marks=pytest.mark.slow),
        (Variant(format="litert", precision="float32"), "ai_edge_litert"),
        pytest.param(
            Variant(format="litert", precision="int8"), "ai_edge_litert", marks=pytest.mark.slow
        ),
        (Variant(format="onnx", precision="float32"), "onnxruntime"),
        pytest.param(Variant(precision="float16"), "tensorflow", marks=pytest.mark.slow),
    ],
)
def test_every_export_normalises_as_the_run_does(
    variant: Variant, package: str, exportable: ExportableRun, tmp_path: Path
) -> None:
    pytest.importorskip(package)
    expected = exportable.write(tmp_path, variant, "m")
    ways = parity_program.open_model(Export(tmp_path, variant.format).model)
    reference = expected.reference
    answer: dict[str, Any] = next(iter(ways.values()))(reference.images[:256])
    if expected.exact:
        gap = np.abs(answer["probabilities"] - reference.probabilities[:256]).max()
        assert gap < expected.tolerance
    same = answer["probabilities"].argmax(1) == reference.probabilities[:256].argmax(1)
    assert same.mean() > 0.95
    assert exportable.model.card.input["normalization"] == "whiten"


@pytest.mark.slow
def test_a_run_goes_on_with_the_normalisation_that_it_began_with(tmp_path: Path) -> None:
    at_once = Run(tmp_path / "at-once")
    train_at(at_once, WHITENED, test=False)
    stopped = Run(tmp_path / "stopped")
    train_at(stopped, replace(WHITENED, stopping=Stopping(after=1)), test=False)
    stopped.result_file.unlink()
    train_at(stopped, WHITENED, test=False)
    ours = stopped.best_weights().arrays
    for name, values in at_once.best_weights().arrays.items():
        np.testing.assert_array_equal(ours[name], values)


def test_a_warm_start_reads_images_as_its_source_does(run: Run, tmp_path: Path) -> None:
    config = Config(init_from=str(run.folder), model="mlp", epochs=1)
    inherited = inherited_settings(config)
    assert inherited["data.normalization"] == "whiten"
    warm = replace(config, data=WHITENED.data, seed=7)
    again = Run(tmp_path / "again")
    train_at(again, warm, test=False)
    source = normalization_of(run)
    taken = normalization_of(again)
    assert source is not None
    assert taken is not None
    np.testing.assert_array_equal(taken.factors, source.factors)
    other = replace(warm, data=Data(normalization="zca"))
    with pytest.raises(UsageError, match=r"data\.normalization whiten, not zca"):
        train_at(Run(tmp_path / "other"), other, test=False)
    assert not (tmp_path / "other" / "config.yaml").exists()


def test_components_have_no_neighbours() -> None:
    config = Config(model="resnet8", data=Data(normalization="pca"))
    with pytest.raises(UsageError, match=r"normalization pca: resnet8 .* zca"):
        set_up(config)


def test_a_convolutional_network_reads_zca_and_the_doctor_can_copy_it() -> None:
    setup = set_up(Config(model="lenet5", data=Data(normalization="zca")))
    layer = setup.model.get_layer("standardize")
    assert layer.output.shape == (None, 8, 8, 1)
    copy = copy_model(setup, "float64")
    images, _ = next(iter(setup.batches.dataset()))
    ours = setup.model(images, training=False).numpy()
    np.testing.assert_allclose(copy(images, training=False), ours, rtol=1e-3, atol=1e-4)
