"""Headers of tar files: names and places of the members, and nothing unpacked.

Headers alone are read, 512 bytes each (POSIX.1-2017, pax, "ustar Interchange Format"; the long
names and large numbers of GNU tar too). An archive may come from anywhere: whatever is no plain
file or folder, leads elsewhere by its name, or does not fit into the file is refused.

`tarfile` of Python ends silently at a damaged header, as if it were the archive's end, and reads a
header's extension whole, however long it says it is.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from epochal.app.data.sources.folder_listing import quoted
from epochal.app.errors import UsageError

_BLOCK = 512
_MOST_EXTENSION_BYTES = 2**20
_LARGEST_RECORD = 2**20  # of tar's --blocking-factor; 10,240 bytes are usual
_REGULAR = (b"0", b"\0", b"7")
_FOLDER = b"5"
_LONG_NAME = b"L"
_PAX = b"x"
_PAX_OF_ALL = b"g"
_REFUSED = {
    b"1": "a hard link",
    b"2": "a link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a pipe",
    b"K": "a link",
    b"S": "a sparse file",
}


class Member(NamedTuple):
    """A plain file in an archive: its name, and where its bytes lie."""

    name: str
    offset: int
    length: int


def members_of(path: Path) -> Iterator[Member]:
    """Give the plain files of a tar file in order, from one pass over its headers.

    Raises:
        UsageError: the file is no tar file, is cut short or damaged, or has a member that is
            refused; naming the member.
        OSError: it cannot be read.
    """
    with open(path, "rb", buffering=_BLOCK) as file:
        size = os.fstat(file.fileno()).st_size
        offset = 0
        name = None
        length = None
        while True:
            file.seek(offset)
            header = file.read(_BLOCK)
            if len(header) < _BLOCK:
                raise _cut_short(path, offset)
            if not any(header):
                _check_end(path, file.read(_BLOCK), offset, size)
                return
            kind, header_name, header_length = _parse(path, header, offset)
            start = offset + _BLOCK
            if kind in (_LONG_NAME, _PAX, _PAX_OF_ALL):
                _check_fits(path, header_name, start, header_length, size)
                if header_length > _MOST_EXTENSION_BYTES:
                    raise _refused(path, header_name, "a header of over a megabyte")
                extension = file.read(header_length)
                if kind == _LONG_NAME:
                    name = _text(path, extension.rstrip(b"\0"))
                elif kind == _PAX:
                    pax = _pax_values(path, extension, offset)
                    name = pax.get("path", name)
                    length = _pax_size(path, pax, offset)
                offset = _end_of(start, header_length)
                continue
            member = Member(
                name=header_name if name is None else name,
                offset=start,
                length=header_length if length is None else length,
            )
            name = None
            length = None
            _check_member(path, member, kind)
            _check_fits(path, member.name, start, member.length, size)
            if kind in _REGULAR and not member.name.endswith("/"):
                yield member
            offset = _end_of(start, member.length)


def _parse(path: Path, header: bytes, offset: int) -> tuple[bytes, str, int]:
    """Return kind, name and length of a header with a sound checksum."""
    stated = _number(header[148:156])
    total = sum(header) - sum(header[148:156]) + 8 * ord(" ")
    if stated != total:
        fault = "is no tar file" if offset == 0 else f"is damaged (header at byte {offset:,})"
        raise UsageError(f"{quoted(path)} {fault}; restore it")
    name = header[:100].split(b"\0")[0]
    if header[257:263] == b"ustar\0":
        prefix = header[345:500].split(b"\0")[0]
        if prefix:
            name = prefix + b"/" + name
    length = _number(header[124:136])
    if length is None or length < 0:
        raise _refused(path, _text(path, name), "of a size that is no number")
    return header[156:157], _text(path, name), length


def _number(field: bytes) -> int | None:
    """Return a number in octal digits, or in GNU tar's binary form; None where it is none."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    if not digits:
        return 0
    if any(digit not in b"01234567" for digit in digits):
        return None
    return int(digits, 8)


def _pax_values(path: Path, extension: bytes, offset: int) -> dict[str, str]:
    """Return the records `LENGTH KEY=VALUE` of a pax header."""
    values = {}
    place = 0
    while place < len(extension):
        digits, _, _ = extension[place : place + 12].partition(b" ")
        length = int(digits) if digits.isdigit() else 0
        record = extension[place : place + length]
        key, equals, value = record[len(digits) + 1 : -1].partition(b"=")
        if not equals or len(record) < length or record[-1:] != b"\n":
            raise UsageError(f"{quoted(path)} is damaged (header at byte {offset:,}); restore it")
        if key.startswith(b"GNU.sparse"):
            raise _refused(path, _text(path, value), "a sparse file")
        values[_text(path, key)] = _text(path, value)
        place += length
    return values


def _pax_size(path: Path, values: dict[str, str], offset: int) -> int | None:
    size = values.get("size")
    if size is None:
        return None
    if not (size.isascii() and size.isdigit() and len(size) < 20):
        raise UsageError(f"{quoted(path)} is damaged (header at byte {offset:,}); restore it")
    return int(size)


def _text(path: Path, name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        shown = name.decode(errors="backslashreplace")
        raise _refused(path, shown, "of a name that is not UTF-8") from None


def _check_member(path: Path, member: Member, kind: bytes) -> None:
    if kind in _REFUSED:
        raise _refused(path, member.name, _REFUSED[kind])
    if kind not in _REGULAR and kind != _FOLDER:
        raise _refused(path, member.name, "no plain file")
    parts = member.name.split("/")
    if member.name.startswith("/") or ".." in parts or "\0" in member.name:
        raise _refused(path, member.name, "of a name that leads out of the archive")


def _check_fits(path: Path, name: str, start: int, length: int, size: int) -> None:
    if start + length > size:
        raise UsageError(
            f"{quoted(path)}: member {quoted(name)} is said to have {length:,} bytes, but the "
            f"file ends before; it is cut short or damaged: restore it"
        )


def _check_end(path: Path, block: bytes, offset: int, size: int) -> None:
    """An archive ends with two blocks of zeros, and zeros up to the end of its last record."""
    if len(block) < _BLOCK or any(block):
        raise _cut_short(path, offset)
    with open(path, "rb") as file:
        file.seek(offset)
        rest = file.read(_LARGEST_RECORD)
    if any(rest) or size - offset > _LARGEST_RECORD:
        raise UsageError(
            f"{quoted(path)} goes on behind its end (at byte {offset:,} of {size:,}), as tar files "
            "do that were written into one; keep them apart"
        )


def _cut_short(path: Path, offset: int) -> UsageError:
    return UsageError(
        f"{quoted(path)} has no end of an archive (at byte {offset:,}): it is cut short; restore it"
    )


def _refused(path: Path, name: str, what: str) -> UsageError:
    return UsageError(
        f"{quoted(path)}: member {quoted(name)} is {what}, expected plain files of images and "
        "labels; make the shard without it"
    )


def _end_of(start: int, length: int) -> int:
    return start + -(-length // _BLOCK) * _BLOCK
