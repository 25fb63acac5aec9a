"""The report's sections from files of a run that are made by hand, and none without files."""

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from epochal.app.evaluation.figures import VARIABLES
from epochal.app.evaluation.sections import Section, sections_of
from epochal.app.evaluation.sections.augmented import augmented
from epochal.app.evaluation.sections.histograms import histograms, spread
from epochal.app.evaluation.sections.losses import losses
from epochal.app.evaluation.sections.schedule import schedule
from epochal.app.evaluation.sections.timing import timing
from epochal.app.store.run import Run
from epochal.callbacks.parts.event_file import EventFile, histogram


def written(folder: Path, name: str, value: Any) -> Run:
    (folder / name).write_text(json.dumps(value))
    return Run(folder)


def logged(folder: Path, rates: list[float]) -> Run:
    lines = [
        {"iteration": 10 * i + 10, "learning_rate": rate, "loss": 1.0}
        for i, rate in enumerate(rates)
    ]
    (folder / "iterations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return Run(folder)


def texts(section: Section | None) -> list[str]:
    """Return all words of a section's figures, after a strict parser has accepted them.

    Their colours are variables of the page.
    """
    assert section is not None
    words: list[str] = []
    for figure in section.figures:
        assert not re.search(rf"(?:fill|stroke): ({'|'.join(VARIABLES)})\b", figure)
        # str: a Markup would escape what is put into it
        root = ElementTree.fromstring(str(figure).replace("<svg", '<svg xmlns:xlink="x"', 1))
        words += [element.text or "" for element in root.iter("text")]
    return words


def test_a_run_without_records_has_no_sections(tmp_path: Path) -> None:
    assert sections_of(Run(tmp_path)) == []


PARTS = {
    "iteration": {"times": 9, "median": 0.4, "p95": 0.5, "total": 4.0},
    "input": {"times": 9, "median": 0.31, "p95": 0.4, "total": 3.0},
    "step": {"times": 9, "median": 0.08, "p95": 0.1, "total": 0.8},
    "callbacks": {"times": 9, "median": 0.0002, "p95": 0.03, "total": 0.2},
    "evaluation": {"times": 1, "median": 16.0, "p95": 16.0, "total": 16.0},
}


def test_timing_names_what_bounds_the_run_and_shares_add_up(tmp_path: Path) -> None:
    section = timing(written(tmp_path, "timing.json", {"bound": "data-bound", "parts": PARTS}))
    assert section is not None
    assert (
        "An iteration took 400 ms (median; 95th percentile 500 ms) and was data-bound"
        in section.text
    )
    assert "(waiting for input 75%, step 20%, callbacks 5%)" in section.text
    assert "evaluation took the most: 80%" in section.text
    heads, *rows = section.table
    assert heads == ("Part", "times", "median", "95th percentile", "total", "share")
    assert rows[0] == ("Waiting for input", "9", "310 ms", "400 ms", "3 s", "15.0 %")
    assert rows[2] == ("Callbacks of a step", "9", "0.2 ms", "30 ms", "200 ms", "1.0 %")
    assert sum(float(row[-1].split()[0]) for row in rows) == pytest.approx(100)


def test_timing_of_a_single_step(tmp_path: Path) -> None:
    parts = {"first_step": {"times": 1, "median": 2000.0, "p95": 2000.0, "total": 2000.0}}
    section = timing(written(tmp_path, "timing.json", {"bound": None, "parts": parts}))
    assert section is not None
    assert "too few steps" in section.text
    assert section.table[1] == (
        "Steps that were traced",
        "1",
        "2,000 s",
        "2,000 s",
        "2,000 s",
        "100.0 %",
    )


def test_schedule_tells_the_rate_as_trained(tmp_path: Path) -> None:
    section = schedule(logged(tmp_path, [0.01, 0.1, 0.1, 0.001]))
    assert section is not None
    assert section.text.endswith("0.01 at first, 0.1 at its highest, 0.001 at last.")
    assert {"iteration", "learning rate", "0.1", "0.001"} <= set(
        texts(section)
    )  # a logarithmic axis
    constant = schedule(logged(tmp_path, [0.1, 0.1]))
    assert constant is not None
    assert "0.1 throughout" in constant.text
    assert schedule(logged(tmp_path, [0.1])) is None


CURVES = {
    "iterations": [10, 20, 30],
    "raw": [2.0, 1.0, 1.5],
    "smoothed": [2.0, 1.4, 1.25],
    "validation": {"iterations": [15, 30], "losses": [1.5, 1.0]},
    "drops": [10, 20],
    "rises": None,
}


def test_losses_say_gap_and_rise(tmp_path: Path) -> None:
    section = losses(written(tmp_path, "losses.json", CURVES))
    assert section is not None
    assert "no lasting rise" in section.text
    assert "0.25 below" in section.text
    labels = texts(section)
    assert [
        labels.count(word) for word in ("training, raw", "training, smoothed", "validation")
    ] == [1, 1, 1]
    assert labels.count("learning rate drops") == 1  # of two marks
    rising = losses(
        written(tmp_path, "losses.json", CURVES | {"rises": {"epoch": 4, "iteration": 15}})
    )
    assert rising is not None
    assert "for good after epoch 4" in rising.text
    assert "validation rises after epoch 4" in texts(rising)
    bare = losses(
        written(tmp_path, "losses.json", CURVES | {"validation": {"iterations": [], "losses": []}})
    )
    assert bare is not None
    assert "No validation loss" in bare.text
    assert losses(written(tmp_path, "losses.json", CURVES | {"iterations": []})) is None


def test_spread_of_known_values() -> None:
    values = np.random.default_rng(0).normal(size=20_000)
    edges, shares, percentiles = spread({0: histogram(values), 3: histogram(2 * values)})
    assert edges.shape == (61,)
    assert shares.shape == (60, 2)
    # Within a bucket, values are taken to lie evenly: a thirtieth of the range is the resolution.
    width = np.ptp(values) / 30
    np.testing.assert_allclose(
        percentiles[:, 0], np.quantile(values, [0.05, 0.5, 0.95]), atol=width / 2
    )
    np.testing.assert_allclose(percentiles[:, 1], 2 * percentiles[:, 0], rtol=1e-6, atol=1e-6)
    inside = [
        np.mean((scale * values > edges[0]) & (scale * values < edges[-1])) for scale in (1, 2)
    ]
    np.testing.assert_allclose(shares.sum(axis=0), inside, atol=0.01)
    assert inside[1] > 0.98


def test_histograms_of_the_first_middle_and_last_kernel(tmp_path: Path) -> None:
    names = [f"layer{i}/{kind}" for i in range(5) for kind in ("kernel", "bias")]
    generator = np.random.default_rng(0)
    folder = tmp_path / "tensorboard"
    for epochs in (range(4), range(2, 6)):  # stopped after the fourth, resumed in the third
        events = EventFile(str(folder))
        for epoch in epochs:
            arrays = [(name, generator.normal(size=50)) for name in names]
            events.write(epoch, {"weight": arrays, "gradient": arrays, "update": arrays})
        events.close()
    newest = max(folder.iterdir())
    newest.write_bytes(newest.read_bytes()[:-9])  # killed while it wrote
    shown = texts(histograms(Run(tmp_path)))
    titles = [f"layer{i}/kernel: {kind}" for i in (0, 2, 4) for kind in ("weights", "gradients")]
    assert [text for text in shown if "kernel" in text or "bias" in text] == titles


def test_weights_that_never_change_are_drawn(tmp_path: Path) -> None:
    events = EventFile(str(tmp_path / "tensorboard"))
    events.write(0, {"weight": [("a/kernel", np.zeros(4))]})
    events.close()
    assert "a/kernel: weights" in texts(histograms(Run(tmp_path)))


@pytest.mark.parametrize("content", ["", "[]", "[" * 100_000, '{"parts": 5, "bound": null}'])
def test_a_damaged_record_costs_its_section_alone(
    content: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run(tmp_path)
    run.timing_file.write_text(content)
    assert sections_of(run) == []
    assert "the report lacks timing" in caplog.text


def test_augmented_images_have_their_draws(tmp_path: Path) -> None:
    records = [{"uri": "data:image/png;base64,AAAA", "label": "<cat>", "draws": ["mirrored"]}]
    section = augmented(written(tmp_path, "augmented.json", records))
    assert section is not None
    (picture,) = section.pictures
    assert (picture.name, picture.notes) == ("<cat>", ("mirrored",))


@pytest.mark.parametrize("records", [[{"uri": "https://example.org/x.png"}], [3], {"a": 1}])
def test_a_damaged_strip_is_left_out(tmp_path: Path, records: Any) -> None:
    assert sections_of(written(tmp_path, "augmented.json", records)) == []
