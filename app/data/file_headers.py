"""Where things lie inside image files, found with TensorFlow operations on their bytes."""

import tensorflow as tf

# A JPEG segment is no longer than this, and the first one is the place of the Exif segment
_EXIF_WINDOW = 65_536
_EXIF_MARK = b"Exif\0\0"
_APP1 = 0xE1FF  # 0xFF, 0xE1 read as a little-endian number
_ORIENTATION = 0x0112
_SHORT = 3
_LITTLE_ENDIAN = 0x002A4949
_BIG_ENDIAN = 0x2A004D4D  # "II*\0" and "MM\0*" read as little-endian numbers
_EXTENSION = 0x21
# No picture has as many; without limits a file of nothing else would keep the loops busy for minutes
_MAX_EXTENSIONS = 100
_LONGEST_RUN = 256 * 1024


def number(
    raw: tf.Tensor, at: tf.Tensor | int, size: int, big: tf.Tensor | bool = False
) -> tf.Tensor:
    """Unsigned integers of `size` bytes at the offsets `at`, int64 in the shape of `at`.

    `raw` (uint8 vector) ends in a zero, which stands for all bytes past the end.
    """
    offsets = tf.cast(tf.expand_dims(at, -1), tf.int64) + tf.range(size, dtype=tf.int64)
    bytes_ = tf.cast(tf.gather(raw, tf.minimum(offsets, tf.size(raw, tf.int64) - 1)), tf.int64)
    weights = tf.constant([256**place for place in range(size)], tf.int64)
    return tf.reduce_sum(bytes_ * tf.where(big, weights[::-1], weights), axis=-1)


def exif_orientation(encoded: tf.Tensor) -> tf.Tensor:
    """The orientation, int64 1 to 8, in a JPEG's Exif segment (APP1); 1 where it is missing or senseless."""
    beginning = tf.strings.substr(encoded, 0, _EXIF_WINDOW)
    # splitting is the one operation that finds a substring without touching every byte several times
    parts = tf.raw_ops.StringSplitV2(input=[beginning], sep=_EXIF_MARK, maxsplit=1).values
    mark = tf.cast(tf.strings.length(parts[0]), tf.int64)

    def look_up() -> tf.Tensor:
        window = tf.io.decode_raw(beginning + b"\0", tf.uint8)
        segment = number(window, tf.maximum(mark - 4, 0), 2)
        return tf.where(segment == _APP1, _ifd_orientation(window, mark + len(_EXIF_MARK)), 1)

    return tf.cond(tf.size(parts) > 1, look_up, lambda: tf.constant(1, tf.int64))


def _ifd_orientation(window: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    """Looks the orientation up in the first directory (IFD0) of the TIFF structure at `start`."""
    order = number(window, start, 4)
    big = order == _BIG_ENDIAN
    directory = start + number(window, start + 4, 4, big)
    count = tf.minimum(number(window, directory, 2, big), _EXIF_WINDOW // 12)
    entries = directory + 2 + 12 * tf.range(count)
    wanted = number(window, entries, 2, big) == _ORIENTATION
    wanted &= number(window, entries + 2, 2, big) == _SHORT
    value = tf.reduce_max(tf.where(wanted, number(window, entries + 8, 2, big), 0))
    sensible = (value >= 1) & (value <= 8) & (big | (order == _LITTLE_ENDIAN))
    return tf.where(sensible, value, 1)


def webp_sides(
    raw: tf.Tensor, extended: tf.Tensor, lossless: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Height and width from whichever of the three headers (RFC 9649, sections 2.5 to 2.7) the file has."""
    packed = number(raw, 21, 4)
    width = tf.where(lossless, packed % 2**14 + 1, number(raw, 26, 2) % 2**14)
    height = tf.where(lossless, packed // 2**14 % 2**14 + 1, number(raw, 28, 2) % 2**14)
    return (
        tf.where(extended, number(raw, 27, 3) + 1, height),
        tf.where(extended, number(raw, 24, 3) + 1, width),
    )


def first_gif_frame(content: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Offsets, int64, of a GIF's first image descriptor and of the end of its data (GIF89a, sections 15, 20 to 26).

    `content` (uint8 vector) ends in a zero.
    """

    def byte(at: int | tf.Tensor) -> tf.Tensor:
        return number(content, at, 1)

    def table(at: int | tf.Tensor) -> tf.Tensor:
        return tf.where(byte(at) >= 128, 3 * 2 ** (byte(at) % 8 + 1), 0)

    frame = tf.while_loop(
        lambda at: byte(at) == _EXTENSION,
        lambda at: (_end_of_blocks(content, at + 2, limit=300),),
        (13 + table(10),),
        maximum_iterations=_MAX_EXTENSIONS,
    )[0]
    return frame, _end_of_blocks(content, frame + 10 + table(frame + 9) + 1, limit=20_000)


def _end_of_blocks(content: tf.Tensor, start: tf.Tensor, *, limit: int) -> tf.Tensor:
    """Where a chain of blocks ends: each is led by its length, the last has length 0.

    Nearly all have the greatest length, 255: a run of these is passed in one step, of which there are `limit`.
    """

    def step(at: tf.Tensor) -> tuple[tf.Tensor]:
        shorter = tf.concat([content[at : at + _LONGEST_RUN : 256] != 255, [True]], axis=0)
        at += 256 * tf.argmax(shorter)
        length = number(content, at, 1)
        return (at + tf.where(length > 0, length + 1, 0),)

    more = tf.while_loop(
        lambda at: number(content, at, 1) > 0, step, (start,), maximum_iterations=limit
    )
    return more[0] + 1
