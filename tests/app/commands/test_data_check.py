"""`epochal data check`: its words, its files and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from epochal.app.commands.main import main
from tests.support.page import Page
from tests.support.planted_copies import make_copy, make_photo
from tests.support.program import epochal


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    root = tmp_path / "<b>photos"
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for number in range(8):
            photo = make_photo(random, 40)
            Image.fromarray(photo).save(root / f"{name}/{number}.png")
        (root / f"{name}/copy.jpg").write_bytes(make_copy(photo, random))
        (root / f"{name}/bad.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    return root


def test_words_json_and_a_page(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = photos.parent / "audit.html"
    target = photos.parent / "audit.json"
    assert main(["data", "check", str(photos), "--html", str(page), "--json", str(target)]) == 0
    shown = capsys.readouterr()
    assert "bad.jpg" in shown.out
    assert "near duplicates" in shown.out
    told = json.loads(target.read_text())
    assert len(told["near_duplicates"]) == 2
    assert len(told["bad"]) == 2
    html = page.read_text()
    read = Page(html)
    read.assert_nothing_is_cut()
    assert read.tags.count("img") == 4
    assert "script" not in read.tags
    assert "<b>photos" not in html


def test_json_alone_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", "digits", "--json", "-"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["images"] == 1797
    assert told["near_duplicates"] == []


@pytest.mark.parametrize(
    "words",
    [
        ["digits", "--json", "{here}/there.json"],
        ["digits", "--html", "{here}/no/page.html"],
        ["digits", "--dataset", "mnist"],
        ["digits", "--run", "{here}/nothing"],
        ["{here}/nothing"],
        [],
    ],
)
def test_refused_before_any_work(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "there.json").write_text("mine")
    given = [word.replace("{here}", str(tmp_path)) for word in words]
    assert main(["data", "check", *given]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines()[-1].startswith("error: ")
    assert (tmp_path / "there.json").read_text() == "mine"


@pytest.mark.slow
def test_suspects_of_a_run(tmp_path: Path) -> None:
    words = ["train", "--model", "mlp", "--epochs", 2, "--name"]
    assert epochal([*words, "r", "--data.image-record", "true"], tmp_path).returncode == 0
    assert epochal([*words, "plain"], tmp_path).returncode == 0
    done = epochal(["data", "check", "digits", "--run", "r", "--json", "-"], tmp_path)
    assert done.returncode == 0, done.stderr
    suspects = json.loads(done.stdout)["suspects"]
    scores = [suspect["suspicion"] for suspect in suspects]
    assert scores == sorted(scores, reverse=True)
    assert all(suspect["margin"] < 0 and suspect["split"] == "train" for suspect in suspects)
    for refused in (["--run", "plain"], ["--run", "r", "--seed", 1]):
        done = epochal(["data", "check", "digits", *refused], tmp_path)
        assert done.returncode == 2
        assert done.stdout == ""
