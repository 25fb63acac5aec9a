"""The count of a test split's uses: from the end of training on, by many processes at once."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from epochal.app.errors import StorageError
from epochal.app.evaluation.split_uses import count_test_use
from epochal.app.store.run import Run
from tests.support.messages import heard
from tests.support.paths import ROOT
from tests.support.records import make_result

PROGRAM = """
import sys
from pathlib import Path
from epochal.app.store.run import Run

for _ in range(25):
    Run(Path(sys.argv[1])).count_test_use()
"""


def test_every_use_is_counted_once_whoever_counts_at_once(tmp_path: Path) -> None:
    def count(_: int) -> None:
        command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
        subprocess.run(command, cwd=ROOT, check=True)

    with ThreadPoolExecutor() as pool:
        list(pool.map(count, range(4)))
    assert Run(tmp_path).test_uses() == 100


@pytest.mark.parametrize(("result", "uses"), [(make_result(), 1), (make_result(test=None), 0)])
def test_a_run_that_did_not_count_was_used_where_it_has_test_figures(
    tmp_path: Path, result, uses: int
) -> None:
    run = Run(tmp_path)
    run.write_result(result)
    assert run.test_uses() == uses
    assert run.count_test_use() == uses + 1
    assert json.loads(run.test_uses_file.read_text()) == {"schema": 1, "uses": uses + 1}


def test_a_new_run_has_not_been_used(tmp_path: Path) -> None:
    assert Run(tmp_path).test_uses() == 0


def test_a_damaged_count_is_told_and_left_alone(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.test_uses_file.write_text("{")
    with pytest.raises(StorageError, match="missing or damaged"):
        run.count_test_use()
    with heard() as lines:
        assert count_test_use(run) is None
    assert any("not counted" in line for line in lines)
    assert run.test_uses_file.read_text() == "{"


def test_a_folder_that_is_gone_warns(tmp_path: Path) -> None:
    with heard() as lines:
        assert count_test_use(Run(tmp_path / "gone")) is None
    assert len(lines) == 1
