"""Best against best, and rates by name: tables of a sweep's report against the formulas that its
folder is made by.
"""

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from epochal.app.evaluation.rate_labels import DIVERGED, GOOD, HIGH, LOW
from epochal.app.store.sweep import Sweep
from epochal.app.tuning.report.choices import choices_section
from epochal.app.tuning.report.rates import labelled_rates, rates_section
from epochal.app.tuning.report.standings import Standings
from epochal.app.tuning.report.sweep_results import conclude_sweep
from tests.support.page import Page
from tests.support.sweeps import (
    BEARABLE,
    DECAY,
    OPTIMIZER,
    RATE,
    descent,
    figures_of,
    make_rates,
    make_sweep,
    standings_of,
    write_result,
)

RATES = [0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0]
ORDER = [LOW, GOOD, HIGH, DIVERGED].index


def change(folder: Path, number: int, **fields: Any) -> None:
    """Other fields of a trial's file."""
    file = folder / f"trials/{number:04d}/trial.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def change_space(folder: Path, *space: dict[str, Any]) -> None:
    file = folder / "sweep.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"space": space}))


def rows_of(standings: Standings) -> dict[str, tuple[str, ...]]:
    """The table of choices by choice."""
    section = choices_section(standings)
    assert section is not None
    return {f"{row[1]} {row[0]}": row[2:] for row in section.table[1:]}


# Best of each choice


def test_the_best_of_one_optimizer_meets_the_best_of_the_other(tmp_path: Path) -> None:
    folder = make_rates(tmp_path / "s", RATES, splits=3)
    change(folder, 6, score=0.9, scores=[0.89, 0.9, 0.91], spread=0.01)  # sgd at 0.3
    change(folder, 11, score=0.85, scores=[0.86, 0.84, 0.85], spread=0.01)  # adam at 0.01
    for number in {*range(16)} - {6, 11}:
        change(folder, number, score=0.5, scores=[0.5, 0.5, 0.5], spread=0.0, status="completed")
    change(folder, 15, status="failed", score=None, scores=[])
    differences = np.array([0.86, 0.84, 0.85]) - np.array([0.89, 0.9, 0.91])
    error = differences.std(ddof=1) / np.sqrt(3)
    rows = rows_of(standings_of(folder))
    assert rows["optimizer sgd"] == (
        "8",
        "0006",
        "90.00 ± 1.00 %",
        "the best",
        "3",
        "learning_rate 0.3",
    )
    paired = f"{100 * differences.mean():+.2f} ± {100 * error:.2f} points"
    assert rows["optimizer adam"] == (
        "8",
        "0011",
        "85.00 ± 1.00 %",
        paired,
        "3",
        "learning_rate 0.01",
    )
    assert list(rows)[:2] == ["optimizer sgd", "optimizer adam"]
    assert rows["learning_rate 0.3"][-1] == "optimizer sgd"
    assert len(rows) == 10
    section = choices_section(standings_of(folder))
    assert section is not None
    assert (
        "Trials spent: 8 on each optimizer, 2 on each learning_rate, an equal budget."
        in section.text
    )
    assert "one below two of them is no difference" in section.text


def test_of_one_split_nothing_is_told_from_chance(tmp_path: Path) -> None:
    section = choices_section(standings_of(make_rates(tmp_path / "s", RATES)))
    assert section is not None
    assert "With a single split the difference cannot be told from chance" in section.text
    assert all("±" not in cell for row in section.table for cell in row)


def test_less_loss_is_the_better_choice(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "s", monitor="val_loss", trials=12)
    standings = standings_of(folder)
    rows = {name: row for name, row in rows_of(standings).items() if name.startswith("optimizer ")}
    for name, row in rows.items():
        own = [
            one
            for one in standings.having("completed")
            if f"optimizer {one.values['optimizer']}" == name
        ]
        assert row[1] == min(own, key=lambda one: one.score or math.inf).name
    (best,) = [row for row in rows.values() if row[3] == "the best"]
    assert best[1] == standings.scored[0].name
    assert all(row[3] == "the best" or row[3].startswith("+") for row in rows.values())


def test_unequal_budgets_and_choices_without_a_score_are_told(tmp_path: Path) -> None:
    folder = make_rates(tmp_path / "s", RATES[:3])
    change(folder, 0, status="running", score=None, scores=[])
    for number in (3, 4, 5):
        change(folder, number, status="failed", score=None, scores=[])
    section = choices_section(standings_of(folder))
    assert section is not None
    assert (
        "Trials spent: 2 to 3 on each optimizer, 1 to 2 on each learning_rate; where budgets differ"
        in section.text
    )
    assert rows_of(standings_of(folder))["optimizer adam"][-1] == "none ended with a score"


@pytest.mark.parametrize(
    "space",
    [[RATE], [OPTIMIZER], [RATE, {"name": "optimizer", "kind": "choice", "values": ["sgd"]}]],
)
def test_without_two_choices_there_is_no_table(tmp_path: Path, space: list[dict[str, Any]]) -> None:
    assert choices_section(standings_of(make_sweep(tmp_path / "s", space=space, trials=3))) is None


def test_choices_that_are_lists_are_told_apart(tmp_path: Path) -> None:
    space = [RATE, {"name": "schedule.milestones", "kind": "choice", "values": [[2, 4], [3]]}]
    rows = rows_of(standings_of(make_sweep(tmp_path / "s", space=space, trials=6)))
    assert set(rows) == {"milestones [2, 4]", "milestones [3]"}
    assert sum(int(row[0]) for row in rows.values()) == 6


# Learning rates


def test_rates_are_labelled_by_the_formula_they_were_made_by(tmp_path: Path) -> None:
    folder = make_rates(tmp_path / "s", [*RATES, 1.99, 3.0], splits=2)
    found = labelled_rates(standings_of(folder))
    assert len(found) == 20
    for optimizer, bearable in BEARABLE.items():
        group = [one for one in found if one.group == optimizer]
        assert [one.rate for one in group] == sorted(one.rate for one in group)
        labels = [one.label for one in group]
        assert labels == sorted(labels, key=ORDER)
        shares = [one.rate / bearable for one in group]
        assert [one.label == DIVERGED for one in group] == [share > 1 for share in shares]
        for one, share in zip(group, shares, strict=True):
            fall = (
                1 - (descent(share, 28) + descent(share, 32)) / 2
            )  # the last quarter of eight epochs of four steps
            assert (one.label == GOOD) == (fall >= 0.8)
    assert {one.label for one in found if one.group == "sgd"} == {LOW, GOOD, HIGH, DIVERGED}


def test_the_table_is_in_the_report(tmp_path: Path) -> None:
    folder = make_rates(tmp_path / "s", [*RATES, 3.0])
    standings = standings_of(folder)
    section = rates_section(standings)
    assert section is not None
    assert section.table[0][:4] == (
        "learning rate",
        "optimizer",
        "training loss at the end",
        "label",
    )
    words = [re.findall('aria-label="([^"]*)"', figure)[0] for figure in section.figures]
    assert words[0] == (
        "Training loss over the epochs, optimizer sgd; too low: 0.0003 to 0.03; good: 0.1 to 1; "
        "diverged: 3"
    )
    assert words[1].startswith(
        "Training loss over the epochs, optimizer adam; too low: 0.0003; good: 0.001 to "
    )
    assert section.table[9] == ("3", "sgd", "not finite", DIVERGED, "0008", "–")
    conclude_sweep(Sweep(folder), winner=standings.scored[0].name, seconds=1.0)
    text = Page((folder / "report.html").read_text(encoding="utf-8")).text
    assert (
        text.index("Best of each choice")
        < text.index("Learning rates")
        < text.index("Score against each")
    )
    assert section.text in text


def test_rates_are_compared_only_where_little_else_varies(tmp_path: Path) -> None:
    folder = make_rates(tmp_path / "s", RATES)
    optimizer, rate = json.loads((folder / "sweep.json").read_text())["space"]
    change_space(folder, optimizer, rate, DECAY)
    assert labelled_rates(standings_of(folder)) == []
    change_space(folder, optimizer)
    assert labelled_rates(standings_of(folder)) == []
    assert rates_section(standings_of(folder)) is None
    change_space(folder, rate, optimizer)
    assert len(labelled_rates(standings_of(folder))) == 16
    assert labelled_rates(standings_of(make_rates(tmp_path / "two", RATES[:2]))) == []


def test_rungs_of_hyperband_are_not_compared(tmp_path: Path) -> None:
    standings = standings_of(make_rates(tmp_path / "s", RATES))
    assert len(labelled_rates(standings)) == 16
    assert (
        labelled_rates(replace(standings, plan=replace(standings.plan, algorithm="hyperband")))
        == []
    )


@pytest.mark.parametrize("name", ["data.json", "config.yaml"])
def test_runs_without_their_files_are_left_out(tmp_path: Path, name: str) -> None:
    folder = make_rates(tmp_path / "s", RATES)
    for file in folder.glob(f"trials/*/split-1/{name}"):
        file.write_text("{")
    assert labelled_rates(standings_of(folder)) == []


def test_a_trial_that_failed_for_another_reason_says_nothing_of_its_rate(tmp_path: Path) -> None:
    folder = make_rates(tmp_path / "s", RATES)
    change(
        folder,
        3,
        status="failed",
        score=None,
        scores=[],
        message="out of memory with --batch-size 32",
    )
    assert len(labelled_rates(standings_of(folder))) == 15
    change(
        folder,
        3,
        message="weight conv/kernel is not finite at step 3 of epoch 1 (learning rate 0.01)",
    )
    assert {one.trial.name: one.label for one in labelled_rates(standings_of(folder))}[
        "0003"
    ] == DIVERGED


def test_a_rate_that_was_lowered_on_the_way_was_not_borne(tmp_path: Path) -> None:
    folder = make_rates(tmp_path / "s", RATES)
    write_result(folder / "trials/0007/split-1", validation=figures_of(0.9), rollbacks=1)
    labels = {one.trial.name: one.label for one in labelled_rates(standings_of(folder))}
    assert (labels["0006"], labels["0007"]) == (GOOD, DIVERGED)
