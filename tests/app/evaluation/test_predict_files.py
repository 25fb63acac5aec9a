"""Files to predict that are none."""

from pathlib import Path

import pytest

from epochal.app.errors import UsageError
from epochal.app.evaluation.predict_files import predict_files
from epochal.app.store.run import Run


@pytest.mark.parametrize(
    ("name", "expected"),
    [("/dev/zero", "is a device"), ("/dev", "is a folder"), ("p" * 300, "does not exist")],
)
def test_what_is_no_file_is_refused_before_it_is_read(
    name: str, expected: str, tmp_path: Path
) -> None:
    predictions = predict_files(Run(tmp_path), [Path(name)], report_unreadable=print)
    with pytest.raises(UsageError, match=expected):
        list(predictions)
