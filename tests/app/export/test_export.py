"""An export of a real run: its signatures, what travels with it, what is refused, other formats and precisions."""

import base64
import errno
import importlib.util
import json
import os
import re
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from epochal.app.commands import export as command
from epochal.app.config import Augment, Config
from epochal.app.errors import RunInUse, StorageError, UsageError
from epochal.app.export import proof, saved_model
from epochal.app.export.compare import compare, table
from epochal.app.export.export import export
from epochal.app.export.exported_run import Source, read_source
from epochal.app.export.variants import PRECISIONS, Variant, installed, variant
from epochal.app.serving.loaded_model import check_ours
from epochal.app.store import files as storage
from epochal.app.store.run import Run
from epochal.app.training import train as training

pytestmark = pytest.mark.usefixtures("determinism_ends_here")

CONFIG = Config(
    model="resnet8", epochs=1, batch_size=32, learning_rate=0.05, augment=Augment(pad_crop=0)
)
IMAGES = 359
BLOCK = 256  # in which the run's answers are computed; in bfloat16 they depend on it


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A network with batch norm that was trained on the digits for an epoch."""
    found = Run(tmp_path_factory.mktemp("runs") / "r")
    training.train_at(found, CONFIG, test=True)
    return found


@pytest.fixture(scope="module")
def source(run: Run) -> Source:
    return read_source(run)


@pytest.fixture(scope="module")
def told() -> list[str]:
    """What the export of `exported` said."""
    return []


@pytest.fixture(scope="module")
def exported(run: Run, told: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(run, "digits", Variant(), told.append, tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def signatures(exported: Path) -> Any:
    return tf.saved_model.load(str(exported)).signatures


@pytest.fixture(scope="module")
def written(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Writes a variant once; returns its folder and what it must answer."""
    found: dict[Variant, Any] = {}

    def write(kind: str, precision: str) -> Any:
        wanted = Variant(format=kind, precision=precision)
        if wanted not in found:
            folder = tmp_path_factory.mktemp(f"{kind}-{precision}")
            found[wanted] = folder, source.write(folder, wanted, "m")
        return found[wanted]

    return write


def test_it_says_what_was_proven(told: list[str], exported: Path) -> None:
    assert exported.name == "1"
    begun = ["computing the run's own answers ...", "writing the saved_model ..."]
    assert told[:3] == [
        *begun,
        f"asking it in a fresh process, {IMAGES} test images each way in ...",
    ]
    assert told[3].startswith(f"asked: {IMAGES} test images through serving_default, serving_float")
    assert "every label equal, probabilities within " in told[3]
    assert "fitted on validation: calibration error in test 0." in told[4]


def test_batch_norm_is_folded(exported: Path, run: Run) -> None:
    names = {path for path, _ in tf.train.list_variables(str(exported / "variables/variables"))}
    stored = sum(
        int(np.prod(shape))
        for _, shape in tf.train.list_variables(str(exported / "variables/variables"))
    )
    assert not [name for name in names if "moving" in name or "gamma" in name]
    assert stored < run.result().params * 1.01


def test_floats_are_levels_as_bytes_are(signatures: Any, source: Source) -> None:
    images = source.evidence.images[:9]
    one = signatures["serving_default"](image=tf.constant(images))
    other = signatures["serving_float"](image=tf.constant(images + 0.3, tf.float32))
    for name, value in one.items():
        assert (value.numpy() == other[name].numpy()).all()


def test_the_likeliest_classes_come_in_order(signatures: Any, source: Source) -> None:
    answer = {
        key: value.numpy()
        for key, value in signatures["serving_default"](image=source.evidence.images).items()
    }
    order = np.argsort(-answer["probabilities"], axis=1, kind="stable")[:, :5]
    np.testing.assert_array_equal(
        answer["scores"], np.take_along_axis(answer["probabilities"], order, 1)
    )
    np.testing.assert_array_equal(answer["labels"], np.array(source.evidence.classes, "S")[order])
    np.testing.assert_array_equal(answer["label"], answer["labels"][:, 0])
    np.testing.assert_allclose(answer["probabilities"].sum(1), 1, atol=1e-5)


def test_images_of_any_size_are_fitted_alike(signatures: Any) -> None:
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (40, 23, 1), np.uint8)
    answers = [
        signatures["serving_default"](image=image[None]),
        signatures["serving_bytes"](image_bytes=[tf.io.encode_png(image).numpy()]),
    ]
    np.testing.assert_allclose(*(answer["probabilities"] for answer in answers), atol=1e-6)


MIXED = np.stack([np.full((8, 8, 1), level, np.float32) for level in (128, 0.5)])
BAD: dict[str, tuple[str, str, Any, str]] = {
    "empty": (
        "serving_default",
        "image",
        np.zeros((0, 8, 8, 1), np.uint8),
        "expected an image, got none",
    ),
    "no files": (
        "serving_bytes",
        "image_bytes",
        tf.constant([], tf.string),
        "expected an image, got none",
    ),
    "no examples": (
        "classify",
        "inputs",
        tf.constant([], tf.string),
        "expected an image, got none",
    ),
    "colours": (
        "serving_default",
        "image",
        np.zeros((1, 8, 8, 3), np.uint8),
        "not compatible with expected shape",
    ),
    "one image": (
        "serving_default",
        "image",
        np.zeros((8, 8, 1), np.uint8),
        "not compatible with expected shape",
    ),
    "fractions": (
        "serving_float",
        "image",
        np.full((1, 8, 8, 1), 0.5, np.float32),
        "fractions of 1: multiply by 255",
    ),
    "a fraction of 1 beside levels": (
        "serving_float",
        "image",
        MIXED,
        "fractions of 1: multiply by 255",
    ),
    "infinity": (
        "serving_float",
        "image",
        np.full((1, 8, 8, 1), np.inf, np.float32),
        "got some that are none",
    ),
    "not a number": (
        "serving_float",
        "image",
        np.full((1, 8, 8, 1), np.nan, np.float32),
        "got some that are none",
    ),
    "a level too high": (
        "serving_float",
        "image",
        np.full((1, 8, 8, 1), 256, np.float32),
        "got some that are none",
    ),
    "no picture": ("serving_bytes", "image_bytes", tf.constant(["hello"]), "expected one of JPEG"),
    "no feature": (
        "classify",
        "inputs",
        tf.constant([tf.train.Example().SerializeToString()]),
        "image_bytes",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_request_is_an_error_with_its_reason(name: str, signatures: Any) -> None:
    signature, argument, value, message = BAD[name]
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        signatures[signature](**{argument: tf.constant(value)})


def test_the_golden_request_is_answered_as_expected(exported: Path, signatures: Any) -> None:
    golden = json.loads((exported / "assets.extra/golden.json").read_text())
    pictures = [base64.b64decode(one["b64"]) for one in golden["instances"]]
    answer = signatures[golden["signature_name"]](image_bytes=tf.constant(pictures))
    assert [label.decode() for label in answer["label"].numpy()] == [
        one["label"] for one in golden["expected"]
    ]
    expected = [one["probabilities"] for one in golden["expected"]]
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-5)


def test_every_warm_up_request_can_be_answered(exported: Path, signatures: Any) -> None:
    from tensorflow_serving.apis import prediction_log_pb2

    warmed = []
    file = exported / "assets.extra/tf_serving_warmup_requests"
    for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        if log.WhichOneof("log_type") == "predict_log":
            request = log.predict_log.request
            given = {
                key: tf.constant(tf.make_ndarray(value)) for key, value in request.inputs.items()
            }
        else:
            request = log.classify_log.request
            given = {
                "inputs": [one.SerializeToString() for one in request.input.example_list.examples]
            }
            given = {"inputs": tf.constant(given["inputs"])}
        signatures[request.model_spec.signature_name](**given)
        warmed.append(request.model_spec.signature_name)
    assert sorted(warmed) == sorted(proof.opened(exported))


def test_the_card_tells_what_the_model_is(exported: Path, run: Run) -> None:
    card = json.loads((exported / "assets/card.json").read_text())
    test = run.result().test
    assert (card["made_by"], card["accuracy"], card["count"]) == (
        "epochal",
        test.accuracy,
        IMAGES,
    )
    assert card["exported"]["accuracy"] == test.accuracy
    assert card["input"]["image_size"] == 8
    assert card["trained"]["configuration"]["learning_rate"] == 0.05
    assert len(card["data_sha256"]) == 64
    assert str(run.folder.parent) not in json.dumps(card)
    assert (exported / "assets/labels.txt").read_text().split() == [str(i) for i in range(10)]


def test_a_full_temporary_folder_is_named(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "save", full)
    place = re.escape(tempfile.gettempdir())
    with pytest.raises(
        StorageError, match=rf"test images to {place}: No space left on device; .* set TMPDIR"
    ):
        source.evidence.save(Path("beside"))


@pytest.mark.slow
def test_an_export_that_differs_is_not_published(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write = saved_model.write

    def spoiled(servable: Any, folder: Path) -> None:
        servable.model.get_layer("logits").bias.assign_add([0.01] + [0.0] * 9)
        write(servable, folder)

    monkeypatch.setattr(saved_model, "write", spoiled)
    with pytest.raises(
        StorageError,
        match=r"export of \S+ differs from the run at image \d+ through serving_default",
    ):
        export(run, "m", Variant(), print, tmp_path)
    assert not (tmp_path / "m").exists()


def test_a_precision_that_ruins_it_is_not_published(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    verdict = {"first_difference": None, "accuracy": 0.1}
    monkeypatch.setattr("epochal.app.export.export.asked", lambda *_: verdict)
    with pytest.raises(
        StorageError,
        match=r"as saved_model bfloat16 the test accuracy is 0.1000, the run's own 0.\d+",
    ):
        export(run, "m", Variant(precision="bfloat16"), print, tmp_path)
    assert not (tmp_path / "m").exists()


def test_two_exports_of_a_name_do_not_meet(run: Run, tmp_path: Path) -> None:
    with (
        storage.alone(tmp_path / "m"),
        pytest.raises(RunInUse, match="another process writes a version there"),
    ):
        export(run, "m", Variant(), print, tmp_path)


@pytest.mark.parametrize("precision", [pytest.param("float16", marks=pytest.mark.slow), "bfloat16"])
def test_half_the_bits_half_the_bytes(precision: str, written: Any, exported: Path) -> None:
    folder, expected = written("saved_model", precision)
    size = (folder / "variables/variables.data-00000-of-00001").stat().st_size
    assert size < 0.6 * (exported / "variables/variables.data-00000-of-00001").stat().st_size
    assert not expected.exact
    for name, ask in proof.opened(folder).items():
        apart = proof.difference(
            ask(expected.evidence.images[:BLOCK]), sliced(expected.evidence, BLOCK)
        )
        assert apart.max() < 1e-5, name


def sliced(evidence: Any, count: int) -> dict[str, np.ndarray]:
    found = {
        name: getattr(evidence, name)[:count]
        for name in ("images", "labels", "probabilities", "features")
    }
    return {**found, "classes": np.array(evidence.classes)}


@pytest.mark.parametrize(("kind", "precision"), [("litert", "float32"), ("onnx", "float32")])
def test_another_runtime_gives_the_same(kind: str, precision: str, written: Any) -> None:
    pytest.importorskip({"litert": "ai_edge_litert", "onnx": "onnxruntime"}[kind])
    folder, expected = written(kind, precision)
    (ask,) = proof.opened(folder).values()
    assert expected.exact
    apart = proof.difference(ask(expected.evidence.images), sliced(expected.evidence, IMAGES))
    assert apart.max() < expected.tolerance == 1e-4
    assert (folder / "labels.txt").exists()


def test_int8_quantises_convolutions_too(written: Any) -> None:
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    folder, expected = written("litert", "int8")
    file = folder / "model.tflite"
    kernels = [
        one
        for one in interpreter.Interpreter(str(file)).get_tensor_details()
        if len(one["shape"]) == 4
    ]
    assert sum(one["dtype"] == np.int8 and one["shape"][1] == 3 for one in kernels) >= 7
    assert (
        file.stat().st_size
        < 0.5 * (written("litert", "float32")[0] / "model.tflite").stat().st_size
    )
    (ask,) = proof.opened(folder).values()
    same = ask(expected.evidence.images)["probabilities"].argmax(
        1
    ) == expected.evidence.probabilities.argmax(1)
    assert same.mean() > 0.95


@pytest.mark.slow
def test_the_comparison_marks_the_smallest(run: Run) -> None:
    rows = compare(run, print)
    assert (
        len(rows) == len(installed()) - 1
    )  # its own precision is float32, which is not exported twice
    assert rows[0]["accuracy"] == run.result().test.accuracy
    assert all(
        row["accuracy"] >= max(row["accuracy"] for row in rows) - 0.005
        for row in rows
        if row["smallest"]
    )
    lines = table(rows).splitlines()
    assert [line.startswith("* ") for line in lines[1:-1]] == [row["smallest"] for row in rows]
    assert sum(row["smallest"] for row in rows) == 1
    json.dumps(rows)


def test_only_what_epochal_made_is_trusted(exported: Path, tmp_path: Path) -> None:
    check_ours(exported)
    copy = Path(shutil.copytree(exported, tmp_path / "1"))
    (copy / "saved_model.pb").write_bytes(b"another program")
    with pytest.raises(StorageError, match=r"saved_model.pb is damaged"):
        check_ours(copy)
    (copy / "manifest.json").unlink()
    with pytest.raises(UsageError, match="a SavedModel is a program: give --trust to run it"):
        check_ours(copy)


def test_an_operation_that_reaches_outside_needs_trust(exported: Path, tmp_path: Path) -> None:
    def disguised(folder: Path) -> None:
        reader = tf.Module()
        reader.read = tf.function(
            lambda path: {"content": tf.io.read_file(path[0])},
            input_signature=[tf.TensorSpec([None], tf.string)],
        )
        tf.saved_model.save(reader, str(folder), {"serving_default": reader.read})
        (folder / "assets").mkdir(exist_ok=True)
        shutil.copy(exported / "assets/card.json", folder / "assets")

    storage.publish(tmp_path / "1", disguised)
    with pytest.raises(
        UsageError, match="has ReadFile, which no export of epochal has: give --trust to run it"
    ):
        check_ours(tmp_path / "1")


# options


def test_a_precision_that_a_format_lacks_is_named() -> None:
    with pytest.raises(
        UsageError, match="--precision int8: saved_model has own, float32, float16, bfloat16"
    ):
        variant(None, "int8")


@pytest.mark.parametrize("kind", ["litert", "onnx"])
def test_a_missing_package_is_named(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        UsageError, match=rf"--format {kind} needs \w+: pip install -e '.\[{kind}\]'"
    ):
        variant(kind, None)
    assert {one.format for one in installed()} == {"saved_model"}


def test_each_format_has_a_folder_and_each_precision_a_name() -> None:
    assert [str(Variant(format=kind).root) for kind in PRECISIONS] == [
        "saved_models",
        "litert_models",
        "onnx_models",
    ]
    assert [Variant(precision=one).suffix for one in ("own", "float16")] == ["", "-float16"]
    assert [Variant(format="litert", precision=one).suffix for one in ("float32", "int8")] == [
        "",
        "-int8",
    ]


@pytest.mark.parametrize(
    "more", [["--name", "x"], ["--format", "onnx"], ["--precision", "float16"]]
)
def test_a_comparison_takes_no_choice(more: list[str]) -> None:
    with pytest.raises(UsageError, match="--compare exports every variant"):
        command.run(["r", "--compare", *more], 0)


# the proof


EXPECTED = {
    "probabilities": np.array([[0.5, 0.5, 0.0], [0.1, 0.7, 0.2]], np.float32),
    "features": np.array([[1.0, 2.0], [3.0, 4.0]], np.float32),
    "classes": np.array(["a", "b", "c"]),
}
SAME = {
    "probabilities": EXPECTED["probabilities"],
    "label": np.array([b"b", b"b"]),  # of a tie, either
    "labels": np.array([[b"b", b"a"], [b"b", b"c"]]),
    "scores": np.array([[0.5, 0.5], [0.7, 0.2]], np.float32),
    "features": EXPECTED["features"],
}
WRONG: dict[str, tuple[Any, float]] = {
    "probabilities": (EXPECTED["probabilities"] + [[0, 0, 0], [0, 0.25, 0]], 0.25),
    "label": (np.array([b"b", b"c"]), 0.5),
    "labels": (np.array([[b"b", b"a"], [b"b", b"a"]]), 0.1),
    "scores": (np.array([[0.5, 0.5], [0.7, 0.1]]), 0.1),
    "features": (np.array([[1.0, 2.0], [3.0, 6.0]]), 0.5),
}


def test_what_is_equal_differs_by_nothing() -> None:
    assert proof.difference(SAME, EXPECTED).tolist() == [0, 0]


@pytest.mark.parametrize("name", WRONG)
def test_each_difference_is_seen_where_it_is(name: str) -> None:
    value, apart = WRONG[name]
    np.testing.assert_allclose(
        proof.difference({**SAME, name: value}, EXPECTED), [0, apart], atol=1e-7
    )


def test_a_value_that_is_no_number_is_a_difference() -> None:
    spoiled = np.array([[0.5, 0.5, 0.0], [0.1, np.nan, 0.2]])
    assert np.isnan(proof.difference({"probabilities": spoiled}, EXPECTED)[1])


def test_the_clock_takes_a_batch_of_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: set[int] = set()
    middle, late = proof.clock(partial(measured, sizes), np.zeros((3, 8, 8, 1)), 7, seconds=0.01)
    assert (sizes, 0 <= middle <= late) == ({7}, True)


def measured(sizes: set[int], images: np.ndarray) -> dict[str, np.ndarray]:
    sizes.add(len(images))
    return {}
