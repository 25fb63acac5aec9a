"""Reports in a browser, on narrow and wide screens, light and dark: nothing is cut."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from epochal.app.evaluation.report import hardest, write_report
from epochal.app.store.sweep import Sweep
from epochal.app.tuning.report.sweep_results import conclude_sweep
from tests.app.evaluation.test_report import evaluation_of, images_of, report
from tests.support.browser import CHROMIUM, Page, browser
from tests.support.records import make_environment
from tests.support.sweeps import SPACE, make_sweep, standings_of, write_winner

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")]

LONG = "Gelbbauchunkenkaulquappenbeobachtungsstation"
WIDTHS = (400, 800, 1200, 1600)
# What reaches beyond the page without a part of it that scrolls, what is hidden where it is too
# long, and what spills over the part that it stands in.
CUT = """
(() => {
  const has = document.documentElement.clientWidth;
  const cut = [];
  const scrolls = element => ["auto", "scroll"].includes(getComputedStyle(element).overflowX);
  for (const element of document.querySelectorAll("body *")) {
    if (element.closest("svg")) continue;
    const width = element.clientWidth;
    if (!width || getComputedStyle(element).display === "inline") continue;
    const name = `${element.tagName}.${element.className}: ${element.textContent.slice(0, 40)}`;
    let around = element.parentElement;
    while (around && !scrolls(around)) around = around.parentElement;
    if (!around && element.getBoundingClientRect().right > has + 1) cut.push(`beyond ${name}`);
    if (element.scrollWidth <= width + 1) continue;
    const edge = getComputedStyle(element).backgroundImage.includes("gradient");
    if (!scrolls(element)) cut.push(`wide ${name}`);
    else if (!edge) cut.push(`no edge ${name}`);
  }
  for (const svg of document.querySelectorAll("svg")) {
    const card = svg.parentElement.getBoundingClientRect();
    const whole = svg.getBoundingClientRect();
    const right = Math.max(card.right, whole.right);
    for (const text of svg.querySelectorAll("text")) {
      const box = text.getBoundingClientRect();
      if (box.left < card.left || box.right > right) cut.push(`text ${text.textContent}`);
    }
  }
  return cut;
})()
"""


def write_long_report(path: Path) -> None:
    """Write the report of a run with a hundred classes of long names."""
    evaluation = evaluation_of(100, 3000)
    classes = []
    for number in range(100):
        name = f"a class of several words, number {number}"
        if number % 3 == 0:
            name = f"{LONG} {number}"
        classes.append(name)
    write_report(
        path,
        report(
            title=f"{LONG}-{LONG}",
            classes=classes,
            evaluation=evaluation,
            hardest=hardest(evaluation, images_of, 24),
            configuration="data:\n  dataset: " + "/a/long/path" * 30,
            environment=make_environment(packages={f"p{number}": "1.2.3" for number in range(60)}),
        ),
    )


def write_long_sweep(folder: Path) -> None:
    """Write a sweep over many hyperparameters of long names, and its report."""
    space: list[dict[str, Any]] = [*SPACE]
    for name in ("squeeze_and_excitation_reduction_ratio", "random_erasing_probability", LONG):
        space.append({"name": f"model_options.{name}", "kind": "linear", "low": 0.0, "high": 1.0})
    models = ["lenet5", f"a_model_{LONG.lower()}"]
    space.append({"name": "model", "kind": "choice", "values": models})
    make_sweep(folder, space=space, trials=40)
    write_winner(folder)
    winner = standings_of(folder).scored[0].name
    conclude_sweep(Sweep(folder), winner=winner, seconds=100.0)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def assert_whole(page: Page, path: Path) -> None:
    """Assert that nothing of a page is cut at any width, with all its details open."""
    for scheme in ("light", "dark"):
        media = [{"name": "prefers-color-scheme", "value": scheme}]
        page.call("Emulation.setEmulatedMedia", features=media)
        backgrounds = set()
        for width in WIDTHS:
            page.open(path.as_uri(), width)
            page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.evaluate(CUT) == [], (scheme, width)
            backgrounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        (background,) = backgrounds
        levels = [int(level) for level in background.removeprefix("rgb(").rstrip(")").split(",")]
        assert (np.mean(levels) < 128) == (scheme == "dark")


def test_nothing_of_a_run_with_long_names_is_cut(page: Page, tmp_path: Path) -> None:
    write_long_report(tmp_path / "report.html")
    assert_whole(page, tmp_path / "report.html")


def test_nothing_of_a_sweep_with_long_names_is_cut(page: Page, tmp_path: Path) -> None:
    write_long_sweep(tmp_path / "s")
    assert_whole(page, tmp_path / "s/report.html")
