"""Members: images that lie in other files, read there by place, without unpacking."""

import errno
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from epochal.app.data.decoding import MAX_BYTES
from epochal.app.data.file_inspection import (
    TOO_MANY_BYTES,
    BadFile,
    ImageFacts,
    inspect_contents,
)
from epochal.app.data.open_files import OpenFiles


class Place(NamedTuple):
    """Where an image lies: offset and length in bytes, in a file."""

    file: str
    offset: int
    length: int


class Members:
    """Images that lie in other files, by name."""

    def __init__(self, places: Mapping[str, Place]) -> None:
        self._places = places
        self._files = list(dict.fromkeys(place.file for place in places.values()))

    def inspect(self, names: Sequence[str]) -> list[ImageFacts | BadFile]:
        """Decode every image, and return in order what each is, or its fault."""
        files = OpenFiles(self._files)
        numbers = dict(zip(self._files, range(len(self._files)), strict=True))

        def read(name: str) -> bytes:
            place = self._places[name]
            if place.length > MAX_BYTES:
                raise OSError(errno.EFBIG, TOO_MANY_BYTES)
            return files.read(numbers[place.file], place.offset, place.length)

        return inspect_contents(names, read)

    def loader(self, names: Sequence[str]) -> Callable[[tf.Tensor], tf.Tensor]:
        """Return a function, in TensorFlow operations, from a place in `names` to its bytes."""
        places = [self._places[name] for name in names]
        own_files = list(dict.fromkeys(place.file for place in places))
        numbers = dict(zip(own_files, range(len(own_files)), strict=True))
        return member_loader(
            OpenFiles(own_files),
            file=np.array([numbers[place.file] for place in places], np.int64),
            offset=np.array([place.offset for place in places], np.int64),
            length=np.array([place.length for place in places], np.int64),
        )

    def files(self, names: Iterable[str]) -> Iterable[str]:
        """Return the paths of the files that hold images."""
        return self._files


def member_loader(
    files: OpenFiles, *, file: np.ndarray, offset: np.ndarray, length: np.ndarray
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return a function, in TensorFlow operations, from an index to the bytes of a member.

    Args:
        files: hold the members.
        file: int `[N]`, the number of each member's file.
        offset, length: int `[N]`, of each member in its file, in bytes.
    """

    def read_member(index: np.ndarray) -> bytes:
        return files.read(int(file[index]), int(offset[index]), int(length[index]))

    def load(index: tf.Tensor) -> tf.Tensor:
        content = tf.numpy_function(read_member, [index], tf.string)
        return tf.ensure_shape(content, [])

    return load
