"""Sameness of data: digests of the files that it was read from, and words for what has changed."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from epochal.app.characters import printable
from epochal.app.errors import UsageError
from epochal.app.store.run import Run

if TYPE_CHECKING:
    from epochal.app.data.dataset import Dataset

_DIGEST_BYTES = 8  # enough against chance; a list of a million files stays small


def digest_of(content: Iterable[bytes]) -> str:
    """Return a digest of a file's content, which comes in parts."""
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for part in content:
        digest.update(part)
    return digest.hexdigest()


def check_same_data(dataset: "Dataset", stored: str, run: Run) -> None:
    """Refuse a data set without the stored fingerprint of the one that a run was trained on.

    Raises:
        UsageError: saying which of its files have changed, where the run lists them.
    """
    if not dataset.has_fingerprint(stored):
        changes = describe_changes(run.file_digests(), dataset.digests)
        raise UsageError(
            f"{run.folder}: the data set is not the one it was trained on{changes}; "
            "restore it or train a new run"
        )


def describe_changes(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Say how many files have another content, are gone or are new, and name the first of each.

    Args:
        before: digests by path; nothing is known of files that are not listed.
        now: likewise.

    Returns:
        Words to follow a sentence, from ": " on; empty where `before` lists nothing.
    """
    if not before:
        return ""
    changed = []
    gone = []
    for path, digest in before.items():
        if path not in now:
            gone.append(path)
        elif now[path] != digest:
            changed.append(path)
    new = [path for path in now if path not in before]
    parts = []
    for fault, paths in (("changed", changed), ("gone", gone), ("new", new)):
        if paths:
            first = printable(paths[0])
            example = f"'{first}'" if len(paths) == 1 else f"'{first}' and others"
            parts.append(f"{len(paths):,} {fault} ({example})")
    if not parts:
        return ": its files are the same, but are split or decoded otherwise than then"
    return f": of {len(before):,} files {', '.join(parts)}"
