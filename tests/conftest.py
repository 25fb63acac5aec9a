"""Fixtures and options that several files use."""

import gc
import logging
import sys
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("unhurried", deadline=None)  # a busy machine is no failure
settings.load_profile("unhurried")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--share",
        metavar="COUNT/SHARES",
        help="run one of so many shares of the chosen tests: the one whose number is COUNT modulo "
        "SHARES; each test belongs to one share by its name",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    share = config.getoption("--share")
    if share is None:
        return
    count, shares = map(int, share.split("/"))
    chosen = []
    others = []
    for item in items:
        is_chosen = zlib.crc32(item.nodeid.encode()) % shares == count % shares
        (chosen if is_chosen else others).append(item)
    config.hook.pytest_deselected(items=others)
    items[:] = chosen


@pytest.fixture(autouse=True)
def messages_propagate() -> None:
    """Let `caplog` have the messages again after a command in this process showed them itself."""
    logging.getLogger("epochal").propagate = True


@pytest.fixture(scope="module", autouse=True)
def graphs_of_other_files_stay_uncounted() -> Iterator[None]:
    """Spare the garbage collector, after each file, the million objects that TensorFlow keeps.

    Going through them again and again took a third of the suite's processor time.
    """
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def determinism_ends_here() -> Iterator[None]:
    """Undo, after each file, that `set_up` makes the whole process deterministic.

    Keras then compiles nothing with XLA, which tests in other files want.
    """
    yield
    if "tensorflow" in sys.modules:
        from tensorflow.python.framework.config import disable_op_determinism

        disable_op_determinism()
