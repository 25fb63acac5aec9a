"""The configured course of the rate: corners of each shape, warm-up, scaling, refusals."""

from typing import Any

import pytest

from epochal import callbacks
from epochal.app.commands.main import main
from epochal.app.config import Config, Schedule
from epochal.app.errors import UsageError
from epochal.app.training.probes.rate_plan import plan_rates
from epochal.app.training.step.learning_rate import arithmetic, rate_callbacks, shape_of


def course(steps: int = 10, epochs: int = 8, **schedule: Any) -> list[float]:
    """The relative rate at the beginning of every epoch."""
    shape = shape_of(Config(epochs=epochs, schedule=Schedule(**schedule)), steps)
    return [shape(epoch * steps) for epoch in range(epochs)]


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ({}, [1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01]),
        ({"milestones": [2, 3], "factor": 0.5}, [1, 1, 0.5, 0.25, 0.25, 0.25, 0.25, 0.25]),
        (
            {"milestones": [20, 30], "unit": "steps", "factor": 0.5},
            [1, 1, 0.5, 0.25, 0.25, 0.25, 0.25, 0.25],
        ),
        ({"every": 3}, [1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01]),
        ({"every": 3, "warm_up": 2}, [0.05, 0.55, 1, 0.1, 0.1, 0.1, 0.01, 0.01]),
        ({"warm_up": 3}, [1 / 30, 11 / 30, 21 / 30, 1, 0.1, 0.1, 0.01, 0.01]),
        (
            {"warm_up": 4},
            [0.025, 0.275, 0.525, 0.775, 1, 1, 0.1, 0.01],
        ),  # half of what is left, and 3/4
        ({"warm_up": 40, "unit": "steps"}, [0.025, 0.275, 0.525, 0.775, 1, 1, 0.1, 0.01]),
        ({"shape": "polynomial"}, [1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8]),
        (
            {"shape": "polynomial", "warm_up": 4},
            [0.025, 0.275, 0.525, 0.775, 1, 3 / 4, 2 / 4, 1 / 4],
        ),
        ({"shape": "inverse", "offset": 2}, [1, 2 / 3, 2 / 4, 2 / 5, 2 / 6, 2 / 7, 2 / 8, 2 / 9]),
        ({"shape": "inverse", "unit": "steps"}, [8 / (8 + 10 * epoch) for epoch in range(8)]),
        (
            {"shape": "exponential", "end": 1 / 256},
            [1, 1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64, 1 / 128],
        ),
        ({"shape": "plateau", "warm_up": 2}, [0.05, 0.55, 1, 1, 1, 1, 1, 1]),
    ],
    ids=str,
)
def test_courses(schedule: dict[str, Any], expected: list[float]) -> None:
    assert course(**schedule) == pytest.approx(expected)


def test_cosine_and_one_cycle_end_at_almost_nothing() -> None:
    for shape in ("cosine", "one_cycle"):
        follow = shape_of(Config(epochs=8, schedule=Schedule(shape=shape)), 10)
        assert max(map(follow, range(80))) == pytest.approx(1, abs=1e-3)
        assert follow(79) < 1e-3


@pytest.mark.parametrize("epochs", [1, 2, 3, 10])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.6, 0.9])
def test_every_warm_up_reaches_the_rate(epochs: int, share: float) -> None:
    follow = shape_of(Config(epochs=epochs, schedule=Schedule(warm_up=share * epochs)), 10)
    assert max(map(follow, range(10 * epochs))) == 1


def test_the_rate_is_scaled_by_the_global_batch() -> None:
    config = Config(batch_size=512, learning_rate=0.1, schedule=Schedule(batch=256))
    assert config.peak_rate == pytest.approx(0.2)
    assert arithmetic(config) == "0.1 x 512 / 256 = 0.2"
    (schedule,) = rate_callbacks(config, 10)
    assert schedule.rate == pytest.approx(0.2)


def test_stateful_shapes_come_after_their_warm_up() -> None:
    config = Config(schedule=Schedule(shape="stuck", warm_up=2, factor=0.5, window=7))
    rising, stuck = rate_callbacks(config, 10)
    assert (rising.steps, type(stuck), stuck.factor, stuck.window) == (
        20,
        callbacks.StuckDecay,
        0.5,
        7,
    )
    (plateau,) = rate_callbacks(Config(schedule=Schedule(shape="plateau")), 10)
    assert (type(plateau), plateau.monitor, plateau.patience) == (
        callbacks.PlateauDecay,
        "val_loss",
        5,
    )


@pytest.mark.parametrize("shape", ["plateau", "stuck"])
def test_under_a_budget_their_warm_up_follows_the_clock(shape: Any) -> None:
    config = Config(budget="60s", epochs=30, schedule=Schedule(shape=shape, warm_up=5))
    done = 0.1
    rising, falling = rate_callbacks(config, 100, share=lambda: done)
    assert falling.after is rising
    assert rising.position() == 300
    assert not rising.is_over()
    done = 0.9
    assert rising.position() == 2700
    assert rising.is_over()


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (
            {"shape": "cosine", "factor": 0.5},
            r"schedule.factor must be steps or plateau or stuck, got 'cosine'",
        ),
        ({"milestones": [3, 2]}, "milestones must be in rising order"),
        ({"factor": 1.5}, "factor must be above 0 and below 1"),
        ({"warm_up": -1}, "warm_up must be above 0"),
        (
            {"warm_up": 6, "milestones": [5, 7]},
            "milestones must be behind schedule.warm_up 6, got \\[5, 7\\]",
        ),
        ({"warm_up": 2, "every": 2}, "schedule.every must be behind schedule.warm_up 2"),
        ({"shape": "exponential", "end": 0.0}, "end must be above 0 for exponential"),
        ({"shape": "stuck", "window": 0}, "window must be 1 or more"),
    ],
)
def test_what_makes_no_schedule_is_refused(schedule: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Schedule(**schedule)


def test_what_lies_past_the_end_is_refused() -> None:
    with pytest.raises(ValueError, match="milestones must be below the 8 epochs, got 8"):
        Config(epochs=8, schedule=Schedule(milestones=[2, 8]))
    with pytest.raises(UsageError, match="past the end of the 80 steps"):
        course(milestones=[80], unit="steps")


def test_the_command_prints_and_draws(tmp_path: Any, capsys: Any) -> None:
    plan = ["lr-plan", "--epochs", "100", "--schedule.shape", "cosine", "--schedule.batch", "32"]
    plot = ["--plot", str(tmp_path / "plan.png")]
    assert main([*plan, *plot]) == 0
    title, header, *rows = capsys.readouterr().out.splitlines()
    assert title == "cosine, 100 epochs, learning rate 0.1 x 64 / 32 = 0.2"
    assert header.split() == ["epoch", "begins", "at", "ends", "at"]
    assert [rows[0].split(), rows[-1].split()[0], len(rows)] == [["1", "0.2", "0.2"], "100", 34]
    assert (tmp_path / "plan.png").read_bytes().startswith(b"\x89PNG")
    assert main([*plan, *plot]) == 2
    assert "exists already and is not overwritten" in capsys.readouterr().err


def test_a_plan_of_many_epochs_takes_few_rates() -> None:
    plan = plan_rates(Config(epochs=100_000))
    rows = plan.rows()
    assert [epoch for epoch, _, _ in (rows[0], rows[-1])] == [1, 100_000]
    assert len(rows) <= 41
    curve = plan.curve()
    assert curve[0] == (0, plan.peak)
    assert curve[-1][0] == pytest.approx(100_000, abs=0.01)
    assert len(curve) <= 2001


def test_a_plan_tells_of_the_budget(capsys: Any) -> None:
    assert main(["lr-plan", "--epochs", "100000", "--budget", "10m"]) == 0
    printed = capsys.readouterr()
    assert printed.out.split()[-3:] == ["100000", "0.001", "0.001"]
    assert "with a budget of 10m this course follows the clock" in printed.err


def test_one_epoch_is_one(capsys: Any) -> None:
    assert main(["lr-plan", "--epochs", "1"]) == 0
    assert capsys.readouterr().out.startswith("steps, 1 epoch, learning rate 0.1\n")


@pytest.mark.parametrize(
    "words",
    [
        ["--resume", "x"],
        ["--plot"],
        ["--plot", "plan.svg"],
        ["--epoch", "3"],
        ["--optimizer", "sdg"],
    ],
    ids=str,
)
def test_the_command_refuses(words: list[str], capsys: Any) -> None:
    assert main(["lr-plan", *words]) == 2
    assert capsys.readouterr().err.startswith("error: ")
