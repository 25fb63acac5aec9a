"""Formats and precisions that a run can be exported in, as options name them."""

import importlib.util

import pytest

from epochal.app.commands import export as command
from epochal.app.errors import UsageError
from epochal.app.export.variants import PRECISIONS, Variant, choose_variant, installed_variants


def test_a_precision_that_a_format_lacks_is_named() -> None:
    with pytest.raises(UsageError, match="int8: saved_model has own, float32, float16, bfloat16"):
        choose_variant(None, "int8")


def test_a_format_has_a_default_precision() -> None:
    assert choose_variant(None, None) == Variant(format="saved_model", precision="own")
    assert choose_variant(None, "float16") == Variant(format="saved_model", precision="float16")


@pytest.mark.parametrize("format", ["litert", "onnx"])
def test_a_missing_package_is_named(format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=rf"needs \w+: pip install -e '.\[{format}\]'"):
        choose_variant(format, None)
    assert {variant.format for variant in installed_variants()} == {"saved_model"}


def test_each_format_has_a_folder() -> None:
    roots = {format: str(Variant(format=format).root) for format in PRECISIONS}
    assert roots == {
        "saved_model": "saved_models",
        "litert": "litert_models",
        "onnx": "onnx_models",
    }


@pytest.mark.parametrize(
    ("format", "precision", "suffix"),
    [
        ("saved_model", "own", ""),
        ("saved_model", "float32", "-float32"),
        ("saved_model", "float16", "-float16"),
        ("litert", "float32", ""),
        ("litert", "int8", "-int8"),
        ("onnx", "float32", ""),
    ],
)
def test_each_precision_but_the_plain_one_has_a_name(
    format: str, precision: str, suffix: str
) -> None:
    assert Variant(format=format, precision=precision).suffix == suffix


@pytest.mark.parametrize(
    "choice", [["--name", "x"], ["--format", "onnx"], ["--precision", "float16"]]
)
def test_a_comparison_takes_no_choice(choice: list[str]) -> None:
    with pytest.raises(UsageError, match="--compare exports every variant"):
        command.run(["r", "--compare", *choice], 0)
