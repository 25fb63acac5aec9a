"""What a plot shows is read back from the figure or the SVG; pictures are opened again."""

import re
import subprocess
import sys
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from epochal.app.characters import printable
from epochal.app.errors import StorageError
from epochal.app.evaluation import figures, plots
from epochal.app.evaluation.figures import (
    VARIABLES,
)
from epochal.app.evaluation.metrics import evaluate_logits


def history(num_epochs):
    return [
        {
            "epoch": epoch,
            "loss": 2 / epoch,
            "accuracy": 1 - 0.5 / epoch,
            "val_loss": 2.5 / epoch,
            "val_accuracy": 1 - 0.6 / epoch,
            "learning_rate": 0.1,
            "gradient_norm": 3 / epoch,
        }
        for epoch in range(1, num_epochs + 1)
    ]


def evaluation_of(num_classes, num_images=300):
    generator = np.random.default_rng(num_classes)
    labels = generator.integers(0, num_classes, num_images)
    logits = generator.normal(size=(num_images, num_classes)).astype(np.float32)
    logits[np.arange(num_images), labels] += 2
    return evaluate_logits(logits, labels)


def texts(svg):
    """Return every text of an SVG, after a strict parser has accepted it."""
    return [element.text for element in parsed(svg).iter("text")]


def parsed(svg):
    """Return an SVG's root element."""
    # str, because a Markup would escape what is put into it.
    return ElementTree.fromstring(str(svg).replace("<svg", '<svg xmlns:xlink="x"', 1))


def lines(rows, best_epoch=None, panel=0):
    """Label to values of the curves in one panel."""
    axes = Figure().add_subplot()
    plots.draw_panel(axes, plots.PANELS[panel], rows, best_epoch)
    return axes, {line.get_label(): line.get_xydata() for line in axes.lines}


def test_a_panel_draws_exactly_the_values_of_the_history():
    axes, drawn = lines(history(3), best_epoch=2, panel=1)
    np.testing.assert_allclose(drawn["training"], [[1, 50], [2, 75], [3, 100 - 50 / 3]])
    np.testing.assert_allclose(drawn["validation"], [[1, 40], [2, 70], [3, 80]])
    np.testing.assert_allclose(drawn["best epoch 2"][:, 0], 2)
    assert (axes.get_title(loc="left") or axes.get_title(), axes.get_xlabel()) == (
        "Accuracy",
        "epoch",
    )
    assert axes.get_ylabel() == "accuracy (%)"


@pytest.mark.parametrize("hole", [None, "", float("nan"), float("inf"), "nan"])
def test_a_missing_value_is_a_gap(hole):
    rows = history(3)
    rows[1]["val_loss"] = hole
    _, drawn = lines(rows)
    np.testing.assert_allclose(drawn["validation"][:, 1], [2.5, np.nan, 2.5 / 3])
    del rows[1]["val_loss"]
    np.testing.assert_allclose(lines(rows)[1]["validation"][:, 1], [2.5, np.nan, 2.5 / 3])


def test_values_read_back_from_csv_are_numbers():
    rows = [{key: str(value) for key, value in row.items()} for row in history(2)]
    np.testing.assert_allclose(lines(rows)[1]["training"], [[1, 2], [2, 1]])


def test_epochs_without_number_count_from_one():
    np.testing.assert_allclose(
        lines([{"loss": 2.0}, {"loss": 1.0}])[1]["training"], [[1, 2], [2, 1]]
    )


def test_a_curve_without_any_value_has_neither_line_nor_panel():
    rows = [{"epoch": 1, "loss": 1.0, "val_loss": float("nan"), "learning_rate": None}]
    assert set(lines(rows)[1]) == {"training"}
    assert [re.search('aria-label="(.*?)"', svg)[1] for svg in plots.curves_svg(rows)] == ["Loss"]
    assert plots.curves_svg([]) == []


@pytest.mark.parametrize(
    ("rates", "scale"),
    [
        ([0.1, 0.001], "log"),
        ([0.1, 0.05], "linear"),
        ([0.1, 0.0], "linear"),
        ([0.0, 0.0], "linear"),
    ],
)
def test_an_axis_is_logarithmic_only_where_needed_and_possible(rates, scale):
    rows = [{"epoch": epoch, "learning_rate": rate} for epoch, rate in enumerate(rates)]
    axes, _ = lines(rows, panel=2)
    assert axes.get_yscale() == scale
    assert axes.get_ylim()[0] == 0 or scale == "log"


def test_a_rate_is_that_of_its_whole_epoch():
    rows = [
        {"epoch": epoch, "loss": 1.0, "learning_rate": rate}
        for epoch, rate in enumerate((0.1, 0.1, 0.01), 1)
    ]
    (rate,), (loss, *_) = (lines(rows, panel=panel)[0].lines for panel in (2, 0))
    drawn = rate.get_path().cleaned().vertices[:-1]
    assert {x: y for x, y in drawn if x != 2.5} == {1: 0.1, 1.5: 0.1, 3: 0.01}
    assert sorted(y for x, y in drawn if x == 2.5) == [0.01, 0.1]  # it drops between the epochs
    assert loss.get_drawstyle() == "default"


@pytest.mark.parametrize(("num_epochs", "panels"), [(0, 0), (1, 4), (2, 4), (200, 4)])
def test_curves_become_a_png_and_one_svg_a_panel(tmp_path, num_epochs, panels):
    plots.curves_png(tmp_path / "curves.png", history(num_epochs), best_epoch=num_epochs)
    with Image.open(tmp_path / "curves.png") as image:
        assert image.format == "PNG"
        assert min(image.size) > 400
        assert len(image.convert("L").getcolors()) > 10  # something is drawn
    drawn = plots.curves_svg(history(num_epochs))
    assert len(drawn) == panels
    for svg, title in zip(
        drawn, ("Loss", "Accuracy", "Learning rate", "Gradient norm"), strict=False
    ):
        assert {title, "epoch"} <= set(texts(svg))


@pytest.mark.parametrize(
    "num_classes", [2, 10, 20, 21, *(pytest.param(n, marks=pytest.mark.slow) for n in (100, 130))]
)
def test_confusion_names_every_class_and_numbers_few(tmp_path, num_classes):
    evaluation = evaluation_of(num_classes)
    classes = [f"class {index}" for index in range(num_classes)]
    plots.confusion_png(tmp_path / "confusion.png", evaluation, classes)
    with Image.open(tmp_path / "confusion.png") as image:
        assert 400 < min(image.size) <= max(image.size) < 4000
    shown = texts(plots.confusion_svg(evaluation, classes))
    assert [text for text in shown if text in classes] == 2 * (
        classes if num_classes <= 120 else classes[::2]
    )
    numbers = sorted(text for text in shown if re.fullmatch(r"\d+", text or ""))
    cells = sorted(str(cell) for cell in evaluation.confusion.ravel() if cell)
    assert numbers == (cells if num_classes <= 20 else [])


def test_strange_class_names_are_text_and_nothing_else():
    classes = [
        "<script>",
        "$\\alpha$",
        "a\nb",
        "\udc80",
        "long " * 9,
        "日本",
        ' id="a_1"',
        "#1f2328",
    ]
    svg = plots.confusion_svg(evaluation_of(8), classes)
    shown = texts(svg)
    assert "<script" not in svg
    assert {
        "<script>",
        "$\\alpha$",
        "a\\nb",
        "\\udc80",
        "long long long lo…",
        "日本",
        "#1f2328",
    } <= set(shown)


def test_an_svg_fits_inside_a_page():
    drawn = [
        *plots.curves_svg(history(3), 2),
        plots.confusion_svg(evaluation_of(3), ["a", "b", "c"]),
    ]
    for svg in drawn:
        assert svg.startswith('<svg role="img"')
        assert "http" not in svg
        assert "<style" not in svg
        assert set(re.findall(r"url\(#(.*?)\)", svg)) <= set(re.findall(r' id="(.*?)"', svg))
        assert not re.findall(r"(?:fill|stroke): (?!#ffffff)#", svg)  # only page colours, and white
        assert set(re.findall(r"var\((.*?)\)", svg)) <= set(VARIABLES.values())


@pytest.mark.parametrize("letters", [10, 60])
def test_a_long_title_is_within_the_picture(letters):
    svg = figures.svg((4.8, 3.0), lambda axes: axes.set_title("w" * letters), "")
    root = parsed(svg)
    left, _, width, height = (float(side) for side in root.attrib["viewBox"].split())
    (title,) = [text for text in root.iter("text") if text.text == "w" * letters]
    begin = float(title.attrib["x"])
    least = 0.6 * 11.5 * letters  # a w is wider than that
    assert left <= begin
    assert begin + least <= left + width
    if letters == 10:
        assert (width, height) == pytest.approx((4.8 * 72, 3.0 * 72))


def test_equal_data_gives_equal_bytes(tmp_path):
    evaluation = evaluation_of(3)
    for name in ("one.png", "two.png"):
        plots.confusion_png(tmp_path / name, evaluation, "abc")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert plots.curves_svg(history(4)) == plots.curves_svg(history(4))


def test_a_class_without_images_is_an_empty_row():
    evaluation = evaluate_logits(np.eye(3, dtype=np.float32)[[0, 1]], np.array([0, 0]))
    assert texts(plots.confusion_svg(evaluation, "abc")).count("1") == 2


def test_wrong_number_of_names_and_missing_folder_are_errors(tmp_path):
    with pytest.raises(ValueError, match="3 classes, got 2 names"):
        plots.confusion_png(tmp_path / "confusion.png", evaluation_of(3), ["a", "b"])
    with pytest.raises(StorageError, match="absent"):
        plots.curves_png(tmp_path / "absent" / "curves.png", history(2))
    assert list(tmp_path.iterdir()) == []


def test_drawing_leaves_the_settings_of_matplotlib_alone():
    before = dict(matplotlib.rcParams)
    plots.curves_svg(history(2))
    assert dict(matplotlib.rcParams) == before


def test_importing_plots_imports_neither_matplotlib_nor_tensorflow():
    heavy = {"matplotlib", "tensorflow", "PIL"}
    code = f"import sys, app.evaluation.report as _; print({heavy} & set(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "set()\n"


def test_printable_keeps_what_can_be_seen():
    assert printable("Äpfel 日本 x") == "Äpfel 日本 x"
    assert printable("می\u200cخواهم\u3000👩\u200d👧") == "می\u200cخواهم\u3000👩\u200d👧"
    assert printable("a\x1b[31m\u202e\0") == "a\\x1b[31m\\u202e\\x00"
    assert printable(3) == "3"
