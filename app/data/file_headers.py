"""Headers of image files: places and sizes inside them, found with TensorFlow operations."""

from dataclasses import dataclass

import tensorflow as tf

# A JPEG segment is no longer than this, and the first one is the place of the Exif segment
_EXIF_WINDOW = 65_536
_EXIF_MARK = b"Exif\0\0"
_EXIF_MARK_NUMBER = int.from_bytes(_EXIF_MARK[:4], "little")
_APP1 = 0xE1FF  # 0xFF, 0xE1 read as a little-endian number
_ORIENTATION = 0x0112
_SHORT = 3
# "II*\0" and "MM\0*" read as little-endian numbers
_LITTLE_ENDIAN = 0x002A4949
_BIG_ENDIAN = 0x2A004D4D
_EXTENSION = 0x21
# No picture has as many; without limits a file of nothing else would keep the loops busy for
# minutes
_MAX_EXTENSIONS = 100
_MAX_CHUNKS = 10_000
_LONGEST_RUN = 256 * 1024


@dataclass(frozen=True, kw_only=True)
class _Chunk:
    """A kind of chunk in a file that consists of chunks.

    Args:
        name: four bytes
        first: where the file's first chunk begins
        name_at, length_at: where name and length of the data stand in a chunk
        big: whether the length is big-endian
        padded: whether data of an odd length are followed by a byte
        around: bytes of a chunk beside its data
    """

    name: bytes
    first: int
    name_at: int
    length_at: int
    big: bool
    padded: bool
    around: int


# Length, name, data, checksum.
_PNG_EXIF = _Chunk(name=b"eXIf", first=8, name_at=4, length_at=0, big=True, padded=False, around=12)
# Name, length, data.
_WEBP_EXIF = _Chunk(
    name=b"EXIF", first=12, name_at=0, length_at=4, big=False, padded=True, around=8
)
_CHUNK_HEAD = 8  # bytes of a name and a length, before the data


def number(
    raw: tf.Tensor, at: tf.Tensor | int, size: int, big: tf.Tensor | bool = False
) -> tf.Tensor:
    """Return unsigned integers of `size` bytes at the offsets `at`, int64 in the shape of `at`.

    `raw` (uint8 vector) ends in a zero, which stands for all bytes past the end.
    """
    places = tf.range(size, dtype=tf.int64)
    first = tf.expand_dims(at, -1)
    first = tf.cast(first, tf.int64)
    last_byte = tf.size(raw, tf.int64) - 1
    offsets = tf.minimum(first + places, last_byte)
    digits = tf.gather(raw, offsets)
    digits = tf.cast(digits, tf.int64)
    powers = [256**place for place in range(size)]
    little_endian = tf.constant(powers, tf.int64)
    big_endian = little_endian[::-1]
    weights = tf.where(big, big_endian, little_endian)
    return tf.reduce_sum(digits * weights, axis=-1)


def exif_orientation(encoded: tf.Tensor) -> tf.Tensor:
    """Return the orientation, int64 1 to 8, in a JPEG's Exif segment (APP1), else 1."""
    beginning = tf.strings.substr(encoded, 0, _EXIF_WINDOW)
    # Splitting is the one operation that finds a substring without touching every byte often.
    split = tf.raw_ops.StringSplitV2(
        input=[beginning],
        sep=_EXIF_MARK,
        maxsplit=1,
    )
    parts = split.values
    mark = tf.cast(tf.strings.length(parts[0]), tf.int64)

    def look_up() -> tf.Tensor:
        window = tf.io.decode_raw(beginning + b"\0", tf.uint8)
        segment_start = tf.maximum(mark - 4, 0)
        segment = number(window, segment_start, 2)
        orientation = _ifd_orientation(window, mark + len(_EXIF_MARK))
        return tf.where(segment == _APP1, orientation, 1)

    has_mark = tf.size(parts) > 1
    return tf.cond(has_mark, look_up, lambda: tf.constant(1, tf.int64))


def png_orientation(encoded: tf.Tensor) -> tf.Tensor:
    """Return the orientation, int64 1 to 8, in a PNG's eXIf chunk, else 1 (PNG 3rd ed., 11.3.4.5).

    The chunk stands before the pixels or behind them. Few files have it: the others are not walked
    through.
    """
    split = tf.raw_ops.StringSplitV2(
        input=[encoded],
        sep=_PNG_EXIF.name,
        maxsplit=1,
    )
    has_name = tf.size(split.values) > 1
    return tf.cond(
        has_name,
        lambda: _orientation_in_chunk(encoded, _PNG_EXIF),
        lambda: tf.constant(1, tf.int64),
    )


def webp_orientation(encoded: tf.Tensor) -> tf.Tensor:
    """Return the orientation, int64 1 to 8, in the EXIF chunk of an extended WebP, else 1.

    RFC 9649, section 2.7.1.5. The caller has seen the flag that says there is one.
    """
    return _orientation_in_chunk(encoded, _WEBP_EXIF)


def _orientation_in_chunk(encoded: tf.Tensor, chunk: _Chunk) -> tf.Tensor:
    content = tf.io.decode_raw(encoded + b"\0", tf.uint8)
    start = _find_chunk(content, chunk) + _CHUNK_HEAD
    end = start + _EXIF_WINDOW
    window = tf.concat(
        [content[start:end], tf.zeros([1], tf.uint8)],
        axis=0,
    )
    # Some programs put the mark of a JPEG's segment before it.
    beginning = number(window, 0, 4)
    has_mark = beginning == _EXIF_MARK_NUMBER
    mark_bytes = len(_EXIF_MARK) * tf.cast(has_mark, tf.int64)
    return _ifd_orientation(window, mark_bytes)


def _find_chunk(content: tf.Tensor, chunk: _Chunk) -> tf.Tensor:
    """Return where the first chunk of that name begins, int64, or the end of the file.

    `content` (uint8 vector) ends in a zero.
    """
    end = tf.size(content, tf.int64) - 1
    wanted = int.from_bytes(chunk.name, "little")

    def is_another(at: tf.Tensor) -> tf.Tensor:
        return (at < end) & (number(content, at + chunk.name_at, 4) != wanted)

    def next_chunk(at: tf.Tensor) -> tuple[tf.Tensor]:
        length = number(content, at + chunk.length_at, 4, chunk.big)
        if chunk.padded:
            length += length % 2
        return (at + chunk.around + length,)

    (found,) = tf.while_loop(
        is_another,
        next_chunk,
        (tf.constant(chunk.first, tf.int64),),
        maximum_iterations=_MAX_CHUNKS,
    )
    is_found = number(content, found + chunk.name_at, 4) == wanted
    return tf.where(is_found, found, end)


def _ifd_orientation(window: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    """Look the orientation up in the first directory (IFD0) of the TIFF structure at `start`."""
    byte_order = number(window, start, 4)
    big = byte_order == _BIG_ENDIAN
    directory = start + number(window, start + 4, 4, big)
    stated_count = number(window, directory, 2, big)
    count = tf.minimum(stated_count, _EXIF_WINDOW // 12)
    entries = directory + 2 + 12 * tf.range(count)
    tags = number(window, entries, 2, big)
    types = number(window, entries + 2, 2, big)
    values = number(window, entries + 8, 2, big)
    is_orientation = (tags == _ORIENTATION) & (types == _SHORT)
    orientations = tf.where(is_orientation, values, 0)
    value = tf.reduce_max(orientations)
    in_range = (value >= 1) & (value <= 8)
    little = byte_order == _LITTLE_ENDIAN
    is_valid = in_range & (big | little)
    return tf.where(is_valid, value, 1)


def webp_sides(
    raw: tf.Tensor, extended: tf.Tensor, lossless: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return height and width from the file's one of three headers (RFC 9649, 2.5 to 2.7)."""
    limit = 2**14  # sides of a lossless or a simple file have 14 bits
    packed = number(raw, 21, 4)
    lossless_height = packed // limit % limit + 1
    lossless_width = packed % limit + 1
    simple_height = number(raw, 28, 2) % limit
    simple_width = number(raw, 26, 2) % limit
    extended_height = number(raw, 27, 3) + 1
    extended_width = number(raw, 24, 3) + 1
    height = tf.where(lossless, lossless_height, simple_height)
    height = tf.where(extended, extended_height, height)
    width = tf.where(lossless, lossless_width, simple_width)
    width = tf.where(extended, extended_width, width)
    return height, width


def first_gif_frame(content: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return where a GIF's first image descriptor and the end of its data lie, int64 (GIF89a).

    `content` (uint8 vector) ends in a zero.
    """

    def byte(at: int | tf.Tensor) -> tf.Tensor:
        return number(content, at, 1)

    def colour_table_bytes(flags: tf.Tensor) -> tf.Tensor:
        return tf.where(flags >= 128, 3 * 2 ** (flags % 8 + 1), 0)

    def skip_extension(at: tf.Tensor) -> tuple[tf.Tensor]:
        return (_end_of_blocks(content, at + 2, limit=300),)

    global_table = colour_table_bytes(byte(10))
    (frame,) = tf.while_loop(
        lambda at: byte(at) == _EXTENSION,
        skip_extension,
        (13 + global_table,),
        maximum_iterations=_MAX_EXTENSIONS,
    )
    local_table = colour_table_bytes(byte(frame + 9))
    data = frame + 10 + local_table + 1
    return frame, _end_of_blocks(content, data, limit=20_000)


def _end_of_blocks(content: tf.Tensor, start: tf.Tensor, *, limit: int) -> tf.Tensor:
    """Return where a chain of blocks ends: each is led by its length, the last has length 0.

    Nearly all have the greatest length, 255: a run of these is passed in one step, of which there
    are `limit`.
    """

    def step(at: tf.Tensor) -> tuple[tf.Tensor]:
        lengths = content[at : at + _LONGEST_RUN : 256]
        is_shorter = tf.concat([lengths != 255, [True]], axis=0)
        at += 256 * tf.argmax(is_shorter)
        length = number(content, at, 1)
        block_bytes = tf.where(length > 0, length + 1, 0)
        return (at + block_bytes,)

    (last,) = tf.while_loop(
        lambda at: (
            number(
                content,
                at,
                1,
            )
            > 0
        ),
        step,
        (start,),
        maximum_iterations=limit,
    )
    return last + 1
