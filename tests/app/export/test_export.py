"""Exports of a real run: signatures, what travels with them, refusals, formats, precisions."""

import base64
import errno
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from epochal.app.config import Augment, Config
from epochal.app.errors import RunInUse, StorageError, UsageError
from epochal.app.export import parity_program
from epochal.app.export.compare import compare, format_table
from epochal.app.export.export import export, export_variant
from epochal.app.export.exportable_run import Expected, ExportableRun, read_run
from epochal.app.export.parity_program import Parity
from epochal.app.export.reference_answers import ReferenceAnswers
from epochal.app.export.variants import Variant, installed_variants
from epochal.app.serving.loaded_model import check_provenance
from epochal.app.store import files
from epochal.app.store.export import Export
from epochal.app.store.run import Run
from epochal.app.training import train as training
from tests.support.messages import heard

pytestmark = pytest.mark.usefixtures("determinism_ends_here")

CONFIG = Config(
    model="resnet8", epochs=1, batch_size=32, learning_rate=0.05, augment=Augment(pad_crop=0)
)
IMAGES = 359
BLOCK = 256  # in which the run's answers are computed; in bfloat16 they depend on it

Write = Callable[[str, str], tuple[Export, Expected]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A network with batch norm that was trained on the digits for an epoch."""
    trained = Run(tmp_path_factory.mktemp("runs") / "r")
    training.train_at(trained, CONFIG, test=True)
    return trained


@pytest.fixture(scope="module")
def exportable(run: Run) -> ExportableRun:
    return read_run(run)


@pytest.fixture(scope="module")
def messages() -> list[str]:
    """Messages of the export of `exported`."""
    return []


@pytest.fixture(scope="module")
def exported(run: Run, messages: list[str], tmp_path_factory: pytest.TempPathFactory) -> Export:
    with heard() as lines:
        published = export(run, "digits", Variant(), tmp_path_factory.mktemp("models"))
    messages.extend(lines)
    return published


@pytest.fixture(scope="module")
def signatures(exported: Export) -> Any:
    return tf.saved_model.load(str(exported.folder)).signatures


@pytest.fixture(scope="module")
def write(exportable: ExportableRun, tmp_path_factory: pytest.TempPathFactory) -> Write:
    """Writes a variant once; returns the export and what it must answer."""
    written: dict[Variant, tuple[Export, Expected]] = {}

    def write_once(format: str, precision: str) -> tuple[Export, Expected]:
        variant = Variant(format=format, precision=precision)
        if variant not in written:
            folder = tmp_path_factory.mktemp(f"{format}-{precision}")
            expected = exportable.write(folder, variant, "m")
            written[variant] = (Export(folder, format), expected)
        return written[variant]

    return write_once


# a SavedModel


def test_it_says_what_was_proven(messages: list[str], exported: Export) -> None:
    assert exported.folder.name == "1"
    assert "computing" in messages[0]
    assert "saved_model" in messages[1]
    assert f"{IMAGES} test images" in messages[2]
    for name in ("serving_default", "serving_float", "every label equal, probabilities within"):
        assert name in messages[3]
    assert "fitted on validation: calibration error in test 0." in messages[4]


def test_batch_norm_is_folded(exported: Export, run: Run) -> None:
    variables = tf.train.list_variables(str(exported.folder / "variables/variables"))
    stored = 0
    for name, shape in variables:
        assert "moving" not in name
        assert "gamma" not in name
        stored += int(np.prod(shape))
    assert 0 < stored < run.result().params * 1.01


def test_floats_are_levels_as_bytes_are(signatures: Any, exportable: ExportableRun) -> None:
    images = exportable.reference.images[:9]
    of_bytes = signatures["serving_default"](image=tf.constant(images))
    of_floats = signatures["serving_float"](image=tf.constant(images + 0.3, tf.float32))
    assert set(of_bytes) == set(of_floats) == {"label", "labels", "probabilities", "scores"}
    for name, value in of_bytes.items():
        assert (value.numpy() == of_floats[name].numpy()).all()


def test_the_likeliest_classes_come_in_order(signatures: Any, exportable: ExportableRun) -> None:
    reference = exportable.reference
    outputs = signatures["serving_default"](image=reference.images)
    probabilities = outputs["probabilities"].numpy()
    labels = outputs["labels"].numpy()
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :5]
    scores = np.take_along_axis(probabilities, order, 1)
    np.testing.assert_array_equal(outputs["scores"], scores)
    np.testing.assert_array_equal(labels, np.array(reference.classes, "S")[order])
    np.testing.assert_array_equal(outputs["label"], labels[:, 0])
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)


def test_images_of_any_size_are_fitted_alike(signatures: Any) -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 23, 1), np.uint8)
    png = tf.io.encode_png(image).numpy()
    of_pixels = signatures["serving_default"](image=image[None])
    of_file = signatures["serving_bytes"](image_bytes=[png])
    np.testing.assert_allclose(of_pixels["probabilities"], of_file["probabilities"], atol=1e-6)


def floats(*levels: float) -> np.ndarray:
    """Images, each of one level."""
    return np.stack([np.full((8, 8, 1), level, np.float32) for level in levels])


NO_STRINGS = tf.constant([], tf.string)
NO_FEATURE = tf.constant([tf.train.Example().SerializeToString()])
COLOURS = np.zeros((1, 8, 8, 3), np.uint8)
NO_BATCH = np.zeros((8, 8, 1), np.uint8)
FLOAT = ("serving_float", "image")
BYTE = ("serving_default", "image")
FILE = ("serving_bytes", "image_bytes")
EXAMPLE = ("classify", "inputs")
BAD: dict[str, tuple[tuple[str, str], Any, str]] = {
    "empty": (BYTE, np.zeros((0, 8, 8, 1), np.uint8), "expected an image, got none"),
    "no files": (FILE, NO_STRINGS, "expected an image, got none"),
    "no examples": (EXAMPLE, NO_STRINGS, "expected an image, got none"),
    "colours": (BYTE, COLOURS, "not compatible with expected shape"),
    "one image": (BYTE, NO_BATCH, "not compatible with expected shape"),
    "fractions": (FLOAT, floats(0.5), "fractions of 1: multiply by 255"),
    "a fraction of 1 beside levels": (FLOAT, floats(128, 0.5), "fractions of 1: multiply by 255"),
    "infinity": (FLOAT, floats(np.inf), "got some that are none"),
    "not a number": (FLOAT, floats(np.nan), "got some that are none"),
    "a level too high": (FLOAT, floats(256), "got some that are none"),
    "no picture": (FILE, tf.constant(["hello"]), "expected one of JPEG"),
    "no feature": (EXAMPLE, NO_FEATURE, "image_bytes"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_request_is_an_error_with_its_reason(name: str, signatures: Any) -> None:
    (signature, argument), value, message = BAD[name]
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        signatures[signature](**{argument: tf.constant(value)})


def test_the_sample_request_is_answered_as_expected(exported: Export, signatures: Any) -> None:
    sample = json.loads(exported.sample_request.read_text())
    pngs = [base64.b64decode(instance["b64"]) for instance in sample["instances"]]
    outputs = signatures[sample["signature_name"]](image_bytes=tf.constant(pngs))
    assert len(pngs) == len(sample["expected"]) == 8
    for expected, label, probabilities in zip(
        sample["expected"], outputs["label"].numpy(), outputs["probabilities"], strict=True
    ):
        assert label.decode() == expected["label"]
        np.testing.assert_allclose(probabilities, expected["probabilities"], atol=1e-5)


def test_every_warm_up_request_can_be_answered(exported: Export, signatures: Any) -> None:
    from tensorflow_serving.apis import prediction_log_pb2

    answered = []
    records = tf.data.TFRecordDataset(str(exported.warm_up_requests))
    for record in records.as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        inputs = {}
        if log.WhichOneof("log_type") == "predict_log":
            request = log.predict_log.request
            for key, value in request.inputs.items():
                inputs[key] = tf.constant(tf.make_ndarray(value))
        else:
            request = log.classify_log.request
            examples = request.input.example_list.examples
            inputs["inputs"] = tf.constant([example.SerializeToString() for example in examples])
        signatures[request.model_spec.signature_name](**inputs)
        answered.append(request.model_spec.signature_name)
    assert sorted(answered) == sorted(parity_program.open_model(exported.model))


def test_the_card_tells_what_the_model_is(exported: Export, run: Run) -> None:
    card = exported.read_card()
    test = run.result().test
    assert test is not None
    assert card.accuracy == test.accuracy
    assert card.count == IMAGES
    assert card.exported is not None
    assert card.exported["accuracy"] == test.accuracy
    assert card.input["image_size"] == 8
    assert card.trained["configuration"]["learning_rate"] == 0.05
    assert len(card.data_sha256) == 64
    assert exported.labels() == tuple("0123456789")


def test_the_cards_file_is_ours_and_tells_no_place(exported: Export, run: Run) -> None:
    text = (exported.folder / "assets/card.json").read_text()
    values = json.loads(text)
    assert values["made_by"] == "epochal"
    assert values["schema"] == 1
    assert values == exported.read_card().to_dict()
    assert str(run.folder.parent) not in text


# what is refused


def test_a_full_temporary_folder_is_named(
    exportable: ExportableRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "save", refuse)
    place = re.escape(tempfile.gettempdir())
    with pytest.raises(StorageError, match=rf"{place}: No space left on device; .* TMPDIR"):
        exportable.reference.save(Path("elsewhere"))


@pytest.mark.slow
def test_an_export_that_differs_is_not_published(exportable: ExportableRun, tmp_path: Path) -> None:
    probabilities = exportable.reference.probabilities.copy()
    probabilities[300] += 0.001
    reference = replace(exportable.reference, probabilities=probabilities)
    spoiled = replace(exportable, reference=reference)
    with pytest.raises(
        StorageError,
        match=r"export of \S+ differs from the run at image 300 through serving_default",
    ):
        export_variant(spoiled, "m", Variant(), tmp_path)
    assert not (tmp_path / "m").exists()


def test_a_precision_that_ruins_it_is_not_published(
    exportable: ExportableRun, tmp_path: Path
) -> None:
    def check(*arguments: Any) -> Parity:
        return Parity(images=IMAGES, ways=["serving_default"], accuracy=0.1)

    with pytest.raises(StorageError, match=r"bfloat16 the test accuracy is 0.1000, .* 0.\d+"):
        export_variant(exportable, "m", Variant(precision="bfloat16"), tmp_path, check=check)
    assert not (tmp_path / "m").exists()


def test_two_exports_of_a_name_do_not_meet(exportable: ExportableRun, tmp_path: Path) -> None:
    with (
        files.alone(tmp_path / "m"),
        pytest.raises(RunInUse, match="another process writes a version there"),
    ):
        export_variant(exportable, "m", Variant(), tmp_path)


def test_only_what_epochal_made_is_trusted(exported: Export, tmp_path: Path) -> None:
    check_provenance(exported.folder)
    copy = Export(Path(shutil.copytree(exported.folder, tmp_path / "1")))
    copy.model_file.write_bytes(b"another program")
    with pytest.raises(StorageError, match=r"saved_model.pb is damaged"):
        check_provenance(copy.folder)
    (copy.folder / files.MANIFEST).unlink()
    with pytest.raises(UsageError, match="give --trust to run it"):
        check_provenance(copy.folder)


def test_an_operation_that_reaches_outside_needs_trust(exported: Export, tmp_path: Path) -> None:
    def disguise(folder: Path) -> None:
        reader = tf.Module()
        reader.read = tf.function(
            lambda path: {"content": tf.io.read_file(path[0])},
            input_signature=[tf.TensorSpec([None], tf.string)],
        )
        tf.saved_model.save(reader, str(folder), {"serving_default": reader.read})
        card_file = Export(folder).card_file
        card_file.parent.mkdir(exist_ok=True)
        shutil.copy(exported.card_file, card_file)

    files.publish(tmp_path / "1", disguise)
    with pytest.raises(UsageError, match=r"has ReadFile, .* give --trust to run it"):
        check_provenance(tmp_path / "1")


# other formats and precisions


def batch_of(reference: ReferenceAnswers, count: int) -> dict[str, np.ndarray]:
    """The first images of the reference with their answers."""
    return {
        "images": reference.images[:count],
        "labels": reference.labels[:count],
        "probabilities": reference.probabilities[:count],
        "features": reference.features[:count],
        "classes": np.array(reference.classes),
    }


@pytest.mark.parametrize("precision", [pytest.param("float16", marks=pytest.mark.slow), "bfloat16"])
def test_half_the_bits_half_the_bytes(precision: str, write: Write, exported: Export) -> None:
    half, expected = write("saved_model", precision)
    weights = "variables/variables.data-00000-of-00001"
    size = (half.folder / weights).stat().st_size
    assert size < 0.6 * (exported.folder / weights).stat().st_size
    assert not expected.exact
    batch = batch_of(expected.reference, BLOCK)
    for name, ask in parity_program.open_model(half.model).items():
        answer = ask(batch["images"])
        assert parity_program.difference(answer, batch).max() < 1e-5, name


@pytest.mark.parametrize(
    ("format", "package"), [("litert", "ai_edge_litert"), ("onnx", "onnxruntime")]
)
def test_another_runtime_gives_the_same(format: str, package: str, write: Write) -> None:
    pytest.importorskip(package)
    written, expected = write(format, "float32")
    (ask,) = parity_program.open_model(written.model).values()
    batch = batch_of(expected.reference, IMAGES)
    distances = parity_program.difference(ask(batch["images"]), batch)
    assert expected.exact
    assert distances.max() < expected.tolerance == 1e-4
    assert written.labels() == expected.reference.classes
    assert written.read_card().precision == "float32"


def test_int8_quantises_convolutions_too(write: Write) -> None:
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    quantised, expected = write("litert", "int8")
    details = interpreter.Interpreter(str(quantised.model_file)).get_tensor_details()
    num_int8_kernels = 0
    for tensor in details:
        is_kernel = len(tensor["shape"]) == 4 and tensor["shape"][1] == 3
        if is_kernel and tensor["dtype"] == np.int8:
            num_int8_kernels += 1
    assert num_int8_kernels >= 7
    plain, _ = write("litert", "float32")
    assert quantised.model_file.stat().st_size < 0.5 * plain.model_file.stat().st_size
    (ask,) = parity_program.open_model(quantised.model).values()
    probabilities = ask(expected.reference.images)["probabilities"]
    same = probabilities.argmax(1) == expected.reference.probabilities.argmax(1)
    assert same.mean() > 0.95


@pytest.mark.slow
def test_the_comparison_marks_the_smallest(run: Run) -> None:
    rows = compare(run)
    # Its own precision is float32, which is not exported twice.
    assert len(rows) == len(installed_variants()) - 1
    test = run.result().test
    assert test is not None
    assert rows[0]["accuracy"] == test.accuracy
    best = max(row["accuracy"] for row in rows)
    smallest = [row for row in rows if row["smallest"]]
    assert len(smallest) == 1
    assert smallest[0]["accuracy"] >= best - 0.005
    lines = format_table(rows).splitlines()
    assert [line.startswith("* ") for line in lines[1:-1]] == [row["smallest"] for row in rows]
    json.dumps(rows)
