"""Decoding against Pillow over the whole corpus, and the laws of orientation and fitting."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from epochal.app.data import decoding as images
from tests.support import corpus
from tests.support.paths import ROOT

SOUND = corpus.sound()
BROKEN = corpus.broken()
WAYS = ("eagerly", "in tf.data", "in a SavedModel")


def luma(rgb: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(rgb).convert("L"))[..., None]


class Decoder(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([], tf.string)])
    def rgb(self, encoded):
        return images.decode(encoded, 3)

    @tf.function(input_signature=[tf.TensorSpec([], tf.string)])
    def grey(self, encoded):
        return images.decode(encoded, 1)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("decoder"))
    tf.saved_model.save(Decoder(), path)
    return tf.saved_model.load(path)


@pytest.fixture(scope="module")
def decoded(exported):
    """(way, channels) -> name -> decoded image, for every sound file."""
    contents = tf.data.Dataset.from_tensor_slices([case.content for case in SOUND.values()])
    results: dict[tuple[str, int], dict[str, np.ndarray]] = {}
    for channels, loaded in ((1, exported.grey), (3, exported.rgb)):
        eager = {}
        served = {}
        for name, case in SOUND.items():
            eager[name] = images.decode(case.content, channels).numpy()
            served[name] = loaded(tf.constant(case.content)).numpy()
        in_data = contents.map(lambda encoded, channels=channels: images.decode(encoded, channels))
        results["eagerly", channels] = eager
        results["in a SavedModel", channels] = served
        results["in tf.data", channels] = dict(zip(SOUND, in_data.as_numpy_iterator(), strict=True))
    return results


def test_the_corpus_is_large_enough():
    assert len(SOUND) + len(BROKEN) >= 100


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", SOUND)
def test_decodes_like_pillow(decoded, name, way):
    case = SOUND[name]
    rgb = decoded[way, 3][name]
    grey = decoded[way, 1][name]
    assert rgb.dtype == grey.dtype == np.uint8
    np.testing.assert_array_equal(rgb, decoded["eagerly", 3][name])
    np.testing.assert_array_equal(grey, luma(rgb))
    if case.rgb is None:
        assert rgb.shape == (corpus.HEIGHT, corpus.WIDTH, 3)
    else:
        assert rgb.shape == case.rgb.shape
        assert np.abs(rgb.astype(int) - case.rgb).max() <= case.tolerance


@pytest.mark.parametrize("name", BROKEN)
def test_refuses_broken_files(exported, name):
    content = tf.constant(BROKEN[name].content)
    for decode in (lambda encoded: images.decode(encoded, 3), exported.rgb, exported.grey):
        with pytest.raises(tf.errors.InvalidArgumentError):
            decode(content)


def test_names_the_formats_when_it_knows_none():
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="expected one of JPEG, PNG, GIF, BMP, WebP"
    ):
        images.decode(b"GIF7 or so", 3)


@pytest.mark.parametrize("channels", [0, 2, 4])
def test_refuses_other_channels(channels):
    with pytest.raises(ValueError, match=f"1 or 3 channels, got channels={channels}"):
        images.decode(SOUND["png: plain"].content, channels)


def test_sixty_four_megapixels_are_the_limit():
    just = corpus.png((8_000, 8_000), bytes(8_000 * 1_001), depth=1, colour=0)
    assert images.decode(just, 3).shape == (8_000, 8_000, 3)
    with pytest.raises(tf.errors.InvalidArgumentError, match="at most 64000000 pixels"):
        images.decode(corpus.png((8_000, 8_001), bytes(8_001 * 1_001), depth=1, colour=0), 3)


@pytest.mark.slow
def test_broken_files_cost_little_memory():
    """Peak memory belongs to a process, hence one of its own."""
    code = """
import resource
import tensorflow as tf
from epochal.app.data import decoding as images
from tests.support import corpus
broken, sound = corpus.broken(), corpus.sound()["jpeg: plain"].content
images.decode(sound, 3)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for case in broken.values():
    try:
        images.decode(case.content, 3)
    except tf.errors.InvalidArgumentError:
        continue
    raise SystemExit("decoded a broken file")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    unit = 1 if sys.platform == "darwin" else 2**10
    assert int(done.stdout) * unit < 150 * 2**20


pictures = arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)))


@settings(max_examples=60)
@given(picture=pictures, kind=st.sampled_from(["PNG", "BMP", "WEBP"]))
def test_lossless_formats_lose_nothing(picture, kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    content = corpus.encoded(Image.fromarray(picture), kind, **options)
    np.testing.assert_array_equal(images.decode(content, 3), picture)


@settings(max_examples=30)
@given(grey=arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_grey_stays_as_it_is(grey):
    content = corpus.encoded(Image.fromarray(grey), "PNG")
    np.testing.assert_array_equal(images.decode(content, 1)[..., 0], grey)


# what an image stored under each orientation must be put through (Exif 2.32, section 4.6.4, tag
# 0x0112)
UPRIGHT = {
    1: lambda x: x,
    2: np.fliplr,
    3: lambda x: np.rot90(x, 2),
    4: np.flipud,
    5: lambda x: np.swapaxes(x, 0, 1),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: np.rot90(np.swapaxes(x, 0, 1), 2),
    8: lambda x: np.rot90(x, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_orientations_and_their_inverses(orientation):
    image = tf.constant(np.arange(24, dtype=np.uint8).reshape(2, 4, 3))
    upright = images._upright(image, tf.constant(orientation, tf.int64))
    np.testing.assert_array_equal(upright, UPRIGHT[orientation](image.numpy()))
    inverse = {6: 8, 8: 6}.get(orientation, orientation)
    np.testing.assert_array_equal(images._upright(upright, tf.constant(inverse, tf.int64)), image)


@settings(max_examples=100)
@given(
    structure=st.binary(max_size=60)
    | st.binary(max_size=40).map(lambda junk: b"II*\0\x08\0\0\0" + junk)
)
def test_no_exif_can_break_a_jpeg(structure):
    plain = SOUND["jpeg: plain"]
    expected = images.decode(plain.content, 3).numpy()
    result = images.decode(corpus.with_exif(plain.content, structure), 3).numpy()
    assert any(np.array_equal(result, turn(expected)) for turn in UPRIGHT.values())


@settings(max_examples=150)
@given(data=st.data())
def test_damage_is_an_error_or_an_image_but_never_a_crash(data):
    content = bytearray(data.draw(st.sampled_from(sorted(SOUND.items())))[1].content[:3000])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        image = images.decode(bytes(content), 3)
    except tf.errors.InvalidArgumentError:
        return
    assert image.dtype == tf.uint8
    assert image.shape[0] * image.shape[1] <= images.MAX_PIXELS


@settings(max_examples=40)
@given(size=st.integers(1, 12), channels=st.sampled_from([1, 3]), seed=st.integers(0, 2**32 - 1))
def test_fit_leaves_native_images_alone(size, channels, seed):
    image = np.random.default_rng(seed).integers(0, 256, (size, size, channels), np.uint8)
    np.testing.assert_array_equal(images.resize(tf.constant(image), size), image)


@pytest.mark.parametrize("shape", [(8, 13), (13, 8), (8, 8)])
@pytest.mark.parametrize("crop", [8, 5])
def test_fit_only_cuts_when_the_shorter_side_is_right(shape, crop):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    top = (shape[0] - crop) // 2
    left = (shape[1] - crop) // 2
    expected = image[top : top + crop, left : left + crop]
    np.testing.assert_array_equal(images.resize(tf.constant(image), 8, crop=crop), expected)


@pytest.mark.parametrize("shape", [(40, 30), (30, 41), (7, 9), (200, 31)])
@pytest.mark.parametrize(("size", "crop"), [(16, None), (16, 14), (64, 56)])
def test_fit_resamples_like_pillow(shape, size, crop):
    image = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    crop = crop or size
    half = crop * min(shape) / size / 2
    y = shape[0] / 2
    x = shape[1] / 2
    box = (x - half, y - half, x + half, y + half)
    expected = Image.fromarray(image).resize((crop, crop), Image.Resampling.BILINEAR, box=box)
    result = images.resize(tf.constant(image), size, crop=crop).numpy()
    # Pillow rounds to whole levels between the two directions
    assert np.abs(result.astype(int) - np.asarray(expected)).max() <= 1


@pytest.mark.parametrize("size", [5, 16, 33])
def test_fit_equals_tensorflows_resize_on_squares(size):
    image = tf.constant(np.random.default_rng(2).integers(0, 256, (20, 20, 1), np.uint8))
    expected = tf.round(tf.image.resize(image, (size, size), antialias=True))
    np.testing.assert_array_equal(images.resize(image, size), expected)


@settings(max_examples=30)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    size=st.integers(1, 20),
    level=st.integers(0, 255),
    seed=st.integers(0, 99),
)
def test_fit_keeps_constants_and_commutes_with_mirroring(height, width, size, level, seed):
    constant = tf.fill([height, width, 1], tf.constant(level, tf.uint8))
    np.testing.assert_array_equal(images.resize(constant, size), tf.fill([size, size, 1], level))
    # an odd margin of a cut has no middle
    if min(height, width) != size or (width - size) % 2 == 0:
        image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
        mirrored = images.resize(tf.constant(image[:, ::-1]), size).numpy()[:, ::-1].astype(int)
        assert np.abs(mirrored - images.resize(tf.constant(image), size).numpy()).max() <= 1


@pytest.mark.parametrize("shape", [(6, 8, 8, 3), (6, 9, 14, 1), (6, 20, 16, 3)])
def test_fit_takes_batches(shape):
    batch = np.random.default_rng(3).integers(0, 256, shape, np.uint8)
    result = images.resize(tf.constant(batch), 8)
    assert result.shape == (6, 8, 8, shape[-1])
    np.testing.assert_array_equal(
        result, np.stack([images.resize(tf.constant(image), 8) for image in batch])
    )


@pytest.mark.parametrize("shape", [(1, 65_535), (65_535, 1)])
def test_fit_survives_extreme_shapes(shape):
    image = np.random.default_rng(4).integers(0, 256, (*shape, 1), np.uint8)
    assert images.resize(tf.constant(image), 64).shape == (64, 64, 1)


def test_fit_gives_the_same_bytes_in_tf_data_and_tells_its_shape():
    contents = [case.content for case in SOUND.values()][::4]

    def prepare(encoded):
        return images.resize(images.decode(encoded, 3), 12, crop=10)

    data = tf.data.Dataset.from_tensor_slices(contents).map(prepare)
    assert data.element_spec == tf.TensorSpec([10, 10, 3], tf.uint8)
    for content, result in zip(contents, data, strict=True):
        np.testing.assert_array_equal(result, prepare(content))


@pytest.mark.parametrize(("size", "crop"), [(8, 9), (8, 0), (0, None), (8, -1)])
def test_fit_refuses_impossible_sizes(size, crop):
    with pytest.raises(ValueError, match="1 <= crop <= size, got crop="):
        images.resize(tf.zeros([9, 9, 3], tf.uint8), size, crop=crop)
