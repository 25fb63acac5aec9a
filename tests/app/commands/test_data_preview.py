"""`epochal data preview`: a sheet that is new, whole or absent, and the draws on stdout."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from epochal.app.commands.main import main


def test_a_sheet_with_its_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sheet = tmp_path / "sheet.png"
    words = ["data", "preview", "digits", "--images", "5", "--out", str(sheet)]
    assert main([*words, "--augment", "photos-strong", "--augment.saturation", "0"]) == 2
    assert not sheet.exists()
    capsys.readouterr()
    assert main([*words, "--augment.rotate", "5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert sum("turned" in line for line in lines) >= 4
    with Image.open(sheet) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels.shape[0] > 200
    assert len(np.unique(pixels)) > 50
    before = sheet.read_bytes()
    assert main(words) == 2
    assert "not overwritten" in capsys.readouterr().err
    assert sheet.read_bytes() == before
    assert list(tmp_path.iterdir()) == [sheet]


@pytest.mark.parametrize(
    "words",
    [
        ["digits", "--dataset", "mnist"],
        ["digits", "--out", "sheet.jpg"],
        ["digits", "--out", "missing/sheet.png"],
        ["digits", "--images", "0"],
        ["digits", "--images", "257"],
        ["./nowhere"],
        ["digits", "--resume"],
    ],
)
def test_mistakes_are_told_in_one_line(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["data", "preview", *words]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
