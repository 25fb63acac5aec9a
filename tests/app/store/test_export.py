"""The folder of an exported model: its versions, its card, and what is served."""

from pathlib import Path

import pytest

from epochal.app.errors import StorageError
from epochal.app.store.export import Export, next_export, served_versions, write_description
from epochal.app.store.model_card import ModelCard
from tests.support.records import make_model_card

CARD = make_model_card()


def make_version(folder: Path, name: str, *, complete: bool = True) -> None:
    (folder / name).mkdir(parents=True)
    if complete:
        (folder / name / "saved_model.pb").touch()


def test_only_numbered_and_complete_versions_are_served(tmp_path: Path) -> None:
    for name in ("1", "0001", "12", "03", "notes", "-4", "٥", str(2**63), "9" * 200):
        make_version(tmp_path, name)
    make_version(tmp_path, "13", complete=False)
    expected = {1: tmp_path / "1", 3: tmp_path / "03", 12: tmp_path / "12"}
    assert served_versions(tmp_path) == expected
    assert served_versions(tmp_path / "gone") == {}


def test_the_next_version_is_above_every_number(tmp_path: Path) -> None:
    assert next_export(tmp_path, "onnx").folder == tmp_path / "1"
    make_version(tmp_path, "3")
    make_version(tmp_path, "0011", complete=False)
    make_version(tmp_path, str(2**63))
    assert next_export(tmp_path, "onnx").folder == tmp_path / "12"


def test_leftovers_of_a_killed_export_are_removed(tmp_path: Path) -> None:
    make_version(tmp_path, ".tmp-abc")
    next_export(tmp_path, "saved_model")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("format", "model"),
    [("saved_model", "."), ("litert", "model.tflite"), ("onnx", "model.onnx")],
)
def test_labels_and_card_come_back(tmp_path: Path, format: str, model: str) -> None:
    export = Export(tmp_path, format)
    assert export.model == tmp_path / model
    export.card_file.parent.mkdir(exist_ok=True)
    paths = write_description(export.card_file.parent, ("a", "b c"), CARD)
    assert paths == [export.labels_file, export.card_file]
    assert export.labels() == ("a", "b c")
    assert export.read_card() == CARD
    export.write_card(ModelCard.from_dict({**CARD.to_dict(), "exported": {"images": 5}}))
    assert export.read_card().exported == {"images": 5}
    assert export.card_values()["exported"] == {"images": 5}


def test_a_card_of_before_schemas_can_be_read() -> None:
    values = CARD.to_dict()
    del values["schema"]
    assert ModelCard.from_dict(values) == CARD


def test_a_foreign_model_needs_neither_labels_nor_card(tmp_path: Path) -> None:
    export = Export(tmp_path)
    assert export.labels() == ()
    assert export.card_values() == {}
    assert not export.is_published


@pytest.mark.parametrize("text", [None, "no JSON", "{}", "[]"])
def test_a_missing_or_damaged_card_is_named(tmp_path: Path, text: str | None) -> None:
    export = Export(tmp_path, "onnx")
    if text is not None:
        export.card_file.write_text(text)
    with pytest.raises(StorageError, match=r"card\.json is missing or damaged"):
        export.read_card()
