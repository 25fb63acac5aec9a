"""Places in the checkout, and beside it."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _beside(name: str) -> Path:
    """Return a folder beside the checkout, or further up: a worktree lies deeper."""
    for parent in ROOT.parents:
        if (parent / name).is_dir():
            return parent / name
    return ROOT.parent / name


PRETRAINED = _beside("shared") / "pretrained"
needs_pretrained = pytest.mark.skipif(
    not PRETRAINED.is_dir(), reason="trained weights do not lie in ../shared/pretrained"
)
