"""What is read from a sweep's folder and shown of it: numbers against the files and NumPy, pages by
a strict parser.
"""

import csv
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from epochal.app.errors import StorageError, UsageError
from epochal.app.store.plan import Plan, Range
from epochal.app.store.sweep import Sweep
from epochal.app.store.trials import Trial
from epochal.app.tuning.report.axes import heights_of, place_of, share_of
from epochal.app.tuning.report.cost import cost_of, cost_section
from epochal.app.tuning.report.finalists import (
    curves_section,
    finalists_of,
    paired_difference,
    splits_section,
)
from epochal.app.tuning.report.importance import (
    encode_trials,
    importance_section,
    measure_importance,
)
from epochal.app.tuning.report.leaderboard import LeaderboardDisplay, leaderboard_text
from epochal.app.tuning.report.report import sweep_html
from epochal.app.tuning.report.standings import Standings
from epochal.app.tuning.report.sweep_results import conclude_sweep
from epochal.app.tuning.report.verdict import describe_result, make_result
from tests.support.page import Page
from tests.support.sweeps import (
    BATCH,
    DECAY,
    OPTIMIZER,
    RATE,
    figures_of,
    make_sweep,
    standings_of,
    write_result,
    write_run,
    write_sweep,
    write_trial,
    write_winner,
)


@pytest.fixture(scope="module")
def twenty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of twenty trials, concluded."""
    folder = make_sweep(tmp_path_factory.mktemp("sweeps") / "twenty")
    write_winner(folder)
    conclude_sweep(Sweep(folder), winner=best_of(folder), seconds=1234.5)
    return folder


def raw(folder: Path) -> dict[str, dict[str, Any]]:
    return {
        path.parent.name: json.loads(path.read_text())
        for path in folder.glob("trials/*/trial.json")
    }


def best_of(folder: Path) -> str:
    completed = [found for found in raw(folder).values() if found["status"] == "completed"]
    return str(max(completed, key=lambda found: found["score"])["trial"])


def trial(name: str = "0000", **fields: Any) -> Trial:
    return Trial(**{"name": name, "status": "completed", **fields})


def standings(
    *trials: Trial,
    space: tuple[Range, ...] = (),
    folder: Path = Path("nowhere"),
    planned: int = 20,
    monitor: str = "val_accuracy",
) -> Standings:
    plan = Plan(space=space, splits="kfold:5", trials=planned, monitor=monitor)
    return Standings(sweep=Sweep(folder), plan=plan, trials=trials)


def linear(name: str) -> Range:
    return Range(name=name, kind="linear", low=0.0, high=1.0)


# Reading


def test_ranks_are_completed_then_dropped_then_the_rest(twenty: Path) -> None:
    found = raw(twenty)
    groups: dict[str, list[tuple[float, str]]] = {"completed": [], "dropped": [], "failed": []}
    for name, values in found.items():
        groups[values["status"]].append((-(values["score"] or 0), name))
    expected = [name for group in groups.values() for _, name in sorted(group)]
    assert [trial.name for trial in standings_of(twenty).trials] == expected
    assert len(expected) == 20


def test_less_loss_is_better(tmp_path: Path) -> None:
    scores = [
        trial.score
        for trial in standings_of(make_sweep(tmp_path / "s", monitor="val_loss")).having(
            "completed"
        )
    ]
    assert scores == sorted(scores)
    assert len(scores) == 14


def test_a_trial_is_as_its_file_says(twenty: Path) -> None:
    for trial in standings_of(twenty).trials:
        found = raw(twenty)[trial.name]
        for key in (
            "status",
            "values",
            "score",
            "spread",
            "seconds",
            "weights",
            "message",
        ):
            assert getattr(trial, key) == found[key]
        assert (trial.name, trial.promoted_from) == (found["trial"], found["goes_on_from"])
        assert (list(trial.scores), list(trial.epochs)) == (found["scores"], found["epochs"])


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b'{"trial": "0001", "val',
        b"[]",
        b"\xff\xfe\x00",
        b'{"trial": "0001", "status": "flying", "values": {}}',
        b'{"trial": "0001", "status": "completed", "values": null}',
        b'{"trial": "0001", "status": "completed", "values": {}, "scores": ["good"]}',
        b'{"trial": "0001", "status": ["completed"], "values": {}}',
        b"[" * 100_000,
        None,
    ],
)
def test_a_damaged_trial_is_lost_and_the_others_are_read(
    tmp_path: Path, damage: bytes | None
) -> None:
    folder = make_sweep(tmp_path / "s", trials=3, space=[RATE])
    file = folder / "trials" / "0001" / "trial.json"
    file.unlink() if damage is None else file.write_bytes(damage)
    (folder / "trials" / ".tmp-0002").mkdir()  # a process that was killed left it
    found = standings_of(folder)
    assert {trial.name: trial.status for trial in found.trials} == {
        "0000": "completed",
        "0001": "lost",
        "0002": "completed",
    }
    assert found.trials[-1].message == "trial.json is missing or damaged"
    assert leaderboard_text(found).endswith("\n3 of 3 trials done, 1 lost")


@pytest.mark.parametrize("damage", [b"{", b"[]", b"{}", b'{"algorithm": "random", "space": 3}'])
def test_without_sweep_json_there_is_nothing_to_show(tmp_path: Path, damage: bytes) -> None:
    write_sweep(tmp_path / "s")
    (tmp_path / "s" / "sweep.json").write_bytes(damage)
    with pytest.raises(StorageError, match=r"sweep\.json is (missing or )?damaged"):
        standings_of(tmp_path / "s")


def test_a_damaged_history_is_a_short_one(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "s", trials=1, space=[RATE])
    for split, content in {
        1: "epoch,val_accuracy\n1,0.5\n2,\n3,nan\nx,0.7\n4,0.8",
        2: "",
        3: "\0",
    }.items():
        (folder / f"trials/0000/split-{split}/history.csv").write_text(content)
    (folder / "trials/0000/split-4/history.csv").unlink()
    found = standings_of(folder).curves(standings_of(folder).trials[0], "val_accuracy")
    assert found[:4] == [{1: 0.5, 4: 0.8}, {}, {}, {}]
    assert len(found[4]) == 6


# The leaderboard


def test_leaderboard_csv_holds_what_the_trials_say(twenty: Path) -> None:
    rows = list(
        csv.DictReader((twenty / "leaderboard.csv").read_text(encoding="utf-8").splitlines())
    )
    assert [row["rank"] for row in rows] == [str(rank) for rank in range(1, 21)]
    names = ["learning_rate", "epochs", "optimizer", "optim.weight_decay", "data.batch_size"]
    head = (twenty / "leaderboard.csv").read_text().splitlines()[0]
    splits = [f"score_{i}" for i in range(1, 6)]
    heads = [
        "rank",
        "trial",
        "status",
        "score",
        "spread",
        *splits,
        "best_epoch",
        "seconds",
        "weights",
        *names,
    ]
    assert head.split(",") == heads
    assert len(set(heads)) == len(heads)
    for row in rows:
        found = raw(twenty)[row["trial"]]
        scores = [float(row[f"score_{i}"]) for i in range(1, 6) if row[f"score_{i}"]]
        assert scores == found["scores"]
        if scores:
            assert float(row["score"]) == pytest.approx(np.mean(scores), rel=1e-12)
            assert float(row["spread"]) == pytest.approx(np.std(scores, ddof=1), rel=1e-12)
        assert (
            (float(row["best_epoch"]) == np.median(found["epochs"]))
            if scores
            else row["best_epoch"] == ""
        )
        assert int(row["epochs"]) == found["values"]["epochs"]
        assert {
            "learning_rate": float(row["learning_rate"]),
            "optimizer": row["optimizer"],
        }.items() <= (found["values"].items())
        decay = found["values"].get("optim.weight_decay")
        assert row["optim.weight_decay"] == ("" if decay is None else str(decay))


def test_the_live_table() -> None:
    space = (Range(name="optim.rate", kind="log", low=1e-4, high=1.0), linear("momentum"))
    board = standings(
        trial(
            "0004",
            score=0.95314,
            spread=0.0042,
            values={"optim.rate": 0.012345, "momentum": 0.9},
            seconds=10.0,
        ),
        trial("0001", score=0.9, spread=None, values={"optim.rate": 1.0}, seconds=20.0),
        trial("0002", score=0.4, status="dropped", seconds=3.0),
        trial("0003", status="failed", seconds=7.0),
        trial("0000", status="running"),
        space=space,
    )
    assert leaderboard_text(board, rows=2, jobs=1).splitlines() == [
        "rank  trial    val_accuracy  hyperparameters",
        "   1  0004   95.31 ± 0.42 %  rate 0.0123, momentum 0.9",
        "   2  0001          90.00 %  rate 1",
        "4 of 20 trials done, 1 dropped, 1 failed, about 2:40 left",  # 16 trials of 10 s
    ]
    assert leaderboard_text(board, jobs=2).endswith("about 1:20 left")
    assert max(map(len, leaderboard_text(board, width=30).splitlines())) == 30
    assert leaderboard_text(board, rows=1, width=52).splitlines()[1:3] == [
        "   1  0004   95.31 ± 0.42 %  rate 0.0123,",
        "                             momentum 0.9",
    ]
    assert leaderboard_text(standings(planned=3)) == "0 of 3 trials done"
    long = standings(trial("0001", seconds=3600.0), planned=3)
    assert leaderboard_text(long) == "1 of 3 trials done, about 2:00:00 left"
    assert "left" not in leaderboard_text(standings(trial("0001", seconds=3600.0), planned=1))


SIX = (
    "learning_rate",
    "batch_size",
    "optim.weight_decay",
    "optim.options.momentum",
    "model_options.drop",
    "optim.ema",
)


@pytest.mark.parametrize("terminal", [True, False])
def test_every_hyperparameter_is_seen_while_the_sweep_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, terminal: bool
) -> None:
    space = [{"name": name, "kind": "linear", "low": 0.1, "high": 0.9} for name in SIX]
    folder = make_sweep(tmp_path / "s", trials=3, space=space)
    display = LeaderboardDisplay(Sweep(folder), jobs=1, width=lambda: 71 if terminal else None)
    with caplog.at_level(logging.INFO, logger="epochal"):
        display.show("0000")
        display.show("0001")
    first, second = caplog.messages
    for name in SIX:
        assert first.count(f"{name.rpartition('.')[2]} 0.") == 3
    lines = first.splitlines()
    assert lines[-1].startswith("3 of 3 trials done")
    if terminal:
        assert max(map(len, lines)) <= 71
        assert len(lines) > 5
        assert second == f"\x1b[{len(lines)}F\x1b[J{first}"  # as many lines up as were written
    else:
        ranks = [line.partition("  0")[0].strip() for line in lines[1:-1]]
        assert ranks == ["1", "2", "3"]  # a line each, uncut
        assert second == first


# Importance


def planted(count: int, effect: Callable[[np.ndarray], np.ndarray], seed: int = 0) -> Standings:
    values = np.random.default_rng(seed).uniform(size=(count, 3))
    names = ("first", "second", "dummy")
    return standings(
        *(
            trial(
                f"{place:04d}",
                score=float(score),
                values=dict(zip(names, map(float, row), strict=True)),
            )
            for place, (row, score) in enumerate(zip(values, effect(values), strict=True))
        ),
        space=tuple(map(linear, names)),
    )


def test_importance_finds_what_was_planted() -> None:
    found = measure_importance(planted(120, lambda x: 3 * x[:, 0] + x[:, 1]))
    assert found is not None
    assert list(found.shares) == ["first", "second", "dummy"]
    assert found.r2 > 0.8
    # Of independent uniform values, a sum's variance falls on its parts as the squares of their
    # factors.
    assert found.shares["first"] == pytest.approx(0.9, abs=0.15)
    assert found.shares["second"] == pytest.approx(0.1, abs=0.08)
    assert abs(found.shares["dummy"]) < 0.02
    assert measure_importance(planted(120, lambda x: 3 * x[:, 0] + x[:, 1])) == found


def test_importance_of_noise_is_not_drawn() -> None:
    noise = planted(40, lambda x: np.random.default_rng(9).normal(size=len(x)))
    found = measure_importance(noise)
    section = importance_section(noise)
    assert found is not None
    assert section is not None
    assert found.r2 < 0.2
    assert "hardly better than guessing the mean" in section.text
    assert "bar" not in section.text
    assert section.figures == ()
    assert f"R² {found.r2:.2f}" in section.text


@pytest.mark.parametrize(
    ("count", "effect", "words"),
    [
        (7, lambda x: x[:, 0], "7 trials ended with a score, and at least 8 are needed"),
        (8, lambda x: 0 * x[:, 0] + 0.5, "All trials scored the same"),
    ],
)
def test_importance_says_when_it_cannot_tell(count: int, effect: Any, words: str) -> None:
    section = importance_section(planted(count, effect))
    assert section is not None
    assert words in section.text
    assert section.figures == ()
    assert measure_importance(planted(count, effect)) is None


def test_inactive_is_a_value_of_its_own() -> None:
    space = (
        Range(name="rate", kind="log", low=0.01, high=1.0),
        Range(name="kind", kind="choice", values=("a", 1, True)),
    )
    trials = [
        trial(values={"rate": 0.1, "kind": True}),
        trial(values={"kind": 1}),
        trial(values={"rate": 1.0}),
    ]
    encoded = encode_trials(space, trials)
    np.testing.assert_allclose(encoded[:, 0], [np.log(0.1), 3 * np.log(0.1) + np.log(0.1) - 1, 0.0])
    np.testing.assert_array_equal(encoded[:, 1], [2, 1, -1])
    # Whether it is there is all that counts.
    generator = np.random.default_rng(0)
    mixed = [
        trial(
            f"{i:04d}",
            score=0.9 if i % 2 else 0.5,
            values={"x": 0.5, "y": float(generator.uniform())},
        )
        if i % 2
        else trial(f"{i:04d}", score=0.5, values={"y": float(generator.uniform())})
        for i in range(20)
    ]
    found = measure_importance(standings(*mixed, space=(linear("x"), linear("y"))))
    assert found is not None
    assert list(found.shares) == ["x", "y"]
    assert found.r2 > 0.9


# The verdict


def test_result_and_words_agree_with_the_files(twenty: Path) -> None:
    result = json.loads((twenty / "result.json").read_text())
    best = raw(twenty)[best_of(twenty)]
    assert result == {
        "schema": 1,
        "winner": best["trial"],
        "values": best["values"],
        "monitor": "val_accuracy",
        "validation_score": best["score"],
        "spread": best["spread"],
        "validation_accuracy": best["score"],
        "test_accuracy": 0.95,
        "test_accuracy_low": 0.92,
        "test_accuracy_high": 0.969,
        "test_count": 360,
        "optimism": best["score"] - 0.95,
        "trials": 20,
        "completed": 14,
        "dropped": 4,
        "failed": 2,
        "lost": 0,
        "seconds": 1234.5,
    }
    words = Page((twenty / "report.html").read_text(encoding="utf-8")).text
    mean = 100 * np.mean(best["scores"])
    spread = 100 * np.std(best["scores"], ddof=1)
    for expected in (
        f"Trial {best['trial']} won: learning_rate {best['values']['learning_rate']:.3g}, epochs ",
        f"Its validation accuracy is {mean:.2f} ± {spread:.2f} % (mean and sample standard "
        "deviation of 5 splits).",
        "it is right on 95.00 % of 360 test images (95 % interval 92.0 % to 96.9 %).",
        f"validation minus test accuracy, is {mean - 95:+.2f} points: more than chance explains",
        "Of 20 planned trials, 14 completed, 4 dropped after some of the splits, 2 failed; "
        "training took 20 min 34 s "
        "in all.",
    ):
        assert expected in words


@pytest.mark.parametrize(
    ("score", "words"),
    [
        (
            0.94,
            "is -1.00 points: the validation accuracy lies inside the interval, so that chance "
            "explains it.",
        ),
        (0.98, "is +3.00 points: more than chance explains"),
        (0.9, "is -5.00 points: the winner does better than in validation"),
    ],
)
def test_optimism_is_weighed_against_chance(tmp_path: Path, score: float, words: str) -> None:
    write_sweep(tmp_path / "s")
    write_winner(tmp_path / "s")
    won = trial(score=score, scores=(score,))
    found = standings(won, folder=tmp_path / "s")
    said = describe_result(found, won, make_result(found, won, 1.0))
    assert words in said[1]
    assert f"{100 * score:.2f} % (1 split, no spread)" in said[0]


@pytest.mark.parametrize(
    ("again", "blamed"),
    [
        (
            0.48,
            "retraining went wrong, not the choice: the retrained network is right on 48.0 % of "
            "the validation images, "
            "the trial was on 95.0 %; try best.yaml with other seeds.",
        ),
        (0.67, "retraining went wrong"),  # worse by 28 points, of an optimism of 55
        (0.68, "more than chance explains, as a score by which one is chosen flatters it."),
        (None, "more than chance explains, as a score by which one is chosen flatters it."),
    ],
)
def test_a_retraining_that_fell_apart_is_not_blamed_on_the_choice(
    tmp_path: Path, again: float | None, blamed: str
) -> None:
    write_sweep(tmp_path / "s")
    write_winner(tmp_path / "s")
    validation = None
    if again is not None:
        validation = figures_of(again)
    write_result(tmp_path / "s/winner", validation=validation, test=figures_of(0.4))
    won = trial(score=0.95, scores=(0.95, 0.95))
    found = standings(won, folder=tmp_path / "s")
    said = describe_result(found, won, make_result(found, won, 1.0))[1]
    assert "is +55.00 points: more than chance explains" in said
    assert blamed in said


def test_of_losses_the_optimism_is_that_of_the_accuracy(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "s", trials=3, monitor="val_loss", select="one-se", space=[RATE])
    write_winner(folder)
    found = standings_of(folder)
    second = found.having("completed")[1]
    result = make_result(found, second, 2.0)
    accuracy = np.mean(np.exp(-np.array(second.scores)))  # as the generator made them
    assert result.validation_score == second.score
    assert result.optimism == pytest.approx(accuracy - 0.95)
    said = describe_result(found, second, result)[0]
    best = found.trials[0]
    assert (
        f"Trial {best.name} has the best mean, {best.score:.4f} ± {best.spread:.4f}; the "
        "one-standard-error" in said
    )


def test_only_a_completed_trial_can_win(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "s", trials=4, space=[RATE])
    for name in ("0003", "nine"):
        with pytest.raises(
            UsageError, match=f"winner '{name}' is no completed trial.*completed ones are: 000"
        ):
            conclude_sweep(Sweep(folder), winner=name, seconds=1.0)
    assert not (folder / "leaderboard.csv").exists()


# Finalists and cost


def test_paired_differences_are_those_of_numpy(twenty: Path) -> None:
    found = standings_of(twenty)
    first, second = found.trials[:2]
    differences = np.array(second.scores) - np.array(first.scores)
    difference = paired_difference(second, first)
    assert difference is not None
    assert difference.mean == pytest.approx(differences.mean())
    assert difference.error == pytest.approx(differences.std(ddof=1) / np.sqrt(5))
    section = splits_section(found, first)
    assert section is not None
    assert [row[0] for row in section.table[1:]] == [trial.name for trial in found.trials[:5]]
    assert section.table[1][3:] == ("the winner", "")
    assert section.table[2][3:] == (
        f"{100 * differences.mean():+.2f} ± {100 * differences.std(ddof=1) / np.sqrt(5):.2f} "
        "points",
        f"{(differences > 0).sum()} of 5",
    )
    assert paired_difference(trial(scores=()), first) is None
    single = paired_difference(trial(scores=(0.5,)), first)
    assert single is not None
    assert single.error is None


def test_a_winner_of_low_rank_is_a_finalist(twenty: Path) -> None:
    found = standings_of(twenty)
    ranked = [trial.name for trial in found.having("completed")]
    assert [trial.name for trial in finalists_of(found, found.find(ranked[8]))] == [
        *ranked[:4],
        ranked[8],
    ]


def test_a_curve_is_the_mean_of_the_splits_that_got_so_far(tmp_path: Path) -> None:
    for split, (accuracy, epochs) in {1: (0.8, 2), 2: (0.9, 3)}.items():
        folder = tmp_path / f"trials/0000/split-{split}"
        folder.parent.mkdir(parents=True, exist_ok=True)
        write_run(folder, accuracy, epochs)
    curve = standings(folder=tmp_path).mean_curve(trial("0000"), "val_accuracy")
    expected = {1: (0.8 * 2 / 3 + 0.9 * 4 / 7) / 2, 2: (0.8 + 0.9 * 6 / 7) / 2, 3: 0.9}
    assert curve == pytest.approx(expected)


def test_epochs_of_a_promoted_trial_count_once(tmp_path: Path) -> None:
    runs = {}
    for name, epochs in (("0000", 3), ("0001", 5), ("0002", 4)):
        runs[name] = tmp_path / "trials" / name / "split-1"
        runs[name].parent.mkdir(parents=True)
        write_run(runs[name], 0.9, epochs)
    found = standings(
        trial("0000", scores=(0.9,) * 4, seconds=40.0),
        trial("0001", scores=(0.9,) * 4, seconds=20.0, promoted_from="0000"),
        trial("0002", scores=(0.1,), seconds=5.0, status="dropped"),
        folder=tmp_path,
    )
    cost = cost_of(found)
    assert (cost.seconds, cost.epochs, cost.images) == (65.0, 3 + 2 + 4, 9000)
    assert cost.saved == 5.0 * 3
    section = cost_section(found)
    assert section is not None
    for figure in ("1 min 05 s", "9 epochs", "9.00 k images", "15.0 s", "19 %"):
        assert figure in section.text
    (runs["0002"] / "data.json").unlink()
    assert cost_of(found).images is None


# Figures and pages


def test_places_on_axes() -> None:
    rate = Range(name="rate", kind="log", low=0.01, high=1.0)
    assert share_of(rate, 0.1) == pytest.approx(0.5)
    choice = Range(name="kind", kind="choice", values=("a", "b", "c"))
    assert [share_of(choice, place) for place in (0, 1, 2)] == [0, 0.5, 1]
    assert place_of(choice, trial(values={"kind": "c"})) == 2
    assert place_of(choice, trial(values={"kind": "z"})) is None
    assert place_of(rate, trial(values={"rate": "fast"})) is None
    mixed = Range(name="kind", kind="choice", values=(True, 1, 0.5))
    assert [mixed.index_of(value) for value in (True, 1.0, 0.5, False, [1])] == [
        0,
        1,
        2,
        None,
        None,
    ]
    assert place_of(rate, trial()) is None
    assert share_of(Range(name="x", kind="int", low=3, high=3), 3) == 0.5


def test_a_diverged_trial_stands_at_the_edge() -> None:
    scores = (0.95, 0.94, 0.93, 0.92, 0.1)
    heights = heights_of(standings(*(trial(f"{i}", score=score) for i, score in enumerate(scores))))
    assert heights.of([0.95]) == pytest.approx(95)
    assert heights.edge == pytest.approx(93 - 6 * 2)
    assert heights.of([0.1]) == pytest.approx(81)
    losses = standings(
        *(trial(f"{i}", score=loss) for i, loss in enumerate((0.1, 0.2, 0.3, 2.3))),
        monitor="val_loss",
    )
    assert heights_of(losses).of([2.3]) == pytest.approx(0.25 + 6 * 0.15)


def figures(html: str) -> list[ElementTree.Element]:
    """The page's figures, which a strict parser accepts."""
    found = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    return [
        ElementTree.fromstring(figure.replace("<svg", '<svg xmlns:xlink="x"', 1))
        for figure in found
    ]


def test_report_is_one_file_and_every_figure_has_words(twenty: Path) -> None:
    html = (twenty / "report.html").read_text(encoding="utf-8")
    page = Page(html)
    assert "http:" not in html
    assert "https:" not in html
    assert not {"script", "link", "iframe", "object", "base", "img"} & set(page.tags)
    labels = [figure.attrib["aria-label"] for figure in figures(html)]
    page.assert_nothing_is_cut()
    assert len(labels) == 10  # five hyperparameters, all at once, importance, curves, splits, cost
    best = raw(twenty)[best_of(twenty)]
    assert labels[0].startswith("validation accuracy against learning_rate: 18 trials; the best, ")
    assert labels[0].endswith(f"the winner at {best['values']['learning_rate']:.3g}")
    assert labels[-1].startswith("Time of 18 trials; the longest, ")
    assert page.text.count(" the loss became NaN <at step 7> ") == 2
    rows = re.findall(r'<tr><th scope="row" title="\d+">(\d+)</th><td>(\d{4})</td>', html)
    assert [int(rank) for rank, _ in rows] == list(range(1, 21))
    assert rows[0][1] == best["trial"]


def marks(figure: ElementTree.Element) -> dict[str, int]:
    """How many points a figure has: full, hollow ones, and stars."""
    styles = [element.attrib.get("style", "") for element in figure.iter("use")]
    return {
        "full": sum("fill: var(--blue)" in style and "fill-opacity" in style for style in styles),
        "hollow": sum("fill: none" in style and "var(--blue)" in style for style in styles),
        "star": sum("fill: var(--vermillion)" in style for style in styles),
    }


def test_scores_are_drawn_point_by_point(twenty: Path) -> None:
    drawn = figures((twenty / "report.html").read_text(encoding="utf-8"))
    assert marks(drawn[0]) == {"full": 13, "hollow": 4, "star": 1}
    texts = {element.text for element in drawn[0].iter("text")}
    assert {"0.0001", "0.001", "0.01", "0.1", "1"} <= texts  # the range, in decades
    assert {"sgd", "adam", "rmsprop"} <= {element.text for element in drawn[2].iter("text")}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"trials": 1, "space": [RATE]}, "Of 1 planned trial, 1 completed"),
        ({"trials": 9, "space": [OPTIMIZER, BATCH]}, "optimizer"),
        (
            {"trials": 10, "space": [RATE, OPTIMIZER, DECAY], "monitor": "val_loss"},
            "Its validation loss is 0.",
        ),
        ({"trials": 2, "space": []}, "won: nothing varied."),
    ],
)
def test_every_kind_of_sweep_has_a_page(
    tmp_path: Path, settings: dict[str, Any], expected: str
) -> None:
    folder = make_sweep(tmp_path / "s", **settings)
    result = conclude_sweep(Sweep(folder), winner=standings_of(folder).trials[0].name, seconds=1.0)
    assert result.test_accuracy is None
    assert result.optimism is None
    html = (folder / "report.html").read_text(encoding="utf-8")
    text = Page(html).text
    assert expected in text
    assert "The winner has not been retrained and tested." in text
    assert all(figure.attrib["aria-label"] for figure in figures(html))


def test_a_sweep_without_a_completed_trial(tmp_path: Path) -> None:
    write_sweep(tmp_path / "s", trials=5)
    for number, status in enumerate(("failed", "dropped", "running")):
        values = {"learning_rate": 1.0, "optimizer": "adam", "data.batch_size": 32, "epochs": 2}
        write_trial(
            tmp_path / "s", number, status, values, "val_accuracy", np.random.default_rng(0)
        )
    result = conclude_sweep(Sweep(tmp_path / "s"), winner=None, seconds=1.0)
    assert (result.winner, result.completed, result.dropped, result.failed) == (
        None,
        0,
        1,
        1,
    )
    text = Page((tmp_path / "s" / "report.html").read_text(encoding="utf-8")).text
    assert "No trial completed, so that none could win" in text
    assert "1 still running" in text


def test_an_empty_sweep(tmp_path: Path) -> None:
    write_sweep(tmp_path / "s")
    conclude_sweep(Sweep(tmp_path / "s"), winner=None, seconds=0.0)
    text = Page((tmp_path / "s" / "report.html").read_text(encoding="utf-8")).text
    assert "Of 20 planned trials, none has begun" in text
    assert (tmp_path / "s" / "leaderboard.csv").read_text().count("\n") == 1


@pytest.mark.slow
def test_three_hundred_trials(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "s", trials=300)
    conclude_sweep(Sweep(folder), winner=best_of(folder), seconds=1.0)
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert len(html) < 3_000_000
    assert marks(figures(html)[0]) == {"full": 209, "hollow": 60, "star": 1}


def test_what_came_from_outside_is_escaped(tmp_path: Path) -> None:
    space = [{"name": 'x"><b>', "kind": "choice", "values": ["<script>", "$a$", "\x1b[0m"]}]
    folder = make_sweep(tmp_path / "<i>s", trials=9, space=space)
    (folder / "config.yaml").write_bytes(b"</pre><script>\xff")
    found = standings_of(folder)
    html = sweep_html(found, found.trials[0], make_result(found, found.trials[0], 1.0))
    assert not {"script", "b", "i"} & set(Page(html).tags)
    assert "\x1b" not in html
    assert "\x1b" not in leaderboard_text(found)


@pytest.mark.slow
def test_the_same_folder_gives_the_same_files(tmp_path: Path, twenty: Path) -> None:
    again = make_sweep(tmp_path / "twenty")
    write_winner(again)
    conclude_sweep(Sweep(again), winner=best_of(again), seconds=1234.5)
    files = [
        "leaderboard.csv",
        "report.html",
        "result.json",
        *(f"{path}" for path in written(again)),
    ]
    assert len(files) == 3 + 21
    for name in files:
        assert (again / name).read_bytes() == (twenty / name).read_bytes(), name


def written(folder: Path) -> list[Path]:
    return [path.relative_to(folder) for path in folder.glob("tensorboard/**/*tfevents*")]


def test_curves_name_the_finalists(twenty: Path) -> None:
    found = standings_of(twenty)
    section = curves_section(found, found.trials[0])
    assert section is not None
    labels = {element.text for element in figures(section.figures[0])[0].iter("text")}
    assert f"trial {found.trials[0].name}, the winner" in labels
    assert {f"trial {trial.name}" for trial in found.trials[1:5]} <= labels


# TensorBoard


def test_tensorboard_shows_a_session_a_trial(twenty: Path) -> None:
    from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins import base_plugin
    from tensorboard.plugins.hparams import (
        api_pb2,
        backend_context,
        get_experiment,
        list_session_groups,
    )

    runs = plugin_event_multiplexer.EventMultiplexer().AddRunsFromDirectory(
        str(twenty / "tensorboard")
    )
    runs.Reload()
    provider = data_provider.MultiplexerDataProvider(runs, "")
    context = backend_context.Context(base_plugin.TBContext(data_provider=provider))
    statuses = [
        api_pb2.STATUS_SUCCESS,
        api_pb2.STATUS_FAILURE,
        api_pb2.STATUS_RUNNING,
        api_pb2.STATUS_UNKNOWN,
    ]
    request = api_pb2.ListSessionGroupsRequest(
        start_index=0, slice_size=100, allowed_statuses=statuses
    )
    groups = (
        list_session_groups.Handler(RequestContext(), context, "", request).run().session_groups
    )
    assert len(groups) == 20
    for group in groups:
        found = raw(twenty)[group.sessions[0].name]
        shown = {
            name: value.number_value or value.string_value for name, value in group.hparams.items()
        }
        assert shown == found["values"]
        metrics = {value.name.tag: value.value for value in group.metric_values}
        for name in ("score", "spread", "seconds", "weights"):
            assert metrics.get(name) == (
                None if found[name] is None else pytest.approx(found[name])
            )
        failed = group.sessions[0].status == api_pb2.STATUS_FAILURE
        assert failed == (found["status"] == "failed")
        assert (group.sessions[0].start_time_secs, group.sessions[0].end_time_secs) == (
            found["created"],
            found["ended"],
        )
    experiment = get_experiment.Handler(
        RequestContext(), context, "", api_pb2.GetExperimentRequest(include_metrics=True)
    ).run()
    infos = {info.name: info for info in experiment.hparam_infos}
    assert list(infos["optimizer"].domain_discrete) == ["sgd", "adam", "rmsprop"]
    assert (
        infos["epochs"].domain_interval.min_value,
        infos["epochs"].domain_interval.max_value,
    ) == (2, 10)
    assert infos["data.batch_size"].type == api_pb2.DATA_TYPE_FLOAT64
    assert [info.name.tag for info in experiment.metric_infos] == [
        "score",
        "spread",
        "seconds",
        "weights",
    ]
    best = best_of(twenty)
    curve = [
        (event.step, event.tensor_proto.float_val[0])
        for event in runs.Tensors(best, "val_accuracy")
    ]
    expected = standings_of(twenty).mean_curve(standings_of(twenty).trials[0], "val_accuracy")
    assert dict(curve) == pytest.approx(expected, rel=1e-6)


# Null among the choices


AVERAGE = Range(name="optim.ema", kind="choice", values=(None, 0.99))
ONLY_WITH_AVERAGE = Range(
    name="learning_rate", kind="linear", low=0.0, high=1.0, when={"optim.ema": (0.99,)}
)


def test_null_that_was_chosen_is_a_value_and_null_that_was_not_searched_is_none() -> None:
    space = (AVERAGE, ONLY_WITH_AVERAGE)
    without = trial(values={"optim.ema": None, "learning_rate": None})
    with_average = trial(values={"optim.ema": 0.99, "learning_rate": 0.5})
    assert without.active_values(space) == {"optim.ema": None}
    assert with_average.active_values(space) == {"optim.ema": 0.99, "learning_rate": 0.5}
    assert [place_of(AVERAGE, found) for found in (without, with_average)] == [0, 1]
    assert place_of(ONLY_WITH_AVERAGE, without) is None


def test_a_winner_whose_value_is_null_has_a_page() -> None:
    trials = []
    for number in range(6):
        value = (None, 0.99)[number % 2]
        found = trial(f"{number}", values={"optim.ema": value}, score=0.9 - number / 100)
        trials.append(found)
    shown = standings(*trials, space=(AVERAGE,))
    result = make_result(shown, trials[0], 1.0)
    assert result.values == {"optim.ema": None}
    assert "the best, 90.00 %, at null" in sweep_html(shown, trials[0], result)
    assert "ema null" in leaderboard_text(shown)
