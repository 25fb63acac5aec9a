"""Fine-tuning: the head alone is that of a frozen network, and the course suits the data."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from keras import applications

from epochal.app.commands.main import main
from epochal.app.config import Augment, Config, Data, Optim, Schedule, replace_settings
from epochal.app.errors import UsageError
from epochal.app.process.signals import Stop
from epochal.app.training.finetune import finetune, suit
from epochal.app.training.run.head import train_head
from epochal.app.training.run.setup import set_up, start
from epochal.app.training.train import Session, resume, train
from epochal.models import pretrained
from epochal.models.pretrained import Published
from tests.support.program import epochal, outcome, stop_when
from tests.support.program import start as start_process
from tests.support.tiny_data import write_photos

pytestmark = [
    pytest.mark.usefixtures("determinism_ends_here"),
    pytest.mark.filterwarnings(
        "ignore:__array__ implementation:DeprecationWarning"
    ),  # of Keras' own variables
]
HEAD = 3  # epochs
BODY = "^(?!logits/)"


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "photos"
    write_photos(folder)
    return folder


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory) -> Path:
    """Of a network that has learned nothing: the file is what matters."""
    network = applications.MobileNet(
        alpha=0.25, weights=None, include_top=False, input_shape=(32, 32, 3)
    )
    path = tmp_path_factory.mktemp("weights") / "mobilenet.weights.h5"
    network.save_weights(path)
    return path


def of_head(**options: object) -> Config:
    """A training whose images are never changed, and all of which is the last epoch's."""
    settings: dict[str, object] = {
        "model": "resnet8",
        "learning_rate": 0.05,
        "batch_size": 32,
        "augment": Augment(pad_crop=0, flip=False),
        "data": Data(split="all", part=0.1),
        "schedule": Schedule(shape="cosine"),
    }
    return Config(**settings | options)


@pytest.mark.parametrize("optimizer", ["sgd", pytest.param("adam", marks=pytest.mark.slow)])
def test_the_head_is_that_of_a_frozen_network(optimizer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = of_head(optimizer=optimizer, epochs=2, optim=Optim(head_epochs=HEAD, frozen=BODY))
    setup = set_up(config)
    start(setup)
    body_before = [weight.numpy() for weight in setup.model.weights[:-2]]
    train_head(setup, lambda: False)
    for before, weight in zip(body_before, setup.model.weights[:-2], strict=True):
        np.testing.assert_array_equal(before, weight)

    frozen = Optim(frozen=BODY)
    run = train(of_head(optimizer=optimizer, epochs=HEAD, optim=frozen))
    arrays = run.best_weights().arrays
    names = sorted(name for name in arrays if "/logits/" in name)
    moved = 0.0
    for name, weight in zip(names, setup.model.get_layer("logits").weights, strict=True):
        np.testing.assert_allclose(weight, arrays[name], rtol=1e-3, atol=1e-5)
        moved = max(moved, float(np.abs(arrays[name]).max()))
    assert moved > 0.05  # it has learned: initial weights have deviation 0.01


class StopAt(Stop):
    """A request to stop that comes when it is looked for the so manieth time."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self._left = looks

    @contextmanager
    def deferred(self) -> Iterator[Callable[[], bool]]:
        yield self._look

    def _look(self) -> bool:
        self._left -= 1
        return self._left <= 0


# Among the features, and among the steps of the head.
@pytest.mark.parametrize("looks", [1, pytest.param(6, marks=pytest.mark.slow)])
def test_a_run_that_is_stopped_in_its_head_goes_on(looks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = of_head(epochs=1, optim=Optim(head_epochs=2), model="softmax", name="run")
    whole = train(replace_settings(config, {"name": "whole"}))
    with pytest.raises(KeyboardInterrupt):
        train(config, Session(stop=StopAt(looks)))
    folder = tmp_path / "runs" / "run"
    assert not list((folder / "checkpoints").glob("epoch-*"))
    assert main(["train", "--resume", str(folder)]) == 0
    stopped = type(whole)(folder).best_weights().arrays
    for name, array in whole.best_weights().arrays.items():
        np.testing.assert_array_equal(stopped[name], array)


@pytest.mark.slow
def test_the_head_is_not_trained_again_after_its_checkpoint(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    config = of_head(epochs=2, optim=Optim(head_epochs=2), model="softmax", name="run")
    stopping = StopAt(10_000)
    stopping._left = 3 + 2 * 5 + 3  # features, the head's steps, and some of the whole network
    with pytest.raises(KeyboardInterrupt):
        train(config, Session(stop=stopping))
    folder = tmp_path / "runs" / "run"
    assert list((folder / "checkpoints").glob("epoch-*"))
    caplog.clear()
    run = type(train(replace_settings(config, {"name": "whole"})))(folder)
    caplog.clear()
    with run.locked():
        resume(run, run.config())
    assert "of the logits alone" not in caplog.text


@pytest.mark.slow
def test_a_run_that_is_killed_in_its_head_goes_on(tmp_path):
    command = ["train", "--model", "mlp", "--epochs", 2, "--optim.head-epochs", 200]
    command += ["--checkpoint-seconds", 0]
    done = epochal([*command, "--name", "whole"], tmp_path)
    assert done.returncode == 0, done.stderr
    process = start_process([*command, "--name", "run"], tmp_path)
    begun = tmp_path / "runs/run/config.yaml"
    assert stop_when(process, begun.exists, signal.SIGKILL) == -signal.SIGKILL
    done = epochal(["train", "--resume", "runs/run"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert outcome(tmp_path / "runs/run") == outcome(tmp_path / "runs/whole")


@pytest.mark.parametrize(
    ("images", "batch", "epochs"), [(60, 8, 30), (600, 32, 30), (4000, 64, 16), (50_000, 64, 8)]
)
def test_the_course_suits_the_number_of_images(images, batch, epochs):
    config = suit(Config(model="softmax"), (), images)
    assert config.epochs == epochs
    assert config.batch_size is None  # the run itself finds that of so many images
    assert config.schedule.batch == 64
    assert config.schedule.warm_up == pytest.approx(epochs / 10)
    assert config.optim.frozen is None
    if images == 600:
        assert suit(Config(model="softmax", batch_size=batch), ["batch_size"], images) == (
            replace_settings(config, {"batch_size": batch})
        )


def test_what_is_given_stays():
    given = {"epochs": 1, "learning_rate": 0.3, "stopping.patience": None, "optim.frozen": None}
    config = suit(replace_settings(Config(model="resnet8"), given), given, 500)
    assert config.epochs == 1
    assert config.rate == 0.3
    assert config.stopping.patience is None
    assert config.optim.frozen is None
    assert config.optim.head_epochs > 0
    one_cycle = replace_settings(Config(model="softmax"), {"schedule.shape": "one_cycle"})
    assert suit(one_cycle, ["schedule.shape"], 500).schedule.warm_up is None
    adam = suit(Config(model="softmax", optimizer="adam"), ["optimizer"], 500)
    assert adam.rate == 0.001


def test_norms_of_the_network_stay_in_inference_mode():
    assert suit(Config(model="mobilenet_025"), (), 500).optim.frozen == "/(gamma|beta)$"


def test_published_weights_come_through_the_cache(tmp_path, monkeypatch, photos, weights_file):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    config = Config(dataset=str(photos), model="mobilenet_025", image_size=32, weights="imagenet")
    absent = Published(url=(tmp_path / "absent.h5").as_uri())
    monkeypatch.setitem(pretrained.PUBLISHED, "mobilenet_025", absent)
    with pytest.raises(UsageError, match=r"weights: .*absent\.h5; put that file into .*keras/mod"):
        set_up(config)
    there = Published(url=weights_file.as_uri())
    monkeypatch.setitem(pretrained.PUBLISHED, "mobilenet_025", there)
    setup = set_up(config)
    assert (tmp_path / "keras" / "models" / weights_file.name).exists()
    before = setup.model.get_weights()[0]
    start(setup)
    assert (setup.model.get_weights()[0] != before).any()
    with pytest.raises(UsageError, match="no weights of ImageNet are known for resnet8"):
        set_up(Config(model="resnet8", weights="imagenet"))


def test_a_run_of_its_own_folder_comes_out(tmp_path, monkeypatch, photos, weights_file):
    monkeypatch.chdir(tmp_path)
    given = {"dataset": str(photos), "model": "mobilenet_025", "weights": str(weights_file)}
    given |= {"image_size": 32, "epochs": 1}
    run = finetune(replace_settings(Config(), given), given)
    assert run.finished
    config = run.config()
    assert config.optim.head_epochs == 30
    assert config.image_size == 32
    assert run.data_card().mean == (127.5,) * 3
    assert "of the logits alone" in (run.folder / "log.txt").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["photos", "--dataset", "digits"], "given twice"),
        (["photos", "--init-from", "first"], "epochal train --init-from first"),
        (["photos", "--resume", "runs/first"], "epochal train --resume"),
        ([], "DATASET"),
        (["./absent"], "absent is missing"),
    ],
)
def test_refusals_are_one_line(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["finetune", *words]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert message in error
    assert "\n" not in error
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_a_fine_tuned_run_is_evaluated_and_exported(tmp_path, photos, weights_file):
    command = ["finetune", photos, "--model", "mobilenet_025", "--weights", weights_file]
    done = epochal([*command, "--image-size", 32, "--epochs", 2, "--name", "run"], tmp_path)
    assert done.returncode == 0, done.stderr
    for words in (["evaluate", "runs/run"], ["export", "runs/run"]):
        done = epochal(words, tmp_path)
        assert done.returncode == 0, done.stderr
