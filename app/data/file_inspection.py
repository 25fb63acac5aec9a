"""Inspection of image files, so that every unusable one is named before training starts."""

import io
import os
import stat
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, TypeVar

import tensorflow as tf
from PIL import Image, UnidentifiedImageError

from epochal.app.characters import printable
from epochal.app.data.decoding import MAX_BYTES, MAX_PIXELS, SIGNATURES, decode
from epochal.app.data.same_files import digest_of
from epochal.app.errors import UsageError

_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP")
_MARK_BYTES = 16  # as many as `SIGNATURES` look at
TOO_MANY_BYTES = f"larger than {MAX_BYTES // 10**6} MB"
_TOO_LARGE = f"more than {MAX_PIXELS // 10**6} megapixels"
_FILES_AT_A_TIME = 64  # whose results are handed on together
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class BadFile:
    """A file that cannot be used, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class ImageFacts:
    """Facts of an image file.

    Attributes:
        height, width: of the upright image, in pixels.
        grey: whether its channels are equal.
        digest: of the file's content.
    """

    height: int
    width: int
    grey: bool
    digest: str


class BadFiles(UsageError):
    """Some files cannot be used: `str()` says how many, `bad` and `table()` say which and why."""

    def __init__(self, message: str, bad: Sequence[BadFile]) -> None:
        super().__init__(message)
        self.bad = tuple(bad)
        self.details = self.table()

    def table(self) -> str:
        """Return one line a file: its path, then the reason."""
        paths = [printable(file.path) for file in self.bad]
        width = max(map(len, paths), default=0)
        lines = []
        for path, file in zip(paths, self.bad, strict=True):
            padded_path = path.ljust(width)
            lines.append(f"{padded_path}  {file.reason}")
        return "\n".join(lines)


def inspect_files(paths: Sequence[str]) -> list[ImageFacts | BadFile]:
    """Decode every file, a few at a time, and return in order what each is, or its fault."""
    return _map_in_threads(lambda path: _examine(path, _facts_of), paths)


def examine_files(
    paths: Sequence[str], examine: Callable[[bytes], _Result]
) -> Iterator[_Result | BadFile]:
    """Yield in order what `examine` makes of the content of every file, or the file's fault.

    A few files are in memory at a time. Bytes that TensorFlow cannot decode are a fault.
    """
    for start in range(0, len(paths), _FILES_AT_A_TIME):
        block = paths[start : start + _FILES_AT_A_TIME]
        yield from _map_in_threads(lambda path: _examine(path, examine), block)


def describe_damage(content: bytes) -> str:
    """Return the fault of bytes that begin as an image but cannot be decoded."""
    name = _format_name(content)
    if name is None:
        return "not a JPEG, PNG, GIF, BMP or WebP image"
    return f"damaged or unsupported {name} data: it cannot be decoded"


def inspect_contents(
    names: Sequence[str], read: Callable[[str], bytes]
) -> list[ImageFacts | BadFile]:
    """Decode images that are no files of their own, a few at a time.

    Args:
        names: of the images.
        read: returns the bytes of the image of a name, of which there are at most `MAX_BYTES`.

    Returns:
        What each image is, or its fault, in order.
    """

    def inspect(name: str) -> ImageFacts | BadFile:
        try:
            content = read(name)
        except OSError as error:
            return BadFile(name, _describe_os_error(error))
        fault = _content_fault(io.BytesIO(content))
        if fault is not None:
            return BadFile(name, fault)
        return _examine_content(name, content, _facts_of)

    return _map_in_threads(inspect, names)


def have_image_headers(paths: Sequence[str]) -> list[bool]:
    """Return for each file whether it starts like an image of a known format; none is decoded."""
    return _map_in_threads(lambda path: _header_fault(path) is None, paths)


def begins_as_image(path: str) -> bool:
    """Return whether a file's first bytes announce an image, or cannot be read."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        return _announced_format(path) is not None
    except OSError:
        return True  # reading it will tell


def _map_in_threads(work: Callable[[str], _Result], paths: Sequence[str]) -> list[_Result]:
    num_threads = min(8, 2 * (os.cpu_count() or 1))
    # Around the threads, not in them: Python's warning filters belong to the process.
    with warnings.catch_warnings(), ThreadPoolExecutor(num_threads) as pool:
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return list(pool.map(work, paths))


def _examine(path: str, examine: Callable[[bytes], _Result]) -> _Result | BadFile:
    fault = _header_fault(path)
    if fault is not None:
        return BadFile(path, fault)
    try:
        with open(path, "rb") as file:
            content = file.read()
        return _examine_content(path, content, examine)
    except OSError as error:
        return BadFile(path, _describe_os_error(error))


def _examine_content(
    name: str, content: bytes, examine: Callable[[bytes], _Result]
) -> _Result | BadFile:
    try:
        return examine(content)
    except tf.errors.InvalidArgumentError:
        return BadFile(name, describe_damage(content))


def _facts_of(content: bytes) -> ImageFacts:
    shape, grey = _decode_facts(tf.constant(content))
    height, width = shape.numpy().tolist()
    return ImageFacts(height, width, bool(grey), digest_of([content]))


@tf.function(
    input_signature=[tf.TensorSpec([], tf.string)],
    autograph=False,
)
def _decode_facts(encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return height and width, and whether the channels are equal.

    Compiled, since the operations of `decode` cost ten times as much one by one.
    """
    with tf.device("/CPU:0"):
        image = decode(encoded, 3)
        return tf.shape(image)[:2], tf.reduce_all(image == image[..., :1])


def _header_fault(path: str) -> str | None:
    """Return a fault that name, file system or first bytes show; nothing large is read."""
    try:
        path.encode()
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            return "not a regular file"
        if status.st_size > MAX_BYTES:
            return TOO_MANY_BYTES
        with open(path, "rb") as file:
            return _content_fault(file)
    except UnicodeEncodeError:
        return "its name is not valid UTF-8: rename it"
    except OSError as error:
        return _describe_os_error(error)


def _content_fault(file: IO[bytes]) -> str | None:
    """Return a fault that the first bytes of an open image show."""
    beginning = file.read(_MARK_BYTES)
    if not beginning:
        return "empty file"
    file.seek(0)
    try:
        with Image.open(file, formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                return _TOO_LARGE
        return None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        return _TOO_LARGE
    except UnidentifiedImageError:
        name = _format_name(beginning)
        if name is None:
            return "not a JPEG, PNG, GIF, BMP or WebP image"
        return f"damaged {name} header"
    except OSError as error:
        return _describe_os_error(error)
    # Pillow lets these through for some broken headers.
    except (ValueError, EOFError, OverflowError) as error:
        return f"damaged: {printable(str(error))}"


def _describe_os_error(error: OSError) -> str:
    if error.strerror:
        return f"cannot be read: {error.strerror}"
    # Pillow raises OSError for content too, then without an error number.
    return f"damaged: {printable(str(error))}"


def _announced_format(path: str) -> str | None:
    with open(path, "rb") as file:
        return _format_name(file.read(_MARK_BYTES))


def _format_name(content: bytes) -> str | None:
    """Return the format that the first bytes announce."""
    for name, offset, mark in SIGNATURES:
        if content[offset : offset + len(mark)] == mark:
            return name
    return None
