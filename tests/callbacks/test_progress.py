import io
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epochal.callbacks import Progress
from epochal.callbacks.parts.formatting import format_bar, format_duration, format_number
from tests.support.clock import Clock


class Terminal(io.StringIO):
    def isatty(self):
        return True

    def screen(self):
        """Returns each line after its last return, without the blanks at its end."""
        return [line.rsplit("\r", 1)[-1].rstrip() for line in self.getvalue().split("\n")]


@pytest.fixture(autouse=True)
def terminal_of_eighty_columns(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def clock():
    return Clock()


def begin(stream, clock, *, epochs=30, steps=10, **arguments):
    progress = Progress(stream=stream, clock=clock, **arguments)
    progress.set_model(SimpleNamespace(optimizer=SimpleNamespace(learning_rate=0.1)))
    progress.set_params({"epochs": epochs, "steps": steps})
    progress.on_train_begin()
    return progress


def run_epoch(progress, clock, logs, *, epoch=0, step_seconds=1.0, first=0, steps=10, per_call=1):
    progress.on_epoch_begin(epoch)
    for step in range(0, steps, per_call):
        progress.on_train_batch_begin(step)
        if step >= first:
            clock.advance(step_seconds)
            progress.on_train_batch_end(step + per_call - 1, {"loss": 0.5})
    clock.advance(2.0)  # validation
    progress.on_epoch_end(epoch, logs)


LOGS = {"accuracy": 0.873, "loss": 0.412, "val_accuracy": 0.851, "val_loss": 0.501}


def test_the_line_of_an_epoch(clock):
    stream = io.StringIO()
    run_epoch(begin(stream, clock, epochs=4, images_per_epoch=12340), clock, LOGS, epoch=2)
    assert stream.getvalue() == (
        "epoch 3/4  loss 0.412  accuracy 0.873  val_loss 0.501  val_accuracy 0.851*"
        "  lr 0.1  1,234 img/s  0:12  0:12 left\n"
    )


def test_metrics_of_several_values_are_left_out(clock):
    stream = io.StringIO()
    run_epoch(begin(stream, clock), clock, {**LOGS, "f1": np.array([0.5, 0.25])})
    assert "f1" not in stream.getvalue()
    assert "loss 0.412" in stream.getvalue()


def test_only_the_best_is_marked_and_remembered(clock):
    stream = io.StringIO()
    progress = begin(stream, clock)
    for epoch, value in enumerate([0.5, 0.7, 0.6, float("nan"), 0.7, 0.8]):
        run_epoch(progress, clock, {"val_accuracy": value}, epoch=epoch)
    words = [line.split("  ")[1] for line in stream.getvalue().splitlines()]
    assert words == [
        "val_accuracy 0.500*",
        "val_accuracy 0.700*",
        "val_accuracy 0.600 (best 0.700)",
        "val_accuracy nan (best 0.700)",
        "val_accuracy 0.700 (best 0.700)",
        "val_accuracy 0.800*",
    ]


def test_the_best_loss_is_the_lowest(clock):
    stream = io.StringIO()
    progress = begin(stream, clock, monitor="loss")
    for loss in (0.5, 0.7, 0.4):
        run_epoch(progress, clock, {"loss": loss})
    assert [line.count("*") for line in stream.getvalue().splitlines()] == [1, 0, 1]


def test_the_logged_learning_rate_is_the_one_shown_even_if_zero(clock):
    stream = io.StringIO()
    run_epoch(begin(stream, clock), clock, {"learning_rate": 0.0, "loss": 1.0})
    assert "  lr 0  " in stream.getvalue()


def test_a_resumed_epoch_counts_the_steps_it_did(clock):
    whole = io.StringIO()
    rest = io.StringIO()
    run_epoch(begin(whole, clock, epochs=3, images_per_epoch=100), clock, LOGS)
    run_epoch(begin(rest, clock, epochs=3, images_per_epoch=100), clock, LOGS, first=6)
    assert whole.getvalue().endswith("10 img/s  0:12  0:24 left\n")
    assert rest.getvalue().endswith("10 img/s  0:06  0:24 left\n")


def test_steps_per_execution_count_as_steps(clock):
    stream = io.StringIO()
    run_epoch(begin(stream, clock, epochs=1), clock, LOGS, per_call=5, step_seconds=5.0)
    assert stream.getvalue().endswith("1.0 steps/s  0:12  0:00 left\n")


def test_plain_lines_without_returns_where_there_is_no_terminal(clock, monkeypatch):
    plain = io.StringIO()
    dumb = Terminal()
    run_epoch(begin(plain, clock), clock, LOGS)
    monkeypatch.setenv("TERM", "dumb")
    run_epoch(begin(dumb, clock), clock, LOGS)
    for stream in (plain, dumb):
        assert stream.getvalue().count("\n") == 1
        assert "\r" not in stream.getvalue()


def test_goes_to_stderr(clock, capsys):
    run_epoch(begin(None, clock), clock, LOGS)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("epoch 1/30  loss 0.412")


def test_the_live_bar_ends_as_the_epochs_line(clock):
    terminal = Terminal()
    plain = io.StringIO()
    for stream in (terminal, plain):
        run_epoch(begin(stream, clock), clock, LOGS)
    assert terminal.screen() == plain.getvalue().split("\n")
    live = terminal.getvalue().split("\r")[5]
    assert live == "epoch 1/30  [==========          ]   50%  0:05 left  loss 0.500  1.0 steps/s"


def test_at_most_ten_updates_a_second(clock):
    terminal = Terminal()
    run_epoch(begin(terminal, clock, steps=1000), clock, LOGS, steps=1000, step_seconds=0.003)
    assert 20 <= terminal.getvalue().count("\r") <= 31


@pytest.mark.parametrize("columns", [10, 40, 60, 200])
@pytest.mark.parametrize("steps", [1000, None])
def test_the_live_bar_fits_the_terminal_and_uses_no_codes(columns, steps, clock, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    progress = begin(terminal, clock, epochs=300, steps=steps, images_per_epoch=50000)
    run_epoch(progress, clock, {}, epoch=120, steps=1000)
    lives = terminal.getvalue().split("\r")[1:-1]
    assert len(lives) == 1000
    assert max(map(len, lives)) < columns
    assert "\x1b" not in terminal.getvalue()


def test_at_forty_columns_there_is_still_a_bar_and_the_time_left(clock, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    terminal = Terminal()
    run_epoch(begin(terminal, clock), clock, LOGS)
    assert terminal.getvalue().split("\r")[5] == "epoch 1/30  [====    ]   50%  0:05 left"


def test_an_error_elsewhere_leaves_the_bar_on_a_line_of_its_own(clock):
    terminal = Terminal()
    progress = begin(terminal, clock)
    progress.on_epoch_begin(0)
    progress.on_train_batch_end(0, {"loss": 0.5})
    for action in progress.params["on_failure"]:
        action()
        action()
    assert terminal.getvalue().endswith("\n")
    assert terminal.getvalue().count("\n") == 1


def test_refuses_a_monitor_without_direction():
    with pytest.raises(ValueError, match="'score'"):
        Progress(monitor="score")
    assert Progress(monitor="score", mode="max").best is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0:00"), (41, "0:41"), (59.6, "1:00"), (3599, "59:59"), (3723, "1:02:03")],
)
def test_clock(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0.000"),
        (0.4119, "0.412"),
        (123.4, "123.400"),
        (0.00123, "0.00123"),
        (54321.0, "5.43e+04"),
    ],
)
def test_number(value, text):
    assert format_number(value) == text


@given(
    st.text("ab", max_size=30),
    st.lists(st.text("cd", max_size=12)),
    st.none() | st.floats(0, 1),
    st.integers(1, 99),
)
def test_a_bar_is_never_wider_than_its_place(head, tail, share, width):
    assert len(format_bar(head, tail, share, width)) <= width
