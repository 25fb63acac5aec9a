"""The report as a browser would read it: parsed, escaped, complete, with nothing from outside."""

import base64
import io
import re

import numpy as np
import pytest
from markupsafe import Markup
from PIL import Image

from epochal.app.evaluation.metrics import evaluate_logits
from epochal.app.evaluation.report import HardImage, Report, hardest, report_html, write_report
from epochal.app.evaluation.sections import Section
from tests.support.page import Page
from tests.support.records import make_environment, make_result


def evaluation_of(num_classes=3, num_images=60):
    generator = np.random.default_rng(0)
    labels = generator.integers(0, num_classes, num_images)
    logits = generator.normal(size=(num_images, num_classes)).astype(np.float32)
    logits[np.arange(num_images), labels] += 1
    return evaluate_logits(logits, labels)


def images_of(indices):
    """An image whose every pixel is its own position."""
    return np.stack([np.full((5, 7, 3), index, np.uint8) for index in indices])


def report(**changes):
    evaluation = changes.pop("evaluation", evaluation_of())
    values = {
        "title": "quiet-otter",
        "classes": ["ant", "bee", "cat"],
        "evaluation": evaluation,
        "history": [{"epoch": 1, "loss": 1.0, "val_loss": 1.2, "learning_rate": 0.1}],
        "result": make_result(
            dataset="insects",
            model="lenet5",
            params=61706,
            epochs=9,
            best_epoch=7,
            wall_seconds=200.2,
            images_per_second=3210.4,
        ),
        "hardest": hardest(evaluation, images_of, 4),
        "configuration": "data:\n  dataset: insects",
        "environment": make_environment(),
    }
    return Report(**values | changes)


def test_report_shows_the_headline_figures():
    shown = report()
    text = Page(report_html(shown)).text
    low, high = shown.evaluation.interval
    for expected in (
        "quiet-otter",
        "insects · lenet5 · 3 classes",
        f"Test accuracy {100 * shown.evaluation.accuracy:.2f} %",
        f"95 % interval {100 * low:.1f} % to {100 * high:.1f} %",
        f"Test loss {shown.evaluation.loss:.4f}",
        "over 60 images",
        "Parameters 61,706",
        "Epochs 9",
        "Best epoch 7",
        "Wall time 3 min 20 s",
        "Training speed 3,210",
        "dataset: insects",
        "'keras': '3.15.1'",
        f"test_accuracy: {shown.evaluation.accuracy}",
    ):
        assert expected in text, expected


def test_report_holds_curves_matrix_and_images_itself(tmp_path):
    write_report(tmp_path / "report.html", report())
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(html)
    assert page.tags.count("svg") == 3  # loss, learning rate, confusion matrix
    assert page.tags.count("details") == 3
    assert "http:" not in html
    assert "https:" not in html
    assert not {"script", "link", "iframe", "object", "base"} & set(page.tags)
    for _, name, value in page.attributes:
        if name in ("src", "href", "xlink:href", "action"):
            assert value.startswith(("data:image/png;base64,", "#"))
    assert "prefers-color-scheme: dark" in html
    assert ("meta", "name", "viewport") in page.attributes


def test_no_part_of_the_page_is_cut():
    section = Section(title="t", text="", table=(("layer", "figure"), ("conv", "w" * 90)))
    page = Page(report_html(report(sections=[section])))
    assert page.tags.count("table") == 3
    page.assert_nothing_is_cut()
    assert ("td", "class", "words") in page.attributes


@pytest.mark.parametrize(
    "poison", ["<script>alert(1)</script>", '"><img src=x onerror=y>', "&lt;b&gt;", "$title"]
)
def test_nothing_from_outside_becomes_markup(poison):
    clean = Page(report_html(report()))
    page = Page(
        report_html(
            report(
                title=poison,
                classes=[poison, "bee", "cat"],
                result=make_result(dataset=poison, model=poison),
                configuration=f"data:\n  name: {poison}",
                environment=make_environment(python=poison, packages={poison: poison}),
            )
        )
    )
    assert page.tags == clean.tags
    assert page.text.count(poison) >= 10
    assert {name for _, name, _ in page.attributes} == {name for _, name, _ in clean.attributes}


def test_names_that_no_encoding_knows_are_written_as_escapes(tmp_path):
    classes = ["\udc80", "a\0b\u202e", "日本"]
    write_report(
        tmp_path / "report.html", report(classes=classes, configuration="x: \udc80\n\x1b[0m")
    )
    text = Page((tmp_path / "report.html").read_text(encoding="utf-8")).text
    for expected in ("\\udc80", "a\\x00b\\u202e", "日本", "\\x1b[0m"):
        assert expected in text


def test_hardest_are_those_of_highest_loss_in_order():
    evaluation = evaluation_of()
    found = hardest(evaluation, images_of, 5)
    expected = sorted(range(60), key=lambda index: -evaluation.losses[index])[:5]
    assert [hard.index for hard in found] == expected
    for hard in found:
        assert (hard.image == hard.index).all()
        assert hard.label == evaluation.labels[hard.index]
        assert hard.prediction == evaluation.predictions[hard.index]
        assert (hard.loss, hard.probability) == (
            evaluation.losses[hard.index],
            evaluation.confidences[hard.index],
        )


def test_hardest_breaks_ties_by_position_and_stops_at_the_last_image():
    evaluation = evaluate_logits(np.zeros((3, 2), np.float32), np.array([0, 1, 0]))
    assert [hard.index for hard in hardest(evaluation, images_of)] == [0, 1, 2]
    assert hardest(evaluation, lambda indices: [], 0) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda indices: images_of(indices)[1:], "must return 32 images, got 31"),
        (lambda indices: images_of(indices) / 255, "got float64"),
        (lambda indices: images_of(indices)[..., :2], r"got uint8 \(5, 7, 2\)"),
    ],
)
def test_hardest_refuses_images_that_do_not_fit(wrong, message):
    with pytest.raises(ValueError, match=message):
        hardest(evaluation_of(), wrong)


@pytest.mark.parametrize(
    ("shape", "mode", "size"), [((5, 7, 3), "RGB", (7, 5)), ((640, 320, 1), "L", (80, 160))]
)
def test_images_travel_inside_the_page_and_large_ones_shrink(shape, mode, size):
    hard = HardImage(
        index=4,
        image=np.full(shape, 200, np.uint8),
        label=0,
        prediction=2,
        probability=0.99999,
        loss=8.0,
    )
    html = report_html(report(hardest=[hard]))
    data = re.search(r'<img src="data:image/png;base64,(.*?)"', html)[1]
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        assert (image.mode, image.size) == (mode, size)
        assert (np.asarray(image) == 200).all()
    assert "ant ✗ cat 99 % · loss 8.00" in Page(html).text  # not 100 %


def test_tables_list_weakest_class_and_commonest_mistake_first():
    labels = np.array([0] * 4 + [1] * 4 + [2] * 2)
    logits = np.eye(4, dtype=np.float32)[[0, 0, 0, 0, 2, 2, 1, 0, 2, 2]]
    evaluation = evaluate_logits(logits, labels)
    shown = report(evaluation=evaluation, classes=["ant", "bee", "cat", "dog"], hardest=())
    text = Page(report_html(shown)).text
    assert "bee cat 2 50.0 % bee ant 1 25.0 %" in text
    order = [
        "bee 40.0 % 100.0 % 25.0 % 4",
        "cat 66.7 %",
        "ant 88.9 % 80.0 % 100.0 % 4",
        "dog – – – 0",
    ]
    places = [text.index(row) for row in order]
    assert places == sorted(places)


def test_a_perfect_run_and_a_bare_one_have_a_report_too():
    evaluation = evaluate_logits(np.eye(3, dtype=np.float32), np.arange(3))
    bare = Report(title="bare", classes=["a", "b", "c"], evaluation=evaluation)
    text = Page(report_html(bare)).text
    assert "Test accuracy 100.00 %" in text
    assert "None: every image is right." in text
    assert "Wall time" not in text


def test_an_almost_perfect_accuracy_is_not_rounded_to_perfect():
    labels = np.zeros(30_000, np.int64)
    logits = np.tile(np.float32([1, 0, 0]), (30_000, 1))
    labels[0] = 1
    text = Page(report_html(report(evaluation=evaluate_logits(logits, labels), hardest=()))).text
    assert "Test accuracy 99.99 %" in text


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (8.04, "8.0 s"),
        (59.96, "1 min 00 s"),
        (200.2, "3 min 20 s"),
        (3599.7, "1 h 00 min"),
        (7531, "2 h 06 min"),
    ],
)
def test_wall_time_is_readable(seconds, expected):
    assert (
        f"Wall time {expected}"
        in Page(report_html(report(result=make_result(wall_seconds=seconds)))).text
    )


def test_classes_must_fit_the_evaluation(tmp_path):
    with pytest.raises(ValueError, match="3 classes, got 1 names"):
        write_report(tmp_path / "report.html", report(classes=["ant"]))
    assert list(tmp_path.iterdir()) == []


def test_sections_stand_in_the_page_escaped():
    table = (("layer", "dead"), ("<conv>", "3.1 %"))
    section = Section(
        title="Dead & gone", text="a < b", figures=(Markup("<svg></svg>"),), table=table
    )
    page = Page(report_html(report(sections=[section, Section(title="Short", text="only words")])))
    for words in ("Dead & gone", "a < b", "<conv> 3.1 %", "only words"):
        assert words in page.text
