"""Command lines of a generated grammar: every error is told, none is a bug, and nothing is left.

A failing line is printed with the files and variables that it meets.
"""

import contextlib
import os
import secrets
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from epochal.app.commands.arguments import flag_of
from epochal.app.commands.main import COMMANDS, main
from epochal.app.config import SETTINGS
from tests.support.command_lines import DOCUMENTED, carry_out, check, make_folder
from tests.support.grammar import NONSENSE, Line, flags_of, lines, make_line

# Of the long run: more lines, or those of an earlier one, can be asked for in the environment.
_LINES = int(os.environ.get("EPOCHAL_LINES", "150"))
_SEED = int(os.environ.get("EPOCHAL_SEED", secrets.randbits(32)))
_SECONDS = 8  # after which a line that is carried out is stopped
_one_example_at_a_time = settings(
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)

# What a line meets is not what pytest thinks of warnings: a process shows them.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bare")
    make_folder(folder, trained=False)
    return folder


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("furnished")
    make_folder(folder, trained=True)
    return folder


def judge(line: Line, folder: Path) -> None:
    with contextlib.chdir(folder):
        check(line, carry_out(line, _SECONDS))


def test_the_grammar_has_every_flag_of_every_setting() -> None:
    for command in COMMANDS:
        flags = flags_of(command)
        assert "--help" in flags
        if "--epochs" in flags:
            assert {flag_of(key) for key in SETTINGS} <= set(flags)


def test_some_words_for_each_setting_are_no_bug(bare: Path, capsys) -> None:
    for number, key in enumerate(SETTINGS):
        judge_words(key, NONSENSE[number % 60 :: 60], bare, capsys)


@pytest.mark.slow
def test_a_fifth_of_all_words_for_each_setting_is_no_bug(bare: Path, capsys) -> None:
    print(f"EPOCHAL_SEED={_SEED}")
    for number, key in enumerate(SETTINGS):
        judge_words(key, NONSENSE[(number + _SEED) % 5 :: 5], bare, capsys)


def judge_words(key: str, words: Sequence[str], folder: Path, capsys: Any) -> None:
    """Give a setting words that it was not made for, by its flag and in a file."""
    group, _, name = key.rpartition(".")
    file = folder / "words.yaml"
    for word in words:
        text = f"{group}:\n  {name}: {word}\n" if group else f"{name}: {word}\n"
        file.write_bytes(text.encode("utf-8", "replace"))
        with contextlib.chdir(folder):
            by_flag = main(["train", f"{flag_of(key)}={word}", "--print-config"])
            by_file = main(["train", "--config", "words.yaml", "--print-config"])
        errors = capsys.readouterr().err
        assert {by_flag, by_file} <= {0, 2, 4}, (key, word, errors)
        for line in errors.splitlines():
            assert line.startswith("error: "), (key, word)
    file.unlink(missing_ok=True)


@settings(_one_example_at_a_time, max_examples=100, derandomize=True)
@given(line=lines(light=True))
def test_a_sample_of_lines(bare: Path, line: Line) -> None:
    judge(line, bare)


@pytest.mark.slow
def test_lines_of_all_commands(furnished: Path) -> None:
    print(f"EPOCHAL_SEED={_SEED}")

    @seed(_SEED)
    @settings(_one_example_at_a_time, max_examples=_LINES)
    @given(line=lines())
    def each(line: Line) -> None:
        judge(line, furnished)

    each()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("streams", "variables"),
    [
        (">&-", {}),
        ("2>&-", {}),
        ("<&- >&- 2>&-", {"TERM": "dumb"}),
        ("", {"PYTHONIOENCODING": "ascii", "NO_COLOR": "1", "LC_ALL": "C"}),
        ("", {"HOME": "/nonexistent", "TMPDIR": "/nonexistent", "COLUMNS": "x"}),
        ("", {"PYTHONHASHSEED": "0", "TFDS_DATA_DIR": "\udcff/x", "COLUMNS": "-1"}),
    ],
)
def test_lines_of_processes(streams: str, variables: dict[str, str], bare: Path) -> None:
    print(f"EPOCHAL_SEED={_SEED}")
    random = Random(f"{_SEED} {streams} {variables}")
    for command in random.sample(COMMANDS, 3):
        line = make_line(random, command, light=True)
        words = [word.encode("utf-8", "replace") for word in line.words]
        program = [sys.executable, "-P", "-m", "epochal"]
        done = subprocess.run(
            ["bash", "-c", f'exec "$@" {streams}', "bash", *program, *words],
            cwd=bare,
            env=os.environ | variables,
            capture_output=True,
            timeout=200,
        )
        assert done.returncode in DOCUMENTED, (line, done.stderr)
        assert b"Traceback" not in done.stderr, (line, done.stderr)
