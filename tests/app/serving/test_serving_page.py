"""The server's page in a browser: with a picture, a broken file, a keyboard, a narrow screen."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.browser import CHROMIUM, Page, browser
from tests.support.program import epochal
from tests.support.servers import Server, started

pytest.importorskip("fastapi")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")]
SEEN = "Array.from(document.getElementById('seen').getContext('2d').getImageData(0, 0, 8, 8).data)"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serves a softmax regression of the digits."""
    folder = tmp_path_factory.mktemp("home")
    done = epochal(["train", "--model", "softmax", "--epochs", 2, "--name", "digits"], folder)
    assert done.returncode == 0, done.stderr
    done = epochal(["export", "digits"], folder)
    assert done.returncode == 0, done.stderr
    with started(folder / "saved_models/digits") as process:
        yield process


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "seven.png")
    return tmp_path / "seven.png"


def text(page: Page, name: str) -> str:
    return page.evaluate(f"document.getElementById('{name}').innerText")


def test_the_card_and_the_command_are_there_at_once(page: Page, server: Server) -> None:
    page.open(f"http://{server.place}/")
    page.wait_for("document.title === 'digits'")
    assert "softmax, 650 parameters, float32" in text(page, "card")
    assert f"curl http://{server.place}/v1/models/digits:predict" in text(page, "curl")


def test_a_picture_is_classified_and_shown_as_the_model_sees_it(
    page: Page, server: Server, picture: Path
) -> None:
    page.open(f"http://{server.place}/")
    page.wait_for("document.title === 'digits'")
    page.choose("#file", picture)
    page.wait_for("!document.getElementById('seen').hidden")
    assert text(page, "best") in "0123456789"
    rows = page.evaluate(
        "Array.from(document.querySelectorAll('#classes tr')).map(row => row.innerText)"
    )
    shares = [float(row.split()[1]) for row in rows]
    assert shares == sorted(shares, reverse=True)
    assert len(shares) == 5
    seen = np.array(page.evaluate(SEEN)).reshape(8, 8, 4)[..., 0]
    np.testing.assert_array_equal(seen, np.asarray(Image.open(picture)))


def test_a_broken_file_is_an_error_in_words(page: Page, server: Server, tmp_path: Path) -> None:
    page.open(f"http://{server.place}/")
    page.wait_for("document.title === 'digits'")
    (tmp_path / "broken.png").write_bytes(b"no image")
    page.choose("#file", tmp_path / "broken.png")
    page.wait_for("!document.getElementById('error').hidden")
    assert text(page, "error").startswith(
        "broken.png: expected one of JPEG, PNG, GIF, BMP, WebP, got 110 111"
    )
    assert page.evaluate("document.getElementById('result').hidden")


def test_the_keyboard_reaches_the_file_first(page: Page, server: Server) -> None:
    page.open(f"http://{server.place}/")
    page.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"
    border = page.evaluate("getComputedStyle(document.getElementById('drop')).borderTopColor")
    bar = page.evaluate(
        "(() => { const probe = document.createElement('i'); probe.style.color = 'var(--bar)';"
        " document.body.append(probe); return getComputedStyle(probe).color; })()"
    )
    assert border == bar


def test_nothing_is_cut_off_on_a_narrow_screen(page: Page, server: Server, picture: Path) -> None:
    page.open(f"http://{server.place}/", width=340, height=700)
    page.choose("#file", picture)
    page.wait_for("!document.getElementById('seen').hidden")
    assert page.evaluate("document.documentElement.scrollWidth") <= 340
