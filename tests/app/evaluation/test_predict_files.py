"""Files to predict that are none."""

import os
from pathlib import Path

import pytest

from epochal.app.errors import UsageError
from epochal.app.evaluation.predict_files import predict_files
from epochal.app.store.run import Run


@pytest.mark.parametrize(
    ("name", "expected"), [("pipes", "holds no image among 1 files"), ("p" * 300, "does not exist")]
)
def test_what_is_no_file_is_refused_before_it_is_read(
    name: str, expected: str, tmp_path: Path
) -> None:
    (tmp_path / "pipes").mkdir()
    os.mkfifo(tmp_path / "pipes/pipe.png")
    predictions = predict_files(Run(tmp_path), [tmp_path / name], report_unreadable=print)
    with pytest.raises(UsageError, match=expected):
        list(predictions)
