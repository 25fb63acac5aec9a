"""The real commands in turn, on a folder of images: train, evaluate, predict, export."""

import json
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from PIL import Image

from epochal.app.errors import StorageError
from epochal.app.store import files as storage
from tests.support.corpus import image_folder
from tests.support.paths import ROOT
from tests.support.program import epochal, outcome, start


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    generator = np.random.default_rng(0)
    for number, name in enumerate(("dark", "light")):
        (folder / "photos" / name).mkdir(parents=True)
        for i in range(20):
            pixels = generator.integers(
                100 * number, 100 * number + 100, (20 + i % 3, 24, 3), dtype=np.uint8
            )
            Image.fromarray(pixels).save(folder / "photos" / name / f"{i}.png")
    done = epochal(
        [
            "train",
            "--dataset",
            "./photos",
            "--image-size",
            16,
            "--model",
            "softmax",
            "--epochs",
            3,
            "--name",
            "r",
        ],
        folder,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_a_run_leaves_what_the_page_of_files_says(trained: Path) -> None:
    names = {path.name for path in (trained / "runs/r").iterdir() if not path.name.startswith(".")}
    assert names >= {
        "config.yaml",
        "environment.json",
        "data.json",
        "history.csv",
        "result.json",
        "log.txt",
        "tensorboard",
        "checkpoints",
        "curves.png",
        "confusion.png",
        "report.html",
        "losses.png",
        "losses.json",
        "timing.json",
    }
    page = (ROOT / "docs/files.md").read_text()
    assert [name for name in names if f"`{name}" not in page] == []
    report = (trained / "runs/r/report.html").read_text()
    assert [title in report for title in ("<h2>Timing</h2>", "<h2>Histograms over time</h2>")] == [
        True,
        True,
    ]
    result = json.loads((trained / "runs/r/result.json").read_text())
    assert result["test_count"] == 8
    assert result["test_accuracy"] == 1.0


@pytest.mark.slow
def test_evaluate_gives_the_runs_own_figures(trained: Path) -> None:
    done = epochal(["evaluate", "r", "--json"], trained)
    assert done.returncode == 0, done.stderr
    result = json.loads((trained / "runs/r/result.json").read_text())
    figures = json.loads(done.stdout)
    assert figures.pop("test_uses") >= 2
    assert figures == {key: result[key] for key in figures}


@pytest.mark.slow
def test_predict_and_export_agree_on_files(trained: Path) -> None:
    import tensorflow as tf

    files = [f"photos/{name}/{i}.png" for name in ("dark", "light") for i in (0, 1)]
    predicted = epochal(["predict", "r", "--json", *files], trained)
    assert predicted.returncode == 0, predicted.stderr
    rows = [json.loads(line) for line in predicted.stdout.splitlines()]
    assert [row["label"] for row in rows] == ["dark", "dark", "light", "light"]
    exported = epochal(["export", "r"], trained)
    assert exported.returncode == 0, exported.stderr
    assert exported.stdout == "saved_models/r/1\n"
    loaded = tf.saved_model.load(str(trained / "saved_models/r/1"))
    answer = loaded.signatures["serving_bytes"](
        tf.constant([(trained / name).read_bytes() for name in files])
    )
    expected = [[row["probabilities"][name] for name in ("dark", "light")] for row in rows]
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-5)
    assert (trained / "saved_models/r/1/assets/labels.txt").read_text() == "dark\nlight\n"


@pytest.mark.slow
def test_an_export_that_is_killed_leaves_no_version(trained: Path) -> None:
    versions = trained / "saved_models/killed"
    random = np.random.default_rng(0)
    ended = Event()
    watching = ThreadPoolExecutor(1).submit(incomplete, versions, ended)
    began = time.monotonic()
    assert epochal(["export", "r", "--name", "killed"], trained).returncode == 0
    whole = time.monotonic() - began
    for moment in random.uniform(0, whole, 20):
        process = start(["export", "r", "--name", "killed"], trained)
        time.sleep(moment)
        process.kill()
        process.communicate()
    done = epochal(["export", "r", "--name", "killed"], trained)
    ended.set()
    assert watching.result() == []
    assert done.returncode == 0, done.stderr
    left = sorted(path.name for path in versions.iterdir())
    assert [name for name in left if not name.isdecimal()] == []
    assert sorted(map(int, left)) == list(range(1, len(left) + 1))


@pytest.mark.slow
def test_an_export_to_a_full_disk_leaves_nothing(trained: Path) -> None:
    done = epochal(["export", "r", "--name", "full"], trained, largest_file=50_000)
    assert done.returncode == 4, done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert list((trained / "saved_models").glob("full/*")) == []


def incomplete(versions: Path, ended: Event) -> list[str]:
    """Return what would have broken ModelServer, which loads any folder named by a number."""
    wrong = []
    while not ended.is_set():
        for path in versions.glob("[0-9]*"):
            try:
                storage.verify(path)
            except StorageError as error:
                wrong.append(str(error))
        time.sleep(0.001)
    return wrong


@pytest.mark.slow
def test_images_that_stream_train_to_the_same_weights(trained: Path) -> None:
    done = epochal(
        ["train", "--config", "runs/r/config.yaml", "--data.cache-gib", 0, "--name", "streamed"],
        trained,
    )
    assert done.returncode == 0, done.stderr
    cached, streamed = (outcome(trained / "runs" / name) for name in ("r", "streamed"))
    assert streamed == cached


@pytest.mark.slow
def test_a_streamed_folder_is_never_in_memory(tmp_path: Path) -> None:
    image_folder(
        tmp_path / "large", {"a": 500, "b": 500}, kind="JPEG", size=512
    )  # 0.73 GiB decoded
    peaks = []
    for gib in (2, 0.1):
        command = [
            "train",
            "--dataset",
            "./large",
            "--model",
            "softmax",
            "--epochs",
            1,
            "--learning-rate",
            1e-4,
        ]
        done = epochal(
            [*command, "--batch-size", 16, "--data.cache-gib", gib, "--name", f"m{gib}"], tmp_path
        )
        assert done.returncode == 0, done.stderr
        log = (tmp_path / f"runs/m{gib}/log.txt").read_text()
        peaks.append(float(re.search(r"peak memory (\S+) GiB", log)[1]))
    assert peaks[1] < peaks[0] - 0.6


@pytest.mark.slow
def test_a_dry_run_writes_nothing(trained: Path) -> None:
    before = sorted(trained.rglob("*"))
    done = epochal(
        ["train", "--dry-run", "--dataset", "./photos", "--image-size", 16, "--model", "softmax"],
        trained,
    )
    assert done.returncode == 0, done.stderr
    assert "24 train, 8 validation, 8 test images, 2 classes; softmax" in done.stdout
    assert sorted(trained.rglob("*")) == before


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains_and_exports(trained: Path, precision: str) -> None:
    done = epochal(
        [
            "train",
            "--model",
            "resnet8",
            "--epochs",
            2,
            "--precision",
            precision,
            "--name",
            precision,
        ],
        trained,
    )
    assert done.returncode == 0, done.stderr
    assert (
        json.loads((trained / "runs" / precision / "result.json").read_text())["test_accuracy"]
        > 0.3
    )
    exported = epochal(["export", precision], trained)
    assert exported.returncode == 0, exported.stderr


@pytest.mark.slow
def test_a_served_image_without_channels_is_an_error_not_the_end(trained: Path) -> None:
    import tensorflow as tf

    assert epochal(["export", "r", "--name", "served"], trained).returncode == 0
    served = tf.saved_model.load(str(trained / "saved_models/served/1")).signatures[
        "serving_default"
    ]
    with pytest.raises(tf.errors.InvalidArgumentError, match="not compatible with expected shape"):
        served(image=tf.zeros([1, 16, 16], tf.uint8))


@pytest.mark.slow
def test_a_broken_image_is_named_with_its_reason_and_the_others_are_answered(trained: Path) -> None:
    (trained / "broken.png").write_bytes(b"no image")
    Image.new("L", (16, 16)).save(trained / "whole.png")
    os.mkfifo(trained / "pipe.png")
    images = ["whole.png", "broken.png", "pipe.png", "/dev/zero", "whole.png"]
    done = epochal(["predict", "r", *images, "--json"], trained)
    assert done.returncode == 2
    assert re.search(
        r"error: broken.png: not a readable image \(.*expected one of JPEG", done.stderr
    )
    assert "error: /dev/zero: is a device; give a file" in done.stderr
    assert "error: 3 of 5 files could not be read as images; leave them out" in done.stderr
    assert [json.loads(line)["path"] for line in done.stdout.splitlines()] == ["whole.png"] * 2


@pytest.mark.slow
def test_a_file_that_is_not_there_is_named_before_any_answer(trained: Path) -> None:
    done = epochal(["predict", "r", "labels.png", "absent.png"], trained)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "error: labels.png: does not exist; give image files" in done.stderr


@pytest.mark.slow
def test_a_run_can_be_used_from_anywhere(trained: Path, tmp_path: Path) -> None:
    done = epochal(["evaluate", trained / "runs/r", "--json"], tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_bad_file_is_named_and_nothing_is_left(trained: Path) -> None:
    bad = trained / "photos/dark/zz.png"
    bad.write_bytes(b"no image")
    done = epochal(
        ["train", "--dataset", "./photos", "--image-size", 16, "--name", "never"], trained
    )
    bad.unlink()
    assert done.returncode == 2
    assert "zz.png" in done.stderr
    assert not (trained / "runs/never").exists()


@pytest.mark.slow
def test_a_loss_that_explodes_is_exit_code_5(trained: Path) -> None:
    command = ["train", "--model", "mlp", "--learning-rate", "1e30", "--name", "nan"]
    done = epochal(command, trained)
    assert done.returncode == 5, done.stderr
    assert "not finite at step" in done.stderr.splitlines()[-1]
    assert not (trained / "runs/nan/checkpoints/best").exists()
    assert "failed: loss is not finite" in (trained / "runs/nan/log.txt").read_text()


@pytest.mark.slow
def test_training_ends_with_an_export_that_can_be_served(trained: Path) -> None:
    done = epochal(["train", "--resume", "r", "--export"], trained)
    assert done.returncode == 0, done.stderr
    summary, folder = done.stdout.splitlines()
    assert summary.startswith("test accuracy 1.0000")
    storage.verify(trained / folder)
    assert f"epochal serve {Path(folder).parent}" in done.stderr
