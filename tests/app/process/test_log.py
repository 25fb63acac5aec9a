"""Messages: on the console, in a run's log.txt, and in both."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from epochal.app.process.log import RUN_LOG, log_file, show_messages
from epochal.app.store.run import Run


@pytest.fixture
def console() -> Iterator[None]:
    """The console of a command without -v."""
    tree = logging.getLogger("epochal")
    handlers = list(tree.handlers)
    show_messages(0)
    yield
    tree.handlers = handlers


def texts(path: Path) -> list[str]:
    """The lines of a log.txt without their times, which are checked."""
    lines = path.read_text().splitlines()
    for line in lines:
        assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", line)
    return [line[20:] for line in lines]


@pytest.mark.usefixtures("console")
def test_the_console_shows_messages_alone(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("epochal.app.somewhere").info("100 % of it")
    logging.getLogger("epochal.app.somewhere").debug("a detail")
    shown = capsys.readouterr()
    assert shown.err == "100 % of it\n"
    assert shown.out == ""


@pytest.mark.usefixtures("console")
def test_two_commands_in_one_process_say_everything_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_messages(0)
    logging.getLogger("epochal.app.somewhere").info("once")
    assert capsys.readouterr().err == "once\n"


@pytest.mark.usefixtures("console")
def test_a_locked_run_keeps_its_story(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(tmp_path)
    RUN_LOG.info("before")
    with run.locked():
        RUN_LOG.info("for both")
        RUN_LOG.debug("for the file")
        logging.getLogger("epochal.app.somewhere").info("for the console")
    RUN_LOG.info("after")
    assert texts(tmp_path / "log.txt") == ["for both", "for the file"]
    shown = capsys.readouterr().err.splitlines()
    assert shown == ["before", "for both", "for the console", "after"]


def test_a_run_within_a_run_has_a_log_of_its_own(tmp_path: Path) -> None:
    with log_file(tmp_path / "outer.txt"):
        RUN_LOG.info("outer")
        with log_file(tmp_path / "inner.txt"):
            RUN_LOG.info("inner")
        RUN_LOG.info("outer again")
    assert texts(tmp_path / "outer.txt") == ["outer", "outer again"]
    assert texts(tmp_path / "inner.txt") == ["inner"]


def test_a_log_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with log_file(tmp_path / "missing" / "log.txt"), pytest.raises(FileNotFoundError):
        RUN_LOG.info("lost")


@pytest.mark.usefixtures("console")
def test_a_console_whose_reader_has_gone_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def write(self, text: str) -> None:
            raise BrokenPipeError

    monkeypatch.setattr("sys.stderr", Gone())
    with pytest.raises(BrokenPipeError):
        logging.getLogger("epochal.app.somewhere").info("lost")
