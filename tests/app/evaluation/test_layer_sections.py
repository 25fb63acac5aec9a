"""Sections of the report: sentences about planted lines, and pictures with sixty layers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from epochal.app.evaluation.report import report_html
from epochal.app.evaluation.sections import sections_of
from epochal.app.evaluation.sections.layers import figures_of, lines_of, listed
from epochal.app.store.run import Run
from tests.app.evaluation.test_report import report
from tests.support.page import Page


def flow(layer: str, flag: str | None = None, **figures: float | None) -> dict[str, Any]:
    return {
        "layer": layer,
        "gradient": 0.5,
        "rms": 0.1,
        "weight": 2.0,
        "ratio": 0.25,
        "update": 1e-3,
        "flag": flag,
    } | {**figures}


def seen(layer: str, **figures: Any) -> dict[str, Any]:
    return {
        "layer": layer,
        "mean": 0.1,
        "spread": 1.0,
        "saturated": 0.4,
        "units": None,
        "dead": None,
    } | figures


def write(path: Path, lines: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def flows(
    folder: Path, *epochs: list[dict[str, Any]], clips: tuple[float | None, ...] = ()
) -> None:
    values = [*clips, *[None] * (len(epochs) - len(clips))]
    lines = [
        {"iteration": 9 * i, "epoch": i, "clip": values[i], "layers": rows}
        for i, rows in enumerate(epochs)
    ]
    write(folder / "gradient_flow.jsonl", lines)


def activations(folder: Path, rows: list[dict[str, Any]]) -> None:
    batch = {"iteration": 9, "epoch": 1, "data": "batch", "images": 4, "layers": rows}
    write(folder / "activations.jsonl", [batch, {**batch, "data": "validation", "images": 1200}])


def test_a_run_without_records_has_no_sections(tmp_path: Path) -> None:
    assert sections_of(Run(tmp_path)) == []


def test_ill_layers_are_named_with_how_often(tmp_path: Path) -> None:
    ill = [
        flow("low", "vanishing"),
        flow("middle"),
        flow("top", "exploding", gradient=None, rms=None),
    ]
    flows(tmp_path, [flow("low", "vanishing"), flow("middle"), flow("top")], ill, clips=(None, 2.0))
    (section,) = sections_of(Run(tmp_path))
    assert "vanishing in low (2 of 2 times)" in section.text
    assert "exploding in top (1 of 2 times)" in section.text
    assert "--optim.clip-norm 2:" in section.text
    assert section.table[1] == ("low", "5.00e-01", "2.00e+00", "2.50e-01", "1.00e-03", "vanishing")
    assert section.table[3][1] == "–"
    assert len(section.figures) == 2


def test_a_well_network_is_said_to_be_well(tmp_path: Path) -> None:
    flows(tmp_path, [flow("a", update=None)], [flow("a")], [flow("a")], clips=(None, 1.0, 5.0))
    (section,) = sections_of(Run(tmp_path))
    assert section.text.startswith(
        "No layer's gradient vanished or exploded; it was measured 3 times."
    )
    assert "clip-norm 3:" in section.text


def test_dead_units_are_those_of_the_whole_validation_set(tmp_path: Path) -> None:
    activations(tmp_path, [seen("relu", units=8, dead=[1, 5]), seen("other", units=8, dead=[])])
    (section,) = sections_of(Run(tmp_path))
    assert (
        "2 of 16 ReLU units are dead, 0 at every position of all 1,200 validation images:"
        " relu (2 of 8)" in section.text
    )
    assert section.table[1][-1] == "2 of 8"
    activations(tmp_path, [seen("relu", units=8, dead=[])])
    assert "No ReLU is dead" in sections_of(Run(tmp_path))[0].text


def test_a_batch_does_not_tell_that_a_unit_is_dead(tmp_path: Path) -> None:
    rows = [seen("relu", units=8, dead=[1])]
    write(
        tmp_path / "activations.jsonl",
        [{"epoch": 1, "data": "batch", "images": 64, "layers": rows}],
    )
    assert (
        "1 of 8 ReLU units are silent, 0 at every position of all 64 training"
        in sections_of(Run(tmp_path))[0].text
    )


@pytest.mark.parametrize(
    ("share", "said"),
    [(0.9, "Saturated, with slopes below 0.01: tanh (90%)"), (0.2, "At most 20%")],
)
def test_saturated_layers_are_named(share: float, said: str, tmp_path: Path) -> None:
    activations(tmp_path, [seen("tanh", saturated=share), seen("softmax", saturated=None)])
    assert said in sections_of(Run(tmp_path))[0].text


def test_nothing_that_can_die(tmp_path: Path) -> None:
    activations(tmp_path, [seen("softmax", saturated=None)])
    assert "No non-linearity" in sections_of(Run(tmp_path))[0].text


def test_sixty_layers_are_all_named_and_escaped(tmp_path: Path) -> None:
    names = [f"stage<{i}>_conv" for i in range(60)]
    flows(tmp_path, *[[flow(name, rms=10.0**-epoch) for name in names] for epoch in range(30)])
    page = Page(report_html(report(sections=sections_of(Run(tmp_path)))))
    assert all(page.text.count(name) == 3 for name in names)  # two pictures and the table
    assert "0.001" in page.text


def test_a_figure_by_layer_and_epoch(tmp_path: Path) -> None:
    flows(tmp_path, [flow("a", rms=1.0)], [flow("a", rms=None), flow("b", rms=2.0)])
    lines = lines_of(tmp_path / "gradient_flow.jsonl")
    np.testing.assert_array_equal(figures_of(lines, "rms"), [[1.0, np.nan], [np.nan, 2.0]])


def test_a_torn_line_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"a": 1}\n{"a": ')
    assert lines_of(tmp_path / "x.jsonl") == [{"a": 1}]


def test_a_sentence_has_room_for_some_names() -> None:
    assert listed(list("abcdefgh")) == "a, b, c, d, e, f and 2 more"
