"""Looks at image files one by one, so that every unusable one is named before training starts."""

import os
import stat
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import tensorflow as tf
from PIL import Image, UnidentifiedImageError

from epochal.app.data import decoding as images
from epochal.app.errors import UsageError

_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class BadFile:
    """A file that cannot be used, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class ImageFacts:
    """What decoding one image showed: its upright size in pixels, and whether its channels are equal."""

    height: int
    width: int
    grey: bool


class BadFiles(UsageError):
    """Some files cannot be used: `str()` says how many, `bad` and `table()` say which and why."""

    def __init__(self, message: str, bad: Sequence[BadFile]) -> None:
        super().__init__(message)
        self.bad = tuple(bad)
        self.details = self.table()

    def table(self) -> str:
        """One line a file: its path, then the reason."""
        paths = [printable(file.path) for file in self.bad]
        width = max(map(len, paths), default=0)
        return "\n".join(
            f"{path:{width}}  {file.reason}" for path, file in zip(paths, self.bad, strict=True)
        )


def printable(text: str | os.PathLike[str]) -> str:
    """`text` with control characters and undecodable bytes escaped, so that it stays on its line."""
    escaped = (
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in os.fspath(text)
    )
    return "".join(escaped)


def inspect(paths: Sequence[str]) -> list[ImageFacts | BadFile]:
    """Decodes every file, a few at a time, and says of each what it is or what is wrong with it, in order."""
    return _in_threads(_inspect, paths)


def image_headers(paths: Sequence[str]) -> list[bool]:
    """Whether each file starts like an image of a known format; none is decoded."""
    return _in_threads(lambda path: _header_fault(path) is None, paths)


def _in_threads(work: Callable[[str], _Result], paths: Sequence[str]) -> list[_Result]:
    # around the threads, not in them: Python's warning filters belong to the process
    with warnings.catch_warnings(), ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1))) as pool:
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return list(pool.map(work, paths))


def _inspect(path: str) -> ImageFacts | BadFile:
    fault = _header_fault(path)
    if fault is not None:
        return BadFile(path, fault)
    try:
        with open(path, "rb") as file:
            content = file.read()
        shape, grey = _facts(tf.constant(content))
    except OSError as error:
        return BadFile(path, _unreadable(error))
    except tf.errors.InvalidArgumentError:
        return BadFile(path, f"damaged or unsupported {_kind(content)} data: it cannot be decoded")
    height, width = shape.numpy().tolist()
    return ImageFacts(height, width, bool(grey))


@tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
def _facts(encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Compiled, since the operations of `decode` cost ten times as much one by one."""
    with tf.device("/CPU:0"):
        image = images.decode(encoded, 3)
        return tf.shape(image)[:2], tf.reduce_all(image == image[..., :1])


def _header_fault(path: str) -> str | None:
    """What the name, the file system or the first bytes show to be wrong, before anything large is read."""
    try:
        path.encode()
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            return "not a regular file"
        if status.st_size == 0:
            return "empty file"
        with Image.open(path, formats=_FORMATS) as image:
            small = image.width * image.height <= images.MAX_PIXELS
        return None if small else _too_large()
    except UnicodeEncodeError:
        return "its name is not valid UTF-8: rename it"
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        return _too_large()
    except UnidentifiedImageError:
        return _unidentified(path)
    except OSError as error:
        return _unreadable(error)
    except (
        ValueError,
        EOFError,
        OverflowError,
    ) as error:  # what Pillow lets through for some broken headers
        return f"damaged: {printable(str(error))}"


def _too_large() -> str:
    return f"more than {images.MAX_PIXELS // 10**6} megapixels"


def _unreadable(error: OSError) -> str:
    # Pillow raises OSError for content too, then without an error number
    return (
        f"cannot be read: {error.strerror}"
        if error.strerror
        else f"damaged: {printable(str(error))}"
    )


def _unidentified(path: str) -> str:
    with open(path, "rb") as file:
        kind = _kind(file.read(16))
    return f"damaged {kind} header" if kind else "not a JPEG, PNG, GIF, BMP or WebP image"


def _kind(content: bytes) -> str | None:
    """The format that the first bytes announce."""
    return next(
        (name for name, at, mark in images.SIGNATURES if content[at : at + len(mark)] == mark), None
    )
