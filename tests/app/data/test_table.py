"""Tables of paths and labels: CSV and JSON Lines as people and their programs write them."""

import csv
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from epochal.app.config import Config, Data
from epochal.app.data.availability import check_data, is_flippable, source_of
from epochal.app.data.load import load
from epochal.app.data.sources import folder, table
from epochal.app.data.sources.image_list import inspect_listing
from epochal.app.errors import UsageError
from tests.support.corpus import image_folder


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Five cats and five dogs; the tables of the tests lie beside their folders."""
    return image_folder(tmp_path, {"cat": 5, "dog": 5})


def rows_of(root: Path) -> list[tuple[str, str]]:
    paths = sorted(root.glob("*/*.png"))
    return [(os.fspath(path.relative_to(root)), path.parent.name) for path in paths]


def write_csv(file: Path, rows: list, header: str = "path,label") -> Path:
    with open(file, "w", newline="") as stream:
        stream.write(f"{header}\r\n")
        csv.writer(stream).writerows(rows)
    return file


def write_json(file: Path, rows: list, names: tuple[str, ...] = ("path", "label")) -> Path:
    lines = [json.dumps(dict(zip(names, row, strict=True))) for row in rows]
    file.write_text("\n".join(lines))
    return file


def layout_of(file: Path, **data: str) -> dict[str, dict[str, list[str]]]:
    return table.list_images(Config(dataset=str(file), data=Data(**data))).layout


@pytest.mark.parametrize("cache_gib", [pytest.param(0.0, marks=pytest.mark.slow), 1.0])
@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_table_of_a_folder_is_the_folder(pets: Path, ending: str, cache_gib: float) -> None:
    write = write_csv if ending == "csv" else write_json
    file = write(pets / f"labels.{ending}", rows_of(pets))
    data = Data(cache_gib=cache_gib)
    expected = load(Config(dataset=str(pets), data=data))
    actual = load(Config(dataset=str(file), data=data))
    assert actual.fingerprint() == expected.fingerprint()
    assert actual.digests == expected.digests
    np.testing.assert_array_equal(actual.test.read(), expected.test.read())


@pytest.mark.parametrize(
    "header", ["file,class", "Filename,LABEL", "image, label ", "x,path,label"]
)
def test_columns_are_known_by_name(pets: Path, header: str) -> None:
    rows = rows_of(pets)
    if header.startswith("x"):
        rows = [("ignored, but there", *row) for row in rows]
    layout = layout_of(write_csv(pets / "t.csv", rows, header))
    assert {name: len(paths) for name, paths in layout["all"].items()} == {"cat": 5, "dog": 5}


def test_marks_quotes_line_ends_and_empty_lines(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    text = '\ufeffpath,label\r\n\r\n"a, b.png","tench, Tinca tinca"\r\n,\n"c ""d"".png", cod \n\n'
    file.write_bytes(text.encode())
    assert layout_of(file)["all"] == {
        "tench, Tinca tinca": [str(tmp_path / "a, b.png")],
        "cod": [str(tmp_path / 'c "d".png')],
    }


def test_labels_stay_text(tmp_path: Path) -> None:
    labels = ["01", "1", "no", "1e3", "null", "nan", "True", "0x10"]
    rows = [(f"{number}.png", label) for number, label in enumerate(labels)]
    expected = [os.path.join(tmp_path, row[0]) for row in rows]
    for file in (write_csv(tmp_path / "t.csv", rows), write_json(tmp_path / "t.jsonl", rows)):
        listing = table.list_images(Config(dataset=str(file)))
        assert listing.classes == tuple(sorted(labels))
        assert [paths for [paths] in listing.layout["all"].values()] == expected


def test_whole_numbers_of_json_are_text_too(tmp_path: Path) -> None:
    file = write_json(tmp_path / "t.jsonl", [("a.png", 1), ("b.png", "1"), ("c.png", 10)])
    assert list(layout_of(file)["all"]) == ["1", "10"]


def test_splits_have_the_names_that_folders_have(pets: Path) -> None:
    words = ["train", "TRAIN", "val", "Valid", "test"]
    rows = [(*row, words[number % 5]) for number, row in enumerate(rows_of(pets))]
    file = write_csv(pets / "t.csv", rows, "path,label,split")
    dataset = load(Config(dataset=str(file)))
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [4, 4, 2]


def test_paths_may_leave_the_folder(pets: Path) -> None:
    (pets / "tables").mkdir()
    rows = [(f"../{path}", label) for path, label in rows_of(pets)]
    rows[0] = (str(pets / rows_of(pets)[0][0]), "cat")
    file = write_csv(pets / "tables/t.csv", rows)
    assert len(load(Config(dataset=str(file))).digests) == 10


def test_a_row_twice_counts_once(pets: Path) -> None:
    rows = rows_of(pets)
    file = write_csv(pets / "t.csv", [*rows, ("./" + rows[0][0], rows[0][1])])
    assert len(layout_of(file)["all"]["cat"]) == 5


FAULTS = {
    "no header": ("cat/0000.png,cat\n", "line 1: expected one of the names path"),
    "semicolons": ("path;label\na;b\n", r"line 1: expected one of the names path.*commas"),
    "two labels": ("path,label,class\na,b,c\n", "names label, class, got 2 of them"),
    "no rows": ("path,label\n", "lists no images"),
    "nothing": ("", "lists no images"),
    "short row": ("path,label\na\n", "line 2: expected 2 cells as in the header, got 1"),
    "long row": ("path,label\na,b,c\n", "line 2: expected 2 cells as in the header, got 3"),
    "open quote": ('path,label\n"a,b\n', "unexpected end of data"),
    "no path": ("path,label\n,cat\n", "line 2: expected the path of an image"),
    "no label": ("path,label\na.png,\n", "line 2: expected a label, got nothing"),
    "address": ("path,label\ngs://a/b.png,cat\n", "'gs://a/b.png' is no file; nothing is fetched"),
    "several": ("path,label\na.png,cat;dog\n", "label cat;dog names several classes"),
    "several with bars": ("path,label\na.png,cat|dog\n", "names several classes"),
    "list": ("path,label\na.png,\"['cat', 'dog']\"\n", "names several classes"),
    "different labels": (
        "path,label\na.png,cat\nb.png,cat\n./a.png,dog\n",
        "'./a.png' has different labels in lines 2 and 4",
    ),
    "different splits": (
        "path,label,split\na.png,cat,train\na.png,cat,test\n",
        "'a.png' has different splits in lines 2 and 3",
    ),
    "unknown split": ("path,label,split\na,b,dev\n", "expected train, val or test .* got 'dev'"),
    "no training": ("path,label,split\na,b,test\n", "has 'test' but no 'train' split"),
    "one class": ("path,label\na.png,cat\nb.png,cat\n", "has 1 class"),
    "alike": ("path,label\na.png,cat\nb.png,Cat\n", "the same name but for case"),
    "hidden": ("path,label\na.png,cat\nb.png,c\x1bt\n", r"class 'c\\x1bt' has control"),
    "latin": (b"path,label\na.png,\xe9\n", "no text in UTF-8"),
    "binary": (bytes(range(256)), "no text in UTF-8"),
    "null byte": ("path,label\na\0b,cat\n", "expected the path of an image|NUL"),
}
JSON_FAULTS = {
    "no json": ("path,label\n", "line 1: no JSON"),
    "no object": ('["a.png", "cat"]\n', "line 1: expected an object"),
    "no label": ('{"path": "a.png"}\n', "line 1: expected one of the names label"),
    "list": ('{"path": "a.png", "label": ["cat", "dog"]}\n', "names several classes"),
    "object": ('{"path": "a.png", "label": {"cat": 1}}\n', "names several classes"),
    "fraction": ('{"path": "a.png", "label": 1e3}\n', "expected a label, got 1000.0"),
    "truth": ('{"path": "a.png", "label": true}\n', "expected a label, got True"),
    "null": ('{"path": "a.png", "label": null}\n', "expected a label, got None"),
    "no text": ('{"path": 3, "label": "a"}\n', "expected the path of an image, got 3"),
    "deep": ("[" * 100_000 + "\n", "line 1: no JSON"),
    "digits": ('{"path": "a", "label": ' + "9" * 5_000 + "}\n", "line 1: no JSON"),
    "half a split": (
        '{"path": "a", "label": "b"}\n{"path": "c", "label": "b", "split": "test"}\n',
        "line 2: give a split in every line or none",
    ),
}


@pytest.mark.parametrize(
    ("ending", "content", "message"),
    [("csv", *fault) for fault in FAULTS.values()]
    + [("jsonl", *fault) for fault in JSON_FAULTS.values()],
    ids=[*FAULTS, *(f"json: {name}" for name in JSON_FAULTS)],
)
def test_a_fault_is_one_helpful_line(
    tmp_path: Path, ending: str, content: str | bytes, message: str
) -> None:
    file = tmp_path / f"labels.{ending}"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError) as caught:
        layout_of(file)
    text = str(caught.value)
    assert re.search(message, text)
    assert text.isprintable()
    assert "; " in text or ": give" in text  # what and where; how to fix it


def test_labels_outside_the_class_list(pets: Path) -> None:
    names = pets / "names.txt"
    names.write_text("dog\ncow\n")
    file = write_csv(pets / "t.csv", rows_of(pets))
    with pytest.raises(UsageError, match=r"label 'cat' .* outside the class list, .*'dog', 'cow'"):
        layout_of(file, classes=str(names))
    names.write_text("dog\r\ncat\r\n")
    config = Config(dataset=str(file), data=Data(classes=str(names)))
    assert table.list_images(config).classes == ("dog", "cat")
    names.write_text("dog\ncat\nother\n")
    with pytest.raises(UsageError, match="class 'other' of the class list has no image to train"):
        layout_of(file, classes=str(names))
    names.write_text("dog\ncat\ndog\n")
    with pytest.raises(UsageError, match="class 'dog' is in lines 1 and 3"):
        layout_of(file, classes=str(names))


def test_missing_files_are_named_in_the_table_or_left_out(pets: Path) -> None:
    file = write_csv(pets / "t.csv", [*rows_of(pets), ("gone.png", "cat"), ("dog", "dog")])
    listing = table.list_images(Config(dataset=str(file)))
    with pytest.raises(folder.BadFiles) as caught:
        inspect_listing(listing, skip_bad=False, must_train=True)
    assert [(Path(bad.path).name, bad.reason) for bad in caught.value.bad] == [
        ("gone.png", "cannot be read: No such file or directory"),
        ("dog", "not a regular file"),
    ]
    dataset = load(Config(dataset=str(file), data=Data(skip_bad=True)))
    assert len(dataset.skipped) == 2


def test_a_table_that_changes_while_its_images_are_read(pets: Path) -> None:
    file = write_csv(pets / "t.csv", rows_of(pets))
    config = Config(dataset=str(file))
    scan = inspect_listing(table.list_images(config), skip_bad=False, must_train=True)
    write_csv(file, rows_of(pets)[:-1])
    with pytest.raises(UsageError, match=r"changed while it was read: '.*t.csv' is another file"):
        table.raw_dataset(scan, config)


def test_a_table_is_known_by_its_ending(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_csv(pets / "t.csv", rows_of(pets))
    monkeypatch.chdir(pets)
    for name in ("t.csv", "./t.csv", str(pets / "t.csv"), "gone.csv", "gone.jsonl"):
        assert source_of(name) == "table"
    assert check_data(Config(dataset="t.csv")).dataset == str(pets / "t.csv")
    with pytest.raises(UsageError, match=r"gone\.csv is missing; give a table"):
        check_data(Config(dataset="gone.csv"))
    with pytest.raises(UsageError, match=r"data.classes: no\.txt is no file"):
        check_data(Config(dataset="t.csv", data=Data(classes="no.txt")))
    (pets / "mnist").mkdir()
    write_csv(pets / "mnist/t.csv", rows_of(pets))
    assert is_flippable("t.csv")
    assert not is_flippable("mnist/t.csv")
