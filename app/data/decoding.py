"""Decoding: image files to uint8 tensors, in TensorFlow operations only.

Training, evaluation and the exported model run the same functions, eagerly, inside tf.data or
inside a SavedModel, and get the same bytes. These are the rules:

* JPEG, PNG, GIF, BMP (8, 24 and 32 bits, uncompressed) and WebP, told apart by content; of an
  animation the first frame.
* Every file is decoded to RGB first. One channel is the luma of ITU-R BT.601 in 16-bit fixed point,
  for every format, and therefore leaves a grey image as it is.
* Alpha is dropped, not blended: the colour stored under a transparent pixel counts.
* 16-bit samples keep their upper byte. CMYK and YCCK are converted without a colour profile.
* The Exif orientation of a JPEG, a PNG and a WebP is applied.
"""

import itertools
import re
from functools import partial

import tensorflow as tf

from epochal.app.data.file_headers import (
    exif_orientation,
    first_gif_frame,
    number,
    png_orientation,
    webp_orientation,
    webp_sides,
)

MAX_PIXELS = 64_000_000
MAX_BYTES = 9 * MAX_PIXELS  # of a file: four channels of 16 bits, uncompressed, take eight a pixel

# (name, offset, bytes there); the order is that of `_DECODERS`
SIGNATURES = (
    ("JPEG", 0, b"\xff\xd8\xff"),
    ("PNG", 0, b"\x89PNG\r\n\x1a\n"),
    ("GIF", 0, b"GIF8"),
    ("BMP", 0, b"BM"),
    ("WebP", 8, b"WEBP"),
)

_HEAD_BYTES = 66  # as far as the masks of a BMP
_PALETTE_BYTES = 1024  # 256 entries of four bytes
_BGRX_MASKS = [0, 0, 255, 0, 0, 255, 0, 0, 255, 0, 0, 0]


def decode(encoded: tf.Tensor, channels: int) -> tf.Tensor:
    """Decode one image file, upright.

    Args:
        encoded: string scalar, the bytes of a JPEG, PNG, GIF, BMP or WebP file.
        channels: 1 (luma) or 3 (RGB).

    Returns:
        uint8 `[height, width, channels]`.

    Raises:
        ValueError: another number of channels.
        tf.errors.InvalidArgumentError: damaged bytes, another format, or more than `MAX_PIXELS`,
            which is checked before anything of that size is allocated.
    """
    if channels not in (1, 3):
        raise ValueError(f"decode gives 1 or 3 channels, got channels={channels}.")
    image = _decode_rgb(encoded)
    if channels == 1:
        return luma(image)
    return image


# Traced once: without a function of its own, every data set would trace all formats again, a second
# each.
@tf.function(
    input_signature=[tf.TensorSpec([], tf.string)],
    autograph=False,
)
def _decode_rgb(encoded: tf.Tensor) -> tf.Tensor:
    beginning = tf.strings.substr(encoded, 0, _HEAD_BYTES)
    head = beginning + b"\0" * _HEAD_BYTES
    raw = tf.io.decode_raw(head, tf.uint8)
    matches = []
    branches = []
    for (_, offset, mark), decoder in zip(
        SIGNATURES,
        _DECODERS,
        strict=True,
    ):
        content = tf.strings.substr(head, offset, len(mark))
        matches.append(content == mark)
        branches.append(partial(decoder, encoded, raw))
    matches.append(True)
    branches.append(partial(_refuse, encoded, raw))
    ones = tf.cast(tf.stack(matches), tf.int32)
    first_match = tf.argmax(ones, output_type=tf.int32)
    image = tf.switch_case(first_match, branches)
    return tf.ensure_shape(image, [None, None, 3])


def describe_error(error: tf.errors.OpError) -> str:
    """Return the fault that TensorFlow found in a file, without places in the graph."""
    lines = error.message.splitlines()
    line = lines[0]
    for before, after in itertools.pairwise(lines):
        if after.lstrip().startswith("[[{{node") and before:
            line = before
            break
    text = re.sub(
        r"^(\{\{[^}]*\}\} )*(assertion failed: )?",
        "",
        line,
    )[:300]
    # A fault of the file system, found in Python.
    text = re.sub(r"^.*\bOSError: \[Errno \d+\] ", "", text)
    # TensorFlow repeats the condition that was asserted, and puts the values each in brackets.
    text = re.sub(r"\W*Condition x .*", "", text)
    return re.sub(r"\[([^\[\]]*)\]", r"\1", text)


def resize(image: tf.Tensor, size: int, *, crop: int | None = None) -> tf.Tensor:
    """Scale the shorter side to `size` and cut the central square of side `crop` (default: `size`).

    Bilinear with antialiasing (a triangle as wide as the reduction), rounded to the nearest level.
    Only the square is computed, so a 1 x 65,535 image costs no more than another. An image whose
    shorter side is `size` is cut, never resampled, hence bit-exact; otherwise the square's centre
    is the image's to a fraction of a pixel.

    Args:
        image: uint8 `[height, width, channels]`, or a batch of one shape `[N, height, width,
            channels]`.
        size: pixels of the shorter side after scaling.
        crop: pixels of the square's side, at most `size`.

    Returns:
        uint8 `[crop, crop, channels]`, or a batch of these.
    """
    if crop is None:
        crop = size
    if not 1 <= crop <= size:
        raise ValueError(f"resize needs 1 <= crop <= size, got crop={crop}, size={size}.")
    if image.shape[-3:-1] == (size, size) and crop == size:
        return image
    if image.shape.rank == 3:
        return resize(image[None], size, crop=crop)[0]
    batch = image
    sides = tf.shape(batch)[1:3]
    square = tf.cond(
        tf.reduce_min(sides) == size,
        lambda: _cut_centre(batch, sides, crop),
        lambda: _scale_and_cut(batch, sides, size, crop),
    )
    square.set_shape([batch.shape[0], crop, crop, batch.shape[3]])
    return square


def _cut_centre(batch: tf.Tensor, sides: tf.Tensor, crop: int) -> tf.Tensor:
    top, left = tf.unstack((sides - crop) // 2)
    bottom = top + crop
    right = left + crop
    return batch[:, top:bottom, left:right]


def _scale_and_cut(batch: tf.Tensor, sides: tf.Tensor, size: int, crop: int) -> tf.Tensor:
    """Compute the square alone, where `tf.image.resize` makes the whole scaled image."""
    lengths = tf.cast(sides, tf.float32)
    scale = tf.fill([2], size / tf.reduce_min(lengths))
    scaled = tf.raw_ops.ScaleAndTranslate(
        images=batch,
        size=[crop, crop],
        scale=scale,
        translation=(crop - lengths * scale) / 2,
        kernel_type="triangle",
        antialias=True,
    )
    return tf.saturate_cast(tf.round(scaled), tf.uint8)


def luma(image: tf.Tensor) -> tf.Tensor:
    """Return BT.601 luma; the weights add up to 65,536, so equal channels come back unchanged."""
    red, green, blue = tf.unstack(tf.cast(image, tf.int32), axis=-1)
    level = (19_595 * red + 38_470 * green + 7_471 * blue + 32_768) // 65_536
    return tf.cast(level, tf.uint8)[..., None]


# Each decoder takes the whole file and `raw`, its first bytes as uint8, followed by zeros.


def _jpeg(encoded: tf.Tensor, raw: tf.Tensor) -> tf.Tensor:
    shape = tf.image.extract_jpeg_shape(encoded)
    height, width, _ = tf.unstack(tf.cast(shape, tf.int64))
    encoded = _limited(encoded, height, width)
    # TensorFlow's default, the fast integer DCT, is up to 4 levels off; no other operation offers
    # the choice
    image = tf.io.decode_jpeg(
        encoded,
        channels=3,
        dct_method="INTEGER_ACCURATE",
    )
    return _upright(image, exif_orientation(encoded))


def _png(encoded: tf.Tensor, raw: tf.Tensor) -> tf.Tensor:
    big_endian = tf.constant(True)
    height = number(raw, 20, 4, big_endian)
    width = number(raw, 16, 4, big_endian)
    image = tf.io.decode_png(_limited(encoded, height, width), channels=3)
    return _upright(image, png_orientation(encoded))


def _gif(encoded: tf.Tensor, raw: tf.Tensor) -> tf.Tensor:
    """Hand over the first frame alone: TensorFlow would unpack all of them first."""
    padded = encoded + b"\0" * 16
    content = tf.io.decode_raw(padded, tf.uint8)
    frame, end = first_gif_frame(content)
    screen_height = number(raw, 8, 2)
    screen_width = number(raw, 6, 2)
    encoded = _limited(encoded, screen_height, screen_width)
    frame_height = number(content, frame + 7, 2)
    frame_width = number(content, frame + 5, 2)
    encoded = _limited(encoded, frame_height, frame_width)
    start = tf.constant(0, tf.int64)
    single_frame = tf.strings.substr(encoded, start, end) + b";"
    return tf.io.decode_image(
        single_frame,
        channels=3,
        expand_animations=False,
    )


def _bmp(encoded: tf.Tensor, raw: tf.Tensor) -> tf.Tensor:
    """Apply the palette, which TensorFlow leaves out, and refuse compression, which it ignores."""
    start = number(raw, 10, 4)
    header = number(raw, 14, 4)
    width = number(raw, 18, 4)
    # Negative where rows come from the top.
    signed_height = tf.bitcast(raw[22:26], tf.int32)
    height = tf.abs(tf.cast(signed_height, tf.int64))
    bits = number(raw, 28, 2)
    compression = number(raw, 30, 4)
    has_plain_masks = tf.reduce_all(raw[54:66] == _BGRX_MASKS)
    is_masked_plainly = (compression == 3) & has_plain_masks
    is_plain = (compression == 0) | is_masked_plainly
    length = tf.cast(tf.strings.length(encoded), tf.int64)
    has_places = (header >= 40) & (14 + header <= start) & (start <= length)
    check = tf.debugging.Assert(is_plain & has_places, ["expected an uncompressed BMP"])
    with tf.control_dependencies([check]):
        encoded = _limited(encoded, height, width)
    row_bytes = (width * bits + 31) // 32 * 4
    # Some programs append bytes, which TensorFlow refuses.
    end = start + row_bytes * height
    exact = tf.strings.substr(encoded, tf.constant(0, tf.int64), end)
    image = tf.io.decode_bmp(exact)
    palette_start = 14 + header
    return tf.cond(
        bits == 8,
        lambda: _from_palette(encoded, image, palette_start, start),
        lambda: image[..., :3],
    )


def _from_palette(
    encoded: tf.Tensor, index: tf.Tensor, begin: tf.Tensor, end: tf.Tensor
) -> tf.Tensor:
    """Return RGB of a BMP's palette indices; the palette's entries are blue, green, red, unused."""
    length = tf.clip_by_value(end - begin, 0, _PALETTE_BYTES)
    stored = tf.strings.substr(encoded, begin, length)
    # A palette may have fewer than 256 entries; the others are black.
    palette = stored + b"\0" * _PALETTE_BYTES
    levels = tf.io.decode_raw(palette, tf.uint8)
    levels = levels[:_PALETTE_BYTES]
    bgr = tf.reshape(levels, [256, 4])
    rgb = bgr[:, 2::-1]
    places = tf.cast(index[..., 0], tf.int32)
    return tf.gather(rgb, places)


def _webp(encoded: tf.Tensor, raw: tf.Tensor) -> tf.Tensor:
    """Ask for the number of channels that the file has, and never let TensorFlow guess it.

    TensorFlow 2.21 writes four channels into a buffer of three when it guesses for an animation
    without alpha, which destroys the heap. An animation therefore gets its alpha flag set, which
    changes no pixel.
    """
    extended = tf.reduce_all(raw[12:16] == list(b"VP8X"))
    lossless = tf.reduce_all(raw[12:16] == list(b"VP8L"))
    flags = tf.cast(raw[20], tf.int64)
    has_animation_bit = flags // 2 % 2 == 1
    is_animated = extended & has_animation_bit
    has_alpha_bit = flags // 16 % 2 == 1
    extended_alpha = extended & has_alpha_bit
    has_lossless_alpha_bit = raw[24] // 16 % 2 == 1
    lossless_alpha = lossless & has_lossless_alpha_bit
    height, width = webp_sides(raw, extended, lossless)
    encoded = _limited(encoded, height, width)

    def decode_without_alpha(content: tf.Tensor) -> tf.Tensor:
        image = tf.io.decode_image(
            content,
            channels=4,
            expand_animations=False,
        )
        return image[..., :3]

    def decode_first_frame() -> tf.Tensor:
        before = tf.strings.substr(encoded, 0, 20)
        after = tf.strings.substr(encoded, 21, 2**31 - 1)
        return decode_without_alpha(before + b"\x12" + after)

    def decode_still() -> tf.Tensor:
        return tf.cond(
            extended_alpha | lossless_alpha,
            lambda: decode_without_alpha(encoded),
            lambda: tf.io.decode_image(
                encoded,
                channels=3,
                expand_animations=False,
            ),
        )

    image = tf.cond(is_animated, decode_first_frame, decode_still)
    has_exif_bit = flags // 8 % 2 == 1
    orientation = tf.cond(
        extended & has_exif_bit,
        lambda: webp_orientation(encoded),
        lambda: tf.constant(1, tf.int64),
    )
    return _upright(image, orientation)


def _refuse(encoded: tf.Tensor, raw: tf.Tensor) -> tf.Tensor:
    names = ", ".join(name for name, _, _ in SIGNATURES)
    check = tf.debugging.Assert(False, [f"expected one of {names}, got", raw[:8]])
    with tf.control_dependencies([check]):
        return tf.zeros([0, 0, 3], tf.uint8)


_DECODERS = (_jpeg, _png, _gif, _bmp, _webp)


def _limited(encoded: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Return `encoded`, available only once the size in the header is known to be acceptable."""
    message = [f"expected at most {MAX_PIXELS} pixels, got height and width", height, width]
    check = tf.debugging.Assert(height * width <= MAX_PIXELS, message)
    with tf.control_dependencies([check]):
        return tf.identity(encoded)


def _upright(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Undo an EXIF orientation: 5 to 8 are transposed, then mirrored (Exif 2.32, 4.6.4)."""

    def turn() -> tf.Tensor:
        is_transposed = orientation >= 5
        turned = tf.cond(
            is_transposed,
            lambda: tf.transpose(image, [1, 0, 2]),
            lambda: image,
        )
        mirror_rows = tf.reduce_any(orientation == [3, 4, 7, 8])
        mirror_columns = tf.reduce_any(orientation == [2, 3, 6, 7])
        is_mirrored = tf.stack([mirror_rows, mirror_columns])
        axes = tf.boolean_mask([0, 1], is_mirrored)
        return tf.reverse(turned, axes)

    return tf.cond(orientation > 1, turn, lambda: image)
