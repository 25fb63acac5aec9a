"""Files and folders that are either whole or absent: written beside their place, flushed, renamed.

Order that survives power loss: write, fsync the file, rename, fsync the folder that names it.
"""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from epochal.app.errors import RunInUse, StorageError, UsageError

MANIFEST = "manifest.json"
FORMAT = 1  # of a published folder; raised when its meaning changes
_TEMPORARY = ".tmp-"


@contextmanager
def _storage_errors(path: Path) -> Iterator[None]:
    """Raise StorageError in place of an OSError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(
            f"cannot write {path}: {reason}; {remedy(error)}, then run again"
        ) from error


def remedy(error: OSError) -> str:
    """Return advice for something that could not be written."""
    if isinstance(error, FileExistsError | NotADirectoryError):
        return "move the file that stands where a folder should be"
    if error.errno == errno.ENAMETOOLONG:
        return "give a shorter name"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return "raise the limit of open files (ulimit -n)"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return (
            "change the permissions, or give the command in a folder that you may write to (cd ~): "
            "it writes where it is given"
        )
    return "free space or change the permissions"


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`; after a crash the file holds the old bytes or the new, never a mix.

    Raises:
        StorageError: when the file cannot be written; the old file is then untouched.
    """
    with _storage_errors(path):
        descriptor, name = tempfile.mkstemp(
            prefix=_TEMPORARY,
            dir=path.parent,
        )
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o666 & ~_umask())
            os.replace(name, path)
        except BaseException:
            # The first failure is the one to report.
            with suppress(OSError):
                os.unlink(name)
            raise
        sync_folder(path.parent)


def open_regular(path: str, flags: int) -> int:
    """Open a file that is no link and nothing that a process could wait for; `open` takes it.

    Raises:
        StorageError: it is something else.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO):
            raise
        raise _not_regular(path) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _not_regular(path)
    return descriptor


def refuse_links(folder: Path) -> None:
    """Refuse a folder in which something is neither a file nor a folder: writing would follow it.

    Raises:
        StorageError: naming it.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                with suppress(FileNotFoundError):  # a worker of a sweep may remove what it tried
                    refuse_links(Path(entry.path))
            elif not entry.is_file(follow_symlinks=False):
                raise _not_regular(entry.path)


def _not_regular(path: str | Path) -> StorageError:
    return StorageError(f"{path} is a link or no file, and is not written to; remove it")


def check_new_png(path: Path | None, flag: str = "--plot") -> None:
    """Refuse a place for a picture that is no new PNG file; None is no picture.

    Args:
        path: as it was given.
        flag: by which it is given.

    Raises:
        UsageError: saying what to give instead.
    """
    if path is None:
        return
    if path.suffix != ".png":
        raise UsageError(f"{flag} {path}: a PNG file is written; give a name that ends in .png")
    if os.path.lexists(path):
        raise UsageError(f"{flag} {path}: exists already and is not overwritten; give another name")
    if not path.parent.is_dir():
        raise UsageError(f"{flag} {path}: there is no folder {path.parent}; make it first")


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` as indented JSON, as `write_bytes` does."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    write_bytes(path, f"{text}\n".encode())


def publish(folder: Path, fill: Callable[[Path], None]) -> None:
    """Let `fill` write files into a temporary folder, seal it and rename it to `folder`.

    The seal is a manifest with the SHA-256 sum of every file.

    Raises:
        StorageError: when anything cannot be written or `folder` exists; nothing is left then.
    """
    with _storage_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(
            tempfile.mkdtemp(
                prefix=_TEMPORARY,
                dir=folder.parent,
            )
        )
        try:
            fill(temporary)
            _seal(temporary)
            os.chmod(temporary, 0o777 & ~_umask())
            # Fails on a folder that holds anything: nothing is overwritten.
            os.rename(temporary, folder)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        sync_folder(folder.parent)


def publish_filled(filled: Path, folder: Path) -> None:
    """Seal a folder that was filled beside its place, maybe over several attempts, and rename it.

    Raises:
        StorageError: it cannot be written, or `folder` holds anything.
    """
    with _storage_errors(folder):
        (filled / MANIFEST).unlink(missing_ok=True)  # of an attempt that was killed
        _seal(filled)
        os.rename(filled, folder)
        sync_folder(folder.parent)


@contextmanager
def exclusively(folder: Path) -> Iterator[None]:
    """Wait until no other process is in here with this folder, and hold it so.

    Raises:
        StorageError: the folder cannot be held.
    """
    with _storage_errors(folder):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with _storage_errors(folder):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def alone(
    folder: Path, busy: str = "writes a version there; wait for it, or give --name"
) -> Iterator[None]:
    """Make a folder and hold it for this process; one that stays empty is removed.

    Args:
        folder: to be held.
        busy: says of another process what it does, and what to do about it.

    Raises:
        RunInUse: another process holds it.
        StorageError: it cannot be made.
    """
    with _storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunInUse(f"{folder}: another process {busy}") from error
        yield
    finally:
        os.close(descriptor)
        with suppress(OSError):
            folder.rmdir()


def verify(folder: Path) -> dict[str, Any]:
    """Return the manifest of a published folder after comparing every byte with it.

    Raises:
        StorageError: naming the first file that is missing, damaged or not of this folder.
    """
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
        expected: dict[str, Any] = dict(manifest["files"])
        is_sealed = manifest["seal"] == _digest_of_sums(expected)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise StorageError(f"{folder}: its manifest is missing or damaged") from error
    if not is_sealed:
        raise StorageError(f"{folder}: its manifest was changed")
    if manifest.get("format") != FORMAT:
        raise StorageError(
            f"{folder}: format {manifest.get('format')!r} is not format {FORMAT} of this version"
        )
    present = set(_file_names(folder))
    present.discard(MANIFEST)
    for name in sorted(present | set(expected)):
        if name not in present:
            raise StorageError(f"{folder}: {name} is missing")
        if name not in expected or _sha256(folder / name) != expected[name]:
            raise StorageError(f"{folder}: {name} is damaged")
    return manifest


def sweep(folder: Path) -> None:
    """Remove the temporary files and folders that a killed process left directly in `folder`."""
    for leftover in folder.glob(f"{_TEMPORARY}*"):
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def remove_published(folder: Path) -> None:
    """Delete a published folder.

    A crash leaves it whole, or under a temporary name, which `sweep` removes.
    """
    doomed = folder.parent / f"{_TEMPORARY}{folder.name}"
    # What cannot be deleted only costs space.
    with suppress(OSError):
        os.rename(folder, doomed)
        shutil.rmtree(doomed)


def _seal(folder: Path) -> None:
    """Write the manifest of a folder, and make all its files durable."""
    sums = {}
    for name in _file_names(folder):
        sums[name] = _sha256(folder / name)
    manifest = {"format": FORMAT, "files": sums, "seal": _digest_of_sums(sums)}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1))
    for name in [*sums, MANIFEST]:
        with open(folder / name, "rb") as file:
            os.fsync(file.fileno())
    for path in folder.rglob("*"):
        if path.is_dir():
            sync_folder(path)
    sync_folder(folder)


def _file_names(folder: Path) -> list[str]:
    """Return the paths of all files below a folder, relative to it and in order."""
    names = []
    for path in folder.rglob("*"):
        if not path.is_dir():
            names.append(str(path.relative_to(folder)))
    names.sort()
    return names


def _sha256(path: Path) -> str:
    """Return the SHA-256 sum of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest_of_sums(sums: dict[str, Any]) -> str:
    """Return the SHA-256 sum of all sums, by which a changed manifest is known."""
    text = json.dumps(sums, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _umask() -> int:
    """Return the permissions that new files do not get."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
