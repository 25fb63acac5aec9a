"""The documentation is true: every command and every program that it shows is run, on tiny data.

In a page, a `bash` or `python` block is run. A `shell` block is not: it needs a cluster, a
container engine or a browser, or serves until somebody stops it. A block with `title="NAME"` is a
file that the blocks after it find.
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from epochal.app.commands.reference import reference
from tests.support.paths import ROOT
from tests.support.tiny_data import write_photos, write_tfds

PAGES = sorted((ROOT / "docs").glob("*.md"))
QUICK = {"models.md"}
LANGUAGES = {"bash", "python", "shell", "text", "yaml"}
FENCE = re.compile(r"^```(\S*)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    language: str
    file: str
    text: str


def blocks_of(page: Path) -> list[Block]:
    return [Block(*match.groups(default="")) for match in FENCE.finditer(page.read_text())]


def runnable(page: Path) -> bool:
    return any(block.language in ("bash", "python") for block in blocks_of(page))


def cases() -> list:
    pages = [page for page in [*PAGES, ROOT / "README.md"] if runnable(page)]
    assert len(pages) > 8
    return [
        pytest.param(page, id=page.name, marks=[] if page.name in QUICK else [pytest.mark.slow])
        for page in pages
    ]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tfds")
    write_tfds(folder)
    return folder


@pytest.mark.parametrize("page", cases())
def test_what_a_page_shows_works(page: Path, data_dir: Path, tmp_path: Path) -> None:
    write_photos(tmp_path / "photos")
    scripts = Path(sys.executable).parent
    environment = {
        **os.environ,
        "TFDS_DATA_DIR": str(data_dir),
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
    }
    program = ""
    for block in blocks_of(page):
        if block.file:
            (tmp_path / block.file).write_text(block.text)
        elif block.language == "python":
            program += block.text
        elif block.language == "bash":
            run(["bash", "-euo", "pipefail", "-c", block.text], tmp_path, environment)
    if program:
        run([sys.executable, "-c", program], tmp_path, environment)


def run(command: list[str], folder: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=1800
    )
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def test_the_page_of_flags_is_that_of_the_configuration() -> None:
    assert (ROOT / "docs/flags.md").read_text() == reference()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_says_what_it_is(page: Path) -> None:
    assert {block.language for block in blocks_of(page)} <= LANGUAGES
