"""The command line: one line and an exit code for every mistake, nothing left behind."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from epochal.app.commands.arguments import resolve_config
from epochal.app.commands.main import main
from epochal.app.commands.train import parse
from epochal.app.config import Augment, Config
from epochal.app.errors import RunInUse, StorageError, UsageError
from epochal.app.process.signals import STOP
from epochal.app.store import runs
from epochal.app.store.run import Run
from tests.support.corpus import malformed_folders
from tests.support.paths import ROOT
from tests.support.program import epochal

# A whole number beyond all floats.
VAST = "1" + "0" * 400
MISTAKES = {
    "unknown command": (["trian"], "did you mean train"),
    "half a command": (["data"], "data check"),
    "unknown second word": (["data", "chek"], "did you mean data check"),
    "unknown flag": (["train", "--epoch", "3"], "did you mean --epochs"),
    "missing value": (["train", "--epochs"], "expected one argument"),
    "not a number": (["train", "--epochs", "many"], "epochs: expected a whole number, got 'many'"),
    "fraction of an epoch": (["train", "--epochs", "1.5"], "expected a whole number, got 1.5"),
    "negative": (["train", "--epochs", "-1"], "from 1 to 100000"),
    "NaN": (["train", "--learning-rate", "nan"], "learning_rate"),
    "a rate beyond all numbers": (
        ["train", "--learning-rate", VAST],
        "learning_rate: expected a number",
    ),
    "an interval beyond all numbers": (
        ["train", "--schedule.every", VAST],
        "schedule.every: expected a whole number or null, got",
    ),
    "an end beyond all numbers": (["train", "--stopping.after", VAST], "stopping.after: expected"),
    "an option beyond all numbers": (
        ["train", "--optim.options", f"{{momentum: {VAST}}}"],
        "optim.options: expected options",
    ),
    "a time beyond all numbers": (["train", "--budget", "9" * 400 + "h"], "a duration such as"),
    "a file without end": (["train", "--config", "/dev/zero"], "is a device"),
    "a token without end": (["serve", "x", "--token-file", "/dev/zero"], "is a device"),
    "every address": (["serve", "x", "--host", ""], "expected an address such as"),
    "images beyond all memory": (
        ["models", "softmax", "--image-size", VAST],
        "--image-size must be at most 1000000",
    ),
    "a batch beyond all numbers": (
        ["models", "softmax", "--batch-size", VAST],
        "--batch-size must be at most 1000000",
    ),
    "a kernel beyond all numbers": (
        ["models", "--cheaper", f"{VAST},1,1,1"],
        "each at least 1 and at most 1000000",
    ),
    "a raised digit of trials": (["tune", "--trials", "²"], "expected a number from 1, got ²"),
    "a raised digit of steps": (["lr-find", "--steps", "²"], "a number of steps from 2, got ²"),
    "a raised digit of a port": (["tune", "--worker", "localhost:²"], "expected HOST:PORT"),
    "zero rate": (["train", "--learning-rate", "0"], "above 0"),
    "infinite decay": (["train", "--optim.weight-decay", "inf"], "weight_decay"),
    "no class weights": (
        ["train", "--objective.class-weights", "equal"],
        "square_root, numbers by name as",
    ),
    "weights that are no numbers": (
        ["train", "--objective.class-weights", '{"3": "x"}'],
        "class_weights",
    ),
    "no duration": (["train", "--budget", "10 minutes"], "a duration such as 90s, 10m or 1h30m"),
    "no duration of a pilot's run": (
        ["train", "--pilot-above", "4"],
        "pilot_above must be a duration such as",
    ),
    "no time": (["train", "--budget", "0s"], "a duration such as"),
    "metric that is not logged": (
        ["train", "--stopping.monitor", "val_auc"],
        "expected val_accuracy, val_loss or val_macro_f1",
    ),
    "budget too small": (
        ["train", "--budget", "1s", "--model", "softmax"],
        "too little for one epoch",
    ),
    "a milestone past the end, in steps": (
        [
            "train",
            "--model",
            "softmax",
            "--schedule.unit",
            "steps",
            "--schedule.milestones",
            "[10, 50000000]",
        ],
        "a milestone, every or the warm-up lies past the end of the",
    ),
    "an interval past the end": (
        ["train", "--epochs", "5", "--schedule.every", "5"],
        "schedule.every must be below",
    ),
    "the least rate of a cosine": (
        ["train", "--schedule.shape", "cosine", "--schedule.least", "0.1"],
        "schedule.shape with schedule.least must be plateau or stuck",
    ),
    "no room for a drop": (
        ["train", "--schedule.shape", "plateau", "--schedule.least", "0.1"],
        "schedule.least must be below the learning rate 0.1, got 0.1",
    ),
    "a window as long as the run": (
        ["train", "--epochs", "2", "--schedule.shape", "stuck", "--schedule.window", "34"],
        "schedule.window: expected less than the 34 steps of the run, got 34",
    ),
    "a drop in the warm-up": (
        ["train", "--schedule.warm-up", "6", "--schedule.milestones", "[5, 20]"],
        "schedule.milestones must be behind schedule.warm_up 6, got [5, 20]",
    ),
    "negative cooldown": (
        ["train", "--schedule.shape", "stuck", "--schedule.cooldown", "-1"],
        "0 or more",
    ),
    "gain of all": (
        ["train", "--schedule.shape", "stuck", "--schedule.gain", "1"],
        "from 0 to below 1",
    ),
    "beta above 1": (
        ["train", "--optimizer", "adam", "--optim.options", '{"beta_1": 1.5}'],
        "beta_1 must be from 0",
    ),
    "negative epsilon": (
        ["train", "--optimizer", "adam", "--optim.options", '{"epsilon": -1}'],
        "epsilon must be 0",
    ),
    "momentum in words": (
        ["train", "--optim.options", '{"momentum": "much"}'],
        "momentum must be from 0 to below 1",
    ),
    "no such option": (
        ["train", "--optim.options", '{"momntum": 0.9}'],
        "it has no momntum (did you mean momentum?)",
    ),
    "clipping by an option": (
        ["train", "--optim.options", '{"clipvalue": 1}'],
        "clipvalue is not an option here",
    ),
    "no such optimizer": (["train", "--optimizer", "sgdd"], "unknown 'sgdd'"),
    "two clippings": (
        ["train", "--optim.clip-norm", "1", "--optim.clip-value", "1"],
        "one kind of clipping",
    ),
    "percentile above 100": (["train", "--optim.clip-percentile", "101"], "at most 100"),
    "an average of nothing": (["train", "--optim.ema", "1"], "above 0 and below 1"),
    "keeping no epoch": (["train", "--stopping.keep", "0"], "1 epoch or more"),
    "proximal nothing": (["train", "--optim.l1-proximal", "true"], "above 0 with l1_proximal"),
    "no pattern": (
        ["train", "--optim.rates", '{"(": 2}'],
        "optim.rates must be a regular expression (missing ), ",
    ),
    "too many repetitions": (
        ["train", "--optim.decays", "a{9999999999}"],
        "the repetition number is too large",
    ),
    "negative factor": (["train", "--optim.rates", '{"stem": -1}'], "0 or more"),
    "nothing to train": (
        ["train", "--optim.frozen", "kernel|gamma|beta|bias"],
        "leaves nothing of resnet20 to train",
    ),
    "nothing to freeze": (
        ["train", "--optim.frozen", "^block"],
        "'^block' matches no weight of resnet20",
    ),
    "frozen by no pattern": (
        ["train", "--optim.frozen", "(("],
        "optim.frozen must be a regular expression (missing",
    ),
    "thawed too late": (
        ["train", "--epochs", "5", "--optim.frozen", "stem", "--optim.unfreeze-every", "5"],
        "optim.unfreeze_every must be below the 5 epochs, got 5",
    ),
    "no growth": (
        ["train", "--optim.rate-growth", "0"],
        "optim.rate_growth must be above 0, got 0",
    ),
    "decay that the optimizer has not": (
        ["train", "--optimizer", "AdamW", "--optim.decay", "coupled"],
        "optim.decay: expected decoupled, which adamw comes with, or null, got 'coupled'",
    ),
    "classes that weigh nothing": (
        [
            "train",
            "--model",
            "softmax",
            "--objective.class-weights",
            str(dict.fromkeys("0123456789", 0)),
        ],
        "expected a class that weighs more than 0, got 0 for all",
    ),
    "limits in the wrong order": (
        ["train", "--optimizer", "adaptivegain", "--optim.options", '{"limits": [5, 1]}'],
        "limits must be [low, high] with 0 < low <= 1 <= high, got [5, 1]",
    ),
    "one limit of two": (
        ["train", "--optimizer", "adaptivegain", "--optim.options", "{limits: [0.5]}"],
        "limits must be",
    ),
    "a word for a number": (
        ["train", "--optimizer", "muon", "--optim.options", '{"ns_steps": "x"}'],
        "optim.options: ns_steps must be a whole number from 0, got 'x'",
    ),
    "half a step": (
        ["train", "--optimizer", "muon", "--optim.options", "{ns_steps: 0.5}"],
        "ns_steps must be a whole number from 0, got 0.5",
    ),
    "two factors of the loss": (
        ["train", "--optim.options", "{loss_scale_factor: [0.5, 2]}"],
        "loss_scale_factor must be a number above 0, or null",
    ),
    "an optimizer of no name": (
        ["train", "--optim.options", "{name: '('}"],
        "name must be a word of letters",
    ),
    "layers by no pattern": (
        ["train", "--optimizer", "muon", "--optim.options", "{exclude_layers: ['(']}"],
        "exclude_layers must be a list of regular expressions",
    ),
    "layers by a number": (
        ["train", "--optimizer", "muon", "--optim.options", "{exclude_layers: [1]}"],
        "exclude_layers must be a list of regular expressions",
    ),
    "a threshold on averages": (
        [
            "train",
            "--optimizer",
            "schedulefreeadamw",
            "--optim.l1",
            "0.1",
            "--optim.l1-proximal",
            "true",
        ],
        "optim.l1_proximal: expected false with schedulefreeadamw",
    ),
    "the usual window in a short run": (
        ["train", "--model", "softmax", "--epochs", "5", "--schedule.shape", "stuck"],
        "schedule.window: expected less than the 85 steps of the run, got 500",
    ),
    "nothing to thaw": (["train", "--optim.unfreeze-every", "1"], "null without optim.frozen"),
    "thawed at once": (
        ["train", "--optim.frozen", "stem", "--optim.unfreeze-every", "0"],
        "1 epoch or more",
    ),
    "no run to start from": (["train", "--init-from", "nothing"], "no run there"),
    "emphasis by nothing": (
        ["train", "--emphasis.trim", "0.1"],
        "sampler or weights with emphasis.trim, got null",
    ),
    "emphasis too late": (
        ["train", "--emphasis.by", "weights", "--emphasis.start", "30"],
        "below the 30 epochs",
    ),
    "emphasis too soon": (
        ["train", "--emphasis.by", "weights", "--emphasis.start", "0"],
        "1 epoch or more",
    ),
    "emphasis power NaN": (
        ["train", "--emphasis.by", "weights", "--emphasis.power", "nan"],
        "emphasis.power",
    ),
    "trimmed too much": (
        ["train", "--emphasis.by", "weights", "--emphasis.trim", "0.6"],
        "from 0 to 0.5",
    ),
    "cap too low": (
        ["train", "--emphasis.by", "sampler", "--emphasis.cap", "1", "--emphasis.trim", "0.5"],
        "2 or more",
    ),
    "unbiased weights": (
        ["train", "--emphasis.by", "weights", "--emphasis.unbiased", "true"],
        "sampler with",
    ),
    "two orders": (
        ["train", "--emphasis.by", "sampler", "--data.order", "once"],
        "data.order must be shuffled",
    ),
    "a list without brackets": (
        ["train", "--schedule.milestones", "5,3"],
        "expected a list such as [15, 22] or null",
    ),
    "neither true nor false": (
        ["train", "--augment.flip", "maybe"],
        "augment.flip: expected random, alternating, true, false or null, got 'maybe'",
    ),
    "no order": (["train", "--data.order", "sorted"], "once, replacement, interleaved or balanced"),
    "bad choice": (["train", "--precision", "float17"], "mixed_bfloat16"),
    "unknown policy": (["train", "--nan-policy", "retry"], "stop or rollback"),
    "given twice": (["train", "--epochs", "3", "--epochs", "4"], "twice"),
    "more parts than images": (
        ["train", "--batch-size", "8", "--optim.micro-batches", "16"],
        "optim.micro_batches must be at most the 8 images that a device gets of a batch, got 16",
    ),
    "both schedules": (
        ["train", "--schedule.every", "2", "--schedule.milestones", "[1]"],
        "not both",
    ),
    "path as a name": (["train", "--name", "../x"], "letters, digits"),
    "uneven devices": (["train", "--devices", "3"], "multiple of the 3 devices"),
    "more than all": (["train", "--data.part", "1.5"], "above 0 and below 1"),
    "no split": (
        ["train", "--data.split", "holdout/1"],
        "expected all or one of several splits, counted from 1, as",
    ),
    "a fold too many": (["train", "--data.split", "kfold:5/6"], "got 'kfold:5/6'"),
    "one fold": (
        ["train", "--data.split", "kfold:1/1"],
        "as kfold:5/2, repeated:3x5/7 or bootstrap:5/2",
    ),
    "too many folds": (
        ["train", "--data.split", "kfold:200/1"],
        "class '8' has 139 image(s), at least 200 are needed for 200 folds",
    ),
    "a fold and a share": (
        ["train", "--data.split", "kfold:5/2", "--data.validation", "0.1"],
        "data.validation must be null with data.split kfold:5/2",
    ),
    "patience with all": (
        ["train", "--data.split", "all", "--stopping.patience", "3"],
        "null with data.split all",
    ),
    "after no epoch": (
        ["train", "--stopping.after", "0"],
        "stopping.after must be 1 epoch or more",
    ),
    "after more than all": (["train", "--stopping.after", "31"], "at most the 30 epochs"),
    "two ends": (
        ["train", "--stopping.after", "2", "--budget", "10m"],
        "stopping.after must be null with a budget",
    ),
    "no batches": (["train", "--overfit-batches", "0"], "1 or more"),
    "part of a batch": (["train", "--overfit-batches", "0.5"], "invalid int value"),
    "two modes": (
        ["train", "--pilot", "--sample-ladder"],
        "--sample-ladder and --pilot exclude each other",
    ),
    "a mode and a dry run": (
        ["train", "--overfit-batches", "2", "--dry-run"],
        "exclude each other",
    ),
    "resume with a mode": (["train", "--resume", "x", "--pilot"], "drop --pilot"),
    "a mode of another command": (["lr-plan", "--pilot"], "--pilot is for epochal train"),
    "an export of nothing": (
        ["train", "--export", "--dry-run"],
        "--dry-run stores nothing that --export could write",
    ),
    "an export of a plan": (["lr-plan", "--export"], "--export is for epochal train"),
    "stray word": (["train", "digits"], "unrecognized"),
    "unknown data set": (["train", "--dataset", "cifar01"], "did you mean cifar10"),
    "not prepared": (["train", "--dataset", "mnist", "--data-dir", "nowhere"], "tfds build mnist"),
    "missing folder": (["train", "--dataset", "./photos"], "missing"),
    "unknown recipe": (["train", "--recipe", "mnist"], "mnist-lenet5"),
    "missing file": (["train", "--config", "none.yaml"], "No such file"),
    "resume with flags": (["train", "--resume", "x", "--epochs", "3"], "drop --epochs"),
    "nothing to resume": (["train", "--resume"], "no run to resume"),
    "unknown run": (["evaluate", "nothing"], "no run there"),
    "nothing to replay": (["replay-nan", "nothing"], "no run there"),
    "no image": (["predict", "nothing"], "IMAGE"),
    "a precision that a format lacks": (
        ["export", "r", "--precision", "int8"],
        "saved_model has own, float32",
    ),
    "an unknown format": (["export", "r", "--format", "torch"], "invalid choice: 'torch'"),
    "no version to serve": (["serve", "nothing"], "nothing: no version there"),
    "a port beyond the last": (["serve", "nothing", "--port", "65536"], "expected 0 to 65535"),
    "no search file": (
        ["tune", "--search", "absent.yaml"],
        "absent.yaml: No such file or directory; give a YAML file",
    ),
    "no such search": (["tune", "--search", "rates"], "--search rates: unknown"),
    "too many folds to sweep": (
        ["tune", "--splits", "kfold:200"],
        "at least 200 are needed for 200 folds",
    ),
    "no algorithm": (["tune", "--algorithm", "genetic"], "invalid choice: 'genetic'"),
    "no trials": (["tune", "--trials", "0"], "expected a number from 1, got 0"),
    "splits of one": (
        ["tune", "--splits", "kfold:1"],
        "splits: expected holdout, kfold:5, repeated:3x5",
    ),
    "no address": (["tune", "--chief", "here"], "expected HOST:PORT, got here"),
    "no sweep": (["tune", "--resume", "nothing"], "nothing: no sweep there"),
    "a sweep as it was begun": (
        ["tune", "--resume", "--trials", "3"],
        "as it was begun; drop --trials",
    ),
    "a worker with a plan": (
        ["tune", "--worker", "localhost:1", "--epochs", "3"],
        "drop --epochs",
    ),
    "a mode of train": (["tune", "--pilot"], "--pilot is for epochal train; drop it"),
}
FILES = {
    "unknown key": ("epoch: 3", "did you mean epochs"),
    "unknown inner key": ("optim: {momentum: 0.5}", "optim.momentum"),
    "wrong type": ("epochs: [1]", "epochs"),
    "duplicate key": ("epochs: 1\nepochs: 2", "twice"),
    "alias": ("epochs: &a 1\nseed: *a", "aliases"),
    "code": ("!!python/object/apply:os.system [ls]", "YAML"),
    "a tag of a date": ("epochs: !!timestamp 1", "the tag timestamp is not allowed"),
    "a tag of a truth": ("augment: {flip: !!bool x}", "'x' is no bool"),
    "a number beyond all": (f"epochs: {VAST}", "expected 100 at most"),
    "a hexadecimal number beyond all": (f"epochs: 0x{'f' * 400}", "expected 100 at most"),
    "no mapping": ("- 1", "no configuration"),
    "torn": ("epochs: [1", "YAML"),
    "a pilot of a warm start": (
        "init_from: a\npilot_above: 4h",
        "pilot_above must be null with init_from",
    ),
    "two beginnings": ("init_from: a\nweights: b.h5", "null with weights"),
    "empty": ("", "no configuration"),
    "too large": ("#" * 1_000_001, "larger"),
    "set": ("optim: {rates: !!set {a, b}}", "the tag set is not allowed"),
    "set of settings": ("!!set {epochs, seed}", "the tag set is not allowed"),
    "bytes": ("name: !!binary aGVsbG8=", "the tag binary is not allowed"),
    "date": ("name: !!timestamp noon", "the tag timestamp is not allowed"),
    "tag of another kind": ("optim: !!map [1, 2]", "not valid YAML"),
    "no truth": ("augment: {flip: !!bool yes}", "'yes' is no bool"),
    "long number": ("epochs: " + "9" * 5000, "a number of 5,000 characters"),
    "long hexadecimal number": ("optim: {rates: {a: 0x" + "f" * 5000 + "}}", "5,002 characters"),
    "long text": ("dataset: " + "a" * 5000, "a text of 5,000 characters"),
    "long key": ("? " + "a" * 5000 + "\n: 1", "a text of 5,000 characters"),
    "long text that is shown": ("model: {" + "a" * 1000 + ": 1}", "aaa ..."),
    "deep": ("optim: " + "[" * 10_000 + "]" * 10_000, "nested more than 20 levels"),
    "deep and torn": ("[" * 200_000, "nested more than 20 levels"),
    "many": ("schedule: {milestones: [" + "1," * 60_000 + "]}", "more than 10,000 keys and values"),
    "laughs": ("a: &a [lol, lol]\nb: &b [*a, *a]\nc: [*b, *b]", "aliases"),
    "character beyond Unicode": ('name: "\\UFFFFFFFF"', "not valid YAML"),
    "half a character": ('dataset: "\\uD800"', "half a character"),
    "zero byte": ('dataset: "a\\0b"', "neither a folder nor"),
}

FOLDERS = malformed_folders()
RECIPES = sorted(path.stem for path in (ROOT / "app/config/recipes").glob("*.yaml"))


def configured(words: list[str]) -> Config:
    return resolve_config(parse(words))


def refused(arguments: list[str], expected: str, capsys) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    errors = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    assert captured.out == ""
    assert len(errors) == 1
    assert captured.err.splitlines()[-1] == errors[0]
    assert expected in errors[0]
    assert list(Path.cwd().iterdir()) in ([], [Path.cwd() / "given.yaml"])


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(mistake: str, capsys) -> None:
    refused(*MISTAKES[mistake], capsys)


@pytest.mark.parametrize("mistake", FILES)
def test_a_bad_file_is_one_line(mistake: str, capsys) -> None:
    text, expected = FILES[mistake]
    Path("given.yaml").write_text(text)
    refused(["train", "--config", "given.yaml"], expected, capsys)


@pytest.mark.parametrize(
    "words",
    [["train", "--config"], ["tune", "--search"], ["serve", "nothing", "--token-file"]],
    ids=lambda words: words[-1],
)
@pytest.mark.parametrize("kind", ["device", "pipe", "folder"])
def test_what_is_no_file_is_told_without_waiting(kind, words, tmp_path_factory, capsys) -> None:
    path = tmp_path_factory.mktemp("elsewhere") / "given.yaml"
    if kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    refused([*words, str(path)], "", capsys)


def test_a_pipe_of_the_shell_is_a_file() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"epochs: 7")
    os.close(writer)
    assert configured(["--config", f"/dev/fd/{reader}"]).epochs == 7
    os.close(reader)


def test_a_named_pipe_is_read_once_its_writer_comes(tmp_path_factory) -> None:
    path = tmp_path_factory.mktemp("elsewhere") / "pipe"
    os.mkfifo(path)
    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(path.write_text, "epochs: 7")
        assert configured(["--config", str(path)]).epochs == 7
        assert written.result() == len("epochs: 7")


@pytest.mark.parametrize(
    "words",
    [
        ["train", "--dataset"],
        ["train", "--weights"],
        ["train", "--dataset", "mnist", "--data-dir"],
        ["evaluate"],
    ],
    ids=lambda words: words[-1],
)
def test_a_path_that_no_system_takes_is_one_line(words: list[str], capsys) -> None:
    refused([*words, "a" * 5000], "File name too long", capsys)


@pytest.mark.usefixtures("determinism_ends_here")
@pytest.mark.parametrize("malformed", FOLDERS)
def test_a_malformed_folder_is_one_line(malformed: str, tmp_path_factory, capsys) -> None:
    folder = FOLDERS[malformed].make(tmp_path_factory.mktemp("elsewhere"))
    refused(["train", "--dataset", str(folder)], "", capsys)


@pytest.mark.parametrize("port", ["x", "²", "65536", " "])
def test_a_variable_that_is_no_address_is_one_line(
    port: str, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "localhost")
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", port)
    refused(["tune"], "KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT: expected HOST:PORT", capsys)


@pytest.mark.parametrize("cores", ["x", "²", "-1", "0,", "99999"])
def test_cores_that_are_none_are_one_line(
    cores: str, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setenv("EPOCHAL_CORES", cores)
    monkeypatch.setenv("EPOCHAL_PARENT", "1")
    refused(["tune", "--worker", "localhost:1"], "EPOCHAL_CORES", capsys)


def test_a_name_that_is_too_long_is_told_to_be_shortened(capsys) -> None:
    assert main(["evaluate", "p" * 300]) == 2
    assert "give a shorter path" in capsys.readouterr().err


def test_a_link_to_nothing_is_not_drawn_over(capsys) -> None:
    Path("plan.png").symlink_to("nowhere")
    assert main(["lr-plan", "--plot", "plan.png"]) == 2
    assert "exists already" in capsys.readouterr().err
    assert Path("plan.png").is_symlink()


def test_an_error_that_native_code_makes_of_a_signal_is_no_bug(
    monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    def stopped(words: list[str], verbosity: int) -> int:
        raise RuntimeError("MISMATCH of active exceptions: REPLACED BY KeyboardInterrupt")

    monkeypatch.setattr("epochal.app.commands.models.run", stopped)
    monkeypatch.setattr(STOP, "exit_code", 143)
    assert main(["models"]) == 143
    assert capsys.readouterr().err == "stopped\n"


def test_flags_beat_the_file_which_beats_the_recipe() -> None:
    Path("given.yaml").write_text("epochs: 7\nseed: 5\n")
    config = configured(["--recipe", "mnist-lenet5", "--config", "given.yaml", "--seed", "6"])
    assert (config.dataset, config.epochs, config.seed) == ("mnist", 7, 6)


@pytest.mark.parametrize("flag", ["--batch-size", "--batch_size"])
def test_dashes_and_underscores(flag: str) -> None:
    assert configured([flag, "32"]).batch_size == 32


def test_a_name_may_look_like_a_number() -> None:
    given = ["--objective.class-weights", "{3: 2}", "--optim.rates", "{1.5: 2}"]
    config = configured(given)
    assert (config.objective.class_weights, config.optim.rates) == ({"3": 2.0}, {"1.5": 2.0})


def test_printed_configuration_reproduces_itself(capsys) -> None:
    assert (
        main(
            [
                "train",
                "--print-config",
                "--epochs",
                "3",
                "--augment.flip",
                "false",
                "--data-dir",
                "null",
            ]
        )
        == 0
    )
    text = capsys.readouterr().out
    Path("given.yaml").write_text(text)
    assert main(["train", "--print-config", "--config", "given.yaml"]) == 0
    assert capsys.readouterr().out == text
    augment = yaml.safe_load(text)["augment"]
    given = {name: augment[name] for name in ("pad_crop", "border", "flip", "scale_crop")}
    assert given == {"pad_crop": None, "border": "reflect", "flip": False, "scale_crop": None}


@pytest.mark.parametrize("flag", ["--augment", "--augment.policy"])
def test_a_policy_stands_for_settings_that_flags_override(flag: str, capsys) -> None:
    words = ["--recipe", "cifar10-resnet20", flag, "photos", "--augment.hue", "0.05"]
    config = configured(words)
    augment = config.augment
    # The recipe's crop gives way to the policy, whose hue gives way to the flag.
    assert (augment.pad_crop, augment.resized_crop, augment.hue) == (0, 0.25, 0.05)
    assert main(["train", "--print-config", *words]) == 0
    Path("given.yaml").write_text(capsys.readouterr().out)
    assert configured(["--config", "given.yaml"]) == config
    none = configured(["--config", "given.yaml", flag, "none"]).augment
    off = Augment(policy="none", pad_crop=0, flip=False, scale_crop=False)
    assert none == off


def test_a_policy_is_given_once(capsys) -> None:
    assert main(["train", "--augment", "photos", "--augment.policy", "none"]) == 2
    assert "--augment.policy is given twice" in capsys.readouterr().err


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_is_valid(recipe: str) -> None:
    assert configured(["--recipe", recipe]) != Config()


def test_there_are_recipes() -> None:
    assert "digits" in RECIPES


@pytest.mark.parametrize(
    ("words", "expected"),
    [(["--help"], "143 SIGTERM"), (["train", "--help"], "--optim.clip-norm")],
)
def test_help_imports_nothing_that_is_slow(words: list[str], expected: str) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-P", "-m", "epochal", *words],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "epochal.app.commands.main" in imported
    assert not imported & {"tensorflow", "keras", "numpy", "pydantic"}
    assert expected in done.stdout


def test_keras_is_imported_without_what_it_is_not_asked_for() -> None:
    program = (
        "import sys;"
        "from epochal.app.process.tensorflow_import import import_tensorflow;"
        "import_tensorflow(verbose=False);"
        "print([name for name in ('jax', 'matplotlib', 'sklearn') if name in sys.modules]);"
        "import matplotlib.pyplot, sklearn"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("begun", "expected"),
    [
        (
            ["s/config.yaml", "s/sweep.json", "s/winner/result.json"],
            "s is a sweep, not a run; give the run of its winner",
        ),
        (
            ["s/config.yaml", "s/sweep.json"],
            "s is a sweep without a winner yet; go on with it: epochal tune --resume s",
        ),
        (
            ["s/trial.json", "s/split-1/config.yaml"],
            "s is a trial, which has a run for each split; give one of them: s/s",
        ),
    ],
)
@pytest.mark.parametrize("words", [["evaluate", "s"], ["train", "--resume", "s"]])
def test_a_sweep_and_a_trial_are_no_runs(
    begun: list[str], expected: str, words: list[str], capsys
) -> None:
    for name in begun:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    assert main(words) == 2
    assert f"error: {expected}" in capsys.readouterr().err


def test_runs_never_share_a_folder() -> None:
    assert [runs.claim("x").folder.name for _ in range(3)] == ["x", "x-2", "x-3"]


@pytest.mark.parametrize("make", [lambda: runs.claim("x"), runs.check_writable])
def test_a_file_in_the_place_of_the_runs_is_told_to_be_moved(make: Any) -> None:
    Path("runs").touch()
    with pytest.raises(StorageError, match="move the file that stands where a folder should be"):
        make()


def test_a_run_in_use_is_refused(tmp_path: Path) -> None:
    run = runs.claim("x")
    run.write_config(Config())
    with run.locked():
        done = epochal(["train", "--resume", "runs/x"], tmp_path)
    assert done.returncode == 6
    assert "in use by process" in done.stderr


def test_a_run_that_goes_on_is_not_called_unfinished() -> None:
    run = runs.claim("x")
    run.write_config(Config())
    with run.locked(), pytest.raises(RunInUse, match="in use by process"):
        run.check_finished()
    with pytest.raises(UsageError, match="has not finished training; run: epochal train --resume"):
        run.check_finished()


def test_a_changed_configuration_is_refused_by_name() -> None:
    from epochal.app.training.run.resume import check_identity

    stored = {"config": {"epochs": 1, "seed": 0}, "data": "a"}
    with pytest.raises(UsageError, match="seed"):
        check_identity(stored, {"config": {"epochs": 1, "seed": 1}, "data": "a"}, Run(Path("x")))


def test_models_as_json(capsys) -> None:
    from epochal.models.complexity import describe

    row = describe("resnet20")
    assert json.loads(json.dumps(row.__dict__))["params"] == 269_722
