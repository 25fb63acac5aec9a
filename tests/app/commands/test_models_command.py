"""`epochal models` as a user meets it: tables, JSON, pictures, and one line for every mistake."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from epochal.app.commands.main import main
from epochal.app.evaluation.cost_plots import MAX_PARTS, costs_png, group_layers, pareto_png
from epochal.app.evaluation.pareto import ComparedRun
from epochal.app.units import count, size
from epochal.models import ZOO
from epochal.models.complexity import model_cost, skeleton
from tests.support.paths import ROOT

MISTAKES = {
    "unknown model": (["resnet21"], "the nearest are 20 and 26"),
    "too small": (["vgg16", "--image-size", "8"], "at least 32x32 pixels, got 8x8"),
    "no number": (["resnet20", "--image-size", "big"], "invalid int value: 'big'"),
    "one class": (["resnet20", "--classes", "1"], "at least 2, got 1"),
    "no channel": (["resnet20", "--channels", "0"], "got (32, 32, 0)"),
    "empty batch": (["resnet20", "--batch-size", "0"], "--batch-size must be at least 1, got 0"),
    "unknown norm": (["resnet20", "--norm", "group"], "got 'group'"),
    "no options": (["vgg16", "--norm", "batch"], "vgg16 has only dropout"),
    "unknown precision": (["resnet20", "--precision", "float17"], "mixed_bfloat16"),
    "option without a model": (["--image-size", "64"], "--image-size needs a model's NAME"),
    "two at once": (["resnet20", "--cheaper", "3,8,8,8"], "exclude each other"),
    "three numbers": (["--cheaper", "3,64,64"], "expected four numbers"),
    "kernel of zero": (["--cheaper", "0,64,64,32"], "each at least 1"),
    "no run": (["--pareto", "nothing"], "nothing: no run there"),
    "nothing to draw": (["--plot", "zoo.png"], "needs a model's NAME or --pareto"),
    "another format": (["lenet5", "--plot", "costs.pdf"], "ends in .png"),
    "no folder": (["lenet5", "--plot", "pictures/costs.png"], "there is no folder pictures"),
    "stray word": (["resnet20", "resnet32"], "unrecognized arguments: resnet32"),
}


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of a PNG file, in pixels."""
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return picture.size


def printed(capsys, *words: str) -> str:
    assert main(["models", *words]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(mistake: str, capsys) -> None:
    words, expected = MISTAKES[mistake]
    assert main(["models", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-1].startswith("error: ")
    assert expected in captured.err.splitlines()[-1]
    assert not list(Path.cwd().iterdir())


def test_the_zoo_is_listed_without_tensorflow() -> None:
    command = [sys.executable, "-X", "importtime", "-P", "-m", "epochal", "models"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert "tensorflow" not in done.stderr
    assert "keras" not in done.stderr
    head, *rows = [line.split() for line in done.stdout.splitlines()]
    assert head == ["name", "parameters", "multiply-adds", "input", "classes"]
    assert [row[0] for row in rows] == list(ZOO)
    assert ["resnet20", "269,722", "40,551,040", "32x32x3", "10"] in rows


def test_the_zoo_as_json(capsys) -> None:
    rows = {row["name"]: row for row in json.loads(printed(capsys, "--json"))}
    assert rows["vgg16"]["params"] == 138_357_544
    assert rows["vgg16"]["input_shape"] == [224, 224, 3]


def test_a_model_as_json(capsys) -> None:
    options = [
        "--image-size",
        "32",
        "--channels",
        "3",
        "--classes",
        "7",
        "--batch-size",
        "5",
        "--json",
    ]
    values = json.loads(printed(capsys, "softmax", *options))
    layers = values.pop("layers")
    weights = 4 * (3072 * 7 + 7)
    assert values == {
        "name": "softmax",
        "input_shape": [32, 32, 3],
        "batch_size": 5,
        "params": 3072 * 7 + 7,
        "multiply_adds": 3072 * 7,
        "flops": 2 * 3072 * 7,
        "kept_bytes": 5 * 4 * 3072,
        "live_bytes": 5 * (3072 + 4 * 3072),  # bytes of the image, and floats
        "moved_bytes": 5 * (3072 + 4 * 3072) + 5 * 4 * (3072 + 7) + weights,
        "weight_bytes": weights,
    }
    assert [layer["name"] for layer in layers] == ["image", "standardize", "flatten", "logits"]


def test_a_model_as_a_table(capsys) -> None:
    lines = printed(capsys, "lenet5", "--activation", "relu").splitlines()
    cells = {line.split()[0]: line.split()[1:] for line in lines if line}
    assert cells["c1_conv"][:5] == [
        "Convolution",
        "28x28x6",
        "156",
        "118",
        "k",
    ]  # 28 * 28 * 25 * 6 = 117,600
    assert cells["c1_relu"][0] == "ReLU"
    assert cells["parameters"][0] == "61,706"
    assert cells["multiply-adds"][0] == "416,520"
    assert "833 k FLOPs" in lines[-4]
    assert all(len(line) <= 120 for line in lines)


def test_the_menu_of_cheaper_blocks(capsys) -> None:
    lines = printed(capsys, "--cheaper", "5,64,64,32").splitlines()
    assert lines[1].split() == ["full", "5x5", "102,400", "104,857,600", "1.000"]
    assert lines[2].split() == ["2", "times", "3x3", "73,728", "75,497,472", "0.720"]
    values = json.loads(printed(capsys, "--cheaper", "5,64,64,32", "--json"))
    assert values[1] == {"name": "2 times 3x3", "params": 73_728, "multiply_adds": 75_497_472}


def test_a_plot_is_written_once(capsys) -> None:
    printed(capsys, "lenet5", "--plot", "costs.png")
    before = Path("costs.png").read_bytes()
    assert size_of(Path("costs.png")) > (1000, 400)
    assert main(["models", "lenet5", "--plot", "costs.png"]) == 2
    assert "not overwritten" in capsys.readouterr().err
    assert (Path("costs.png").read_bytes() == before) is True


@pytest.mark.parametrize("name", ["lenet5", "vgg16", "resnet20", "densenet_bc_40_12", "mobilenet"])
def test_parts_are_few_and_add_up(name: str, tmp_path: Path) -> None:
    cost = model_cost(skeleton(name))
    parts = group_layers(cost.layers)
    assert len(parts) <= MAX_PARTS
    assert sum(part.multiply_adds for part in parts) == cost.multiply_adds
    assert sum(part.params for part in parts) == cost.params
    assert 0.97 * cost.kept_bytes < sum(part.kept_bytes for part in parts) <= cost.kept_bytes
    costs_png(tmp_path / "costs.png", cost)
    assert size_of(tmp_path / "costs.png") > (1000, 400)


def test_parts_are_named_after_their_layers() -> None:
    lenet, resnet = (
        [part.name for part in group_layers(model_cost(skeleton(name)).layers)]
        for name in ("lenet5", "resnet20")
    )
    assert lenet == ["canvas", "c1", "s2", "c3", "s4", "c5", "f6", "logits"]
    blocks = [f"stage{stage}_block{block}" for stage in (1, 2, 3) for block in (1, 2, 3)]
    assert resnet == ["stem", *blocks, "logits"]


def test_layers_without_a_name_of_their_own_belong_to_the_next_one() -> None:
    names = [part.name for part in group_layers(model_cost(skeleton("inception_v3")).layers)]
    assert names[:3] == ["mixed0", "mixed1", "mixed2"]
    assert not any("conv2d" in name or "normalization" in name for name in names)


@pytest.mark.parametrize("runs", [1, 2, 9])
def test_runs_are_drawn(runs: int, tmp_path: Path) -> None:
    figures = {
        "params": 1,
        "test_accuracy_low": 0.1,
        "test_accuracy_high": 0.9,
        "image_size": 8,
        "model": "softmax",
    }
    runs = [
        ComparedRun(
            run=f"runs/$a${i}",
            dataset=data,
            cheaper_by="operations" if i % 2 else "architecture",
            multiply_adds=10**i,
            test_accuracy=0.5,
            front=i == 1,
            **figures,
        )
        for data in ("digits", "mnist")
        for i in range(1, runs + 1)
    ]
    pareto_png(tmp_path / "runs.png", runs)
    width, height = size_of(tmp_path / "runs.png")
    assert height > width  # a panel a data set


@pytest.mark.parametrize(
    ("number", "text"),
    [
        *(
            (0, "-"),
            (7, "7"),
            (999, "999"),
            (1000, "1.00 k"),
            (9994, "9.99 k"),
            (9996, "10.0 k"),
            (99_960, "100 k"),
        ),
        *(
            (999_499, "999 k"),
            (999_500, "1.00 M"),
            (40_551_040, "40.6 M"),
            (138_357_544, "138 M"),
            (15.47e9, "15.5 G"),
        ),
    ],
)
def test_counts_have_three_digits(number: float, text: str) -> None:
    assert count(number) == text


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [
        (0, "-"),
        (512, "512 B"),
        (1023, "1.00 KiB"),
        (1024, "1.00 KiB"),
        (1_684_992, "1.61 MiB"),
        (3 * 2**30, "3.00 GiB"),
    ],
)
def test_sizes_have_three_digits(num_bytes: float, text: str) -> None:
    assert size(num_bytes) == text
