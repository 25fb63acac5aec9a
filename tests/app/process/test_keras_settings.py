"""Settings of Keras and TensorFlow that a user's machine has: they do not change what a run is."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from epochal.app.commands.main import main
from tests.support.program import epochal, outcome

STRANGE = {
    "backend": "jax",
    "image_data_format": "channels_first",
    "floatx": "float16",
    "epsilon": 0.1,
}
PROGRAM = """
from epochal.app.process.log import show_messages
from epochal.app.process.tensorflow_import import import_tensorflow

show_messages(0)
import_tensorflow(verbose=False)
import keras

layer = keras.layers.Conv2D(2, 3)
print(keras.config.backend(), layer.data_format, layer.compute_dtype, keras.config.epsilon())
print(keras.config.max_epochs(), keras.config.max_steps_per_epoch())
"""


@pytest.fixture
def strange_settings(tmp_path: Path) -> dict[str, str]:
    """The variables of a machine whose Keras is set up otherwise."""
    home = tmp_path / "keras_home"
    home.mkdir()
    (home / "keras.json").write_text(json.dumps(STRANGE))
    return {
        "KERAS_HOME": str(home),
        "KERAS_BACKEND": "jax",
        "KERAS_MAX_EPOCHS": "1",
        "KERAS_MAX_STEPS_PER_EPOCH": "3",
        "ONEDNN_DEFAULT_FPMATH_MODE": "BF16",
    }


def test_settings_of_keras_are_overruled_and_named(strange_settings: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | strange_settings,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "tensorflow channels_last float32 1e-07\nNone None\n"
    for name, value in [*STRANGE.items(), *list(strange_settings.items())[1:]]:
        assert f"{name} {value} is not followed" in done.stderr
    settings = Path(strange_settings["KERAS_HOME"], "keras.json")
    assert json.loads(settings.read_text()) == STRANGE


@pytest.mark.parametrize(
    "text", ["[]", pytest.param('{"floatx": "int8"}', marks=pytest.mark.slow)], ids=["list", "type"]
)
def test_a_settings_file_that_keras_cannot_use_is_not_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "keras.json").write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"KERAS_HOME": str(tmp_path), "KERAS_MAX_EPOCHS": "many"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "tensorflow channels_last float32 1e-07\nNone None\n"


def test_a_program_with_another_backend_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("keras.config.backend", lambda: "jax")
    assert main(["models", "lenet5"]) == 2
    assert "imported with the backend 'jax'" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_is_the_same_on_a_machine_with_other_settings(
    tmp_path: Path, strange_settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["train", "--model", "lenet5", "--epochs", 2, "--name", "r"]
    outcomes = []
    for number, variables in enumerate(
        [
            {"PYTHONHASHSEED": "1"},
            strange_settings | {"PYTHONHASHSEED": "2", "LC_ALL": "C", "LANGUAGE": "de"},
        ]
    ):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        folder = tmp_path / str(number)
        folder.mkdir()
        done = epochal(command, folder)
        assert done.returncode == 0, done.stderr
        outcomes.append(outcome(folder / "runs/r"))
    assert outcomes[0] == outcomes[1]


def test_settings_of_keras_that_no_one_can_read_are_none(tmp_path: Path) -> None:
    (tmp_path / "keras.json").write_text("[" * 100_000)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"KERAS_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "tensorflow channels_last float32 1e-07\nNone None\n"
    assert done.stderr == ""
