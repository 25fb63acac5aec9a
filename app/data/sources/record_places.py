"""Places of records in a TFRecord file: lengths by their headers, before anything is read whole.

A record is its length (uint64), a checksum of that, the data, and a checksum of these
(tensorflow/core/lib/io/record_writer.h). TensorFlow checks the checksums, but would allocate
whatever a length says.
"""

import os
import struct
from pathlib import Path

import numpy as np

from epochal.app.data.sources.folder_listing import quoted
from epochal.app.errors import UsageError

_HEADER = 12
_FOOTER = 4
_LENGTH = struct.Struct("<Q")
_BUFFER = 4096
_MOST_BYTES = 2**30  # of a record; an image may have a little more than half of it


def record_places(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return offset and length of each record's data in a file, int64, in bytes.

    Raises:
        UsageError: a record does not fit into the file, or is larger than any image.
        OSError: the file cannot be read.
    """
    offsets: list[int] = []
    lengths: list[int] = []
    with open(path, "rb", buffering=_BUFFER) as file:
        size = os.fstat(file.fileno()).st_size
        start = 0
        while start < size:
            file.seek(start)
            header = file.read(_HEADER)
            end = size + 1
            if len(header) == _HEADER:
                (length,) = _LENGTH.unpack(header[:8])
                end = start + _HEADER + length + _FOOTER
            if end > size:
                raise UsageError(
                    f"{quoted(path)} is cut short or damaged (record {len(offsets):,}, at byte "
                    f"{start:,} of {size:,}); restore it"
                )
            if length > _MOST_BYTES:
                raise UsageError(
                    f"{quoted(path)}: record {len(offsets):,} has {length:,} bytes, expected at "
                    f"most {_MOST_BYTES:,}; write it with smaller images"
                )
            offsets.append(start + _HEADER)
            lengths.append(length)
            start = end
    return np.array(offsets, np.int64), np.array(lengths, np.int64)
