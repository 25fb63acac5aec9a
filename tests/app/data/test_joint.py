"""Joint transforms: boxes against the masks of the same rectangles, and against sampled edges."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from epochal.app.data.augment.joint import AnnotatedImage, crop, flip, rotate, scale
from epochal.app.errors import UsageError

WIDTH, HEIGHT = 40, 30


@st.composite
def rectangles(draw: st.DrawFn) -> tuple[int, int, int, int]:
    left = draw(st.integers(0, WIDTH - 3))
    top = draw(st.integers(0, HEIGHT - 3))
    right = draw(st.integers(left + 3, WIDTH))
    bottom = draw(st.integers(top + 3, HEIGHT))
    return left, top, right, bottom


def drawn(box: tuple[int, int, int, int]) -> AnnotatedImage:
    """Return an image in which a rectangle is bright, marked in the mask and boxed."""
    left, top, right, bottom = box
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[top:bottom, left:right] = 7
    return AnnotatedImage(
        image=np.repeat(mask[..., None] * 20, 3, axis=2),
        label=3,
        boxes=np.array([box], np.float32),
        box_labels=np.array([5]),
        mask=mask,
        keypoints=np.array([[left + 0.5, top + 0.5]], np.float32),
    )


def box_of(mask: np.ndarray) -> list[int]:
    rows, columns = np.nonzero(mask)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def check_box(moved: AnnotatedImage) -> None:
    assert moved.mask is not None
    assert set(np.unique(moved.mask)) <= {0, 7}
    assert moved.label == 3
    np.testing.assert_allclose(moved.boxes[0], box_of(moved.mask), atol=1.0)
    np.testing.assert_array_equal(moved.box_labels, [5])


@settings(max_examples=40)
@given(rectangles())
def test_a_flipped_box_is_that_of_the_flipped_mask(box: tuple[int, int, int, int]) -> None:
    annotated = drawn(box)
    once = flip(annotated)
    check_box(once)
    np.testing.assert_array_equal(once.boxes[0], box_of(once.mask))
    twice = flip(once)
    for name in ("image", "boxes", "mask", "keypoints"):
        np.testing.assert_array_equal(getattr(twice, name), getattr(annotated, name))


@settings(max_examples=40)
@given(rectangles(), rectangles())
def test_a_cropped_box_is_that_of_the_cropped_mask(
    box: tuple[int, int, int, int], window: tuple[int, int, int, int]
) -> None:
    moved = crop(drawn(box), window, least_visible=0.0)
    if np.any(moved.mask):
        check_box(moved)
        np.testing.assert_array_equal(moved.boxes[0], box_of(moved.mask))
    else:
        assert len(moved.boxes) == 0
        assert len(moved.box_labels) == 0


@settings(max_examples=40)
@given(rectangles(), st.integers(10, 90), st.integers(14, 90))
def test_a_scaled_box_is_that_of_the_scaled_mask(
    box: tuple[int, int, int, int], height: int, width: int
) -> None:
    moved = scale(drawn(box), height, width)
    assert moved.image.shape == (height, width, 3)
    check_box(moved)


@settings(max_examples=60)
@given(rectangles(), st.floats(-180, 180))
def test_a_turned_box_is_that_of_the_turned_mask(
    box: tuple[int, int, int, int], degrees: float
) -> None:
    # A frame around the image keeps all corners inside: where the border cuts a corner off, what is
    # left may be thinner than any pixel.
    annotated = drawn(box)
    framed = AnnotatedImage(
        image=np.pad(annotated.image, ((30, 30), (30, 30), (0, 0))),
        label=3,
        boxes=annotated.boxes + 30,
        box_labels=annotated.box_labels,
        mask=np.pad(annotated.mask, 30),
    )
    check_box(rotate(framed, degrees))


@settings(max_examples=60)
@given(rectangles(), st.floats(-180, 180))
def test_a_turned_box_surrounds_what_the_border_leaves_of_it(
    box: tuple[int, int, int, int], degrees: float
) -> None:
    left, top, right, bottom = box
    centre = np.array([WIDTH / 2, HEIGHT / 2])
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    # The extremes of the visible part lie on the box's edges or are corners of the image.
    share = np.linspace(0, 1, 4001)[:, None]
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float)
    edges = [(1 - share) * corners[i - 1] + share * corners[i] for i in range(4)]
    points = (np.concatenate(edges) - centre) @ turn.T + centre
    is_inside = np.all((points >= 0) & (points <= 2 * centre), axis=1)
    frame = np.array([[0, 0], [WIDTH, 0], [WIDTH, HEIGHT], [0, HEIGHT]], float)
    before = (frame - centre) @ turn + centre
    is_covered = np.all((before >= [left, top]) & (before <= [right, bottom]), axis=1)
    visible = np.concatenate([points[is_inside], frame[is_covered]])
    moved = rotate(drawn(box), degrees, least_visible=0.0)
    if len(moved.boxes) == 0:
        assert len(visible) == 0 or np.ptp(visible, axis=0).min() < 0.1
        return
    expected = [*visible.min(axis=0), *visible.max(axis=0)]
    np.testing.assert_allclose(moved.boxes[0], expected, atol=0.1)


def test_a_quarter_turn_is_numpys() -> None:
    image = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    mask = np.arange(81, dtype=np.int32).reshape(9, 9)
    keypoint = np.array([[0.5, 2.5]], np.float32)
    turned = rotate(AnnotatedImage(image=image, mask=mask, keypoints=keypoint), 90)
    np.testing.assert_array_equal(turned.image, np.rot90(image))
    np.testing.assert_array_equal(turned.mask, np.rot90(mask))
    np.testing.assert_allclose(turned.keypoints, [[2.5, 8.5]], atol=1e-5)


@settings(max_examples=40)
@given(rectangles(), st.floats(-30, 30))
def test_keypoints_go_with_their_pixels(box: tuple[int, int, int, int], degrees: float) -> None:
    moved = rotate(drawn(box), degrees)
    across, down = np.floor(moved.keypoints[0]).astype(int)
    is_inside = 0 <= across < WIDTH and 0 <= down < HEIGHT
    assert moved.inside.tolist() == [is_inside]
    if is_inside:
        near = moved.mask[max(0, down - 1) : down + 2, max(0, across - 1) : across + 2]
        assert near.any()


def test_a_keypoint_that_left_stays_flagged() -> None:
    annotated = drawn((2, 2, 8, 8))
    cut = crop(annotated, (10, 10, 30, 30))
    np.testing.assert_array_equal(cut.keypoints, [[-7.5, -7.5]])
    assert not cut.inside.any()
    # Turned by half, it would lie inside the larger window's coordinates; its pixel is gone.
    assert not rotate(cut, 180).inside.any()


@pytest.mark.parametrize(("least", "kept"), [(0.5, 1), (0.51, 0)])
def test_boxes_of_which_little_is_left_are_dropped(least: float, kept: int) -> None:
    moved = crop(drawn((0, 0, 10, 10)), (5, 0, 40, 30), least_visible=least)
    assert len(moved.boxes) == len(moved.box_labels) == kept


def test_scaling_averages_like_a_mean_of_blocks() -> None:
    image = np.random.default_rng(1).integers(0, 256, (8, 8, 1), dtype=np.uint8)
    constant = np.full((8, 8, 1), 93, np.uint8)
    np.testing.assert_array_equal(scale(AnnotatedImage(image=constant), 3, 5).image, 93)
    halved = scale(AnnotatedImage(image=image), 4, 4).image
    assert abs(halved.mean() - image.mean()) < 12


def test_they_run_inside_tf_data() -> None:
    annotated = drawn((4, 5, 20, 21))

    def turned(image: np.ndarray, degrees: np.ndarray) -> np.ndarray:
        return rotate(AnnotatedImage(image=image), float(degrees)).image

    angles = tf.data.Dataset.from_tensor_slices(np.array([0.0, 7.0]))
    images = angles.map(lambda angle: tf.numpy_function(turned, [annotated.image, angle], tf.uint8))
    first, second = images.as_numpy_iterator()
    np.testing.assert_array_equal(first, annotated.image)
    np.testing.assert_array_equal(second, rotate(annotated, 7.0).image)


@pytest.mark.parametrize(
    "box",
    [(-1, 0, 5, 5), (0, 0, WIDTH + 1, 5), (0, 3, 5, 3), (5, 0, 4, 4), (0, 0, np.nan, 5)],
)
def test_boxes_outside_are_refused_in_one_line(box: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match=r"box 1: got .* image of 40 x 30") as refusal:
        AnnotatedImage(
            image=np.zeros((HEIGHT, WIDTH, 3), np.uint8),
            boxes=np.array([(0, 0, 5, 5), box], np.float32),
        )
    assert "\n" not in str(refusal.value)


def test_what_does_not_fit_is_refused() -> None:
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    annotated = AnnotatedImage(image=image)
    for wrong in (
        lambda: AnnotatedImage(image=image.astype(float)),
        lambda: AnnotatedImage(image=image, mask=np.zeros((3, 3), np.uint8)),
        lambda: AnnotatedImage(image=image, boxes=np.zeros((1, 5))),
        lambda: AnnotatedImage(image=image, box_labels=np.zeros(1, int)),
        lambda: AnnotatedImage(image=image, inside=np.ones(2, bool)),
        lambda: crop(annotated, (0, 0, WIDTH + 1, HEIGHT)),
        lambda: crop(annotated, (4, 4, 4, 8)),
        lambda: scale(annotated, 0, 4),
        lambda: rotate(annotated, float("nan")),
    ):
        with pytest.raises(UsageError):
            wrong()
