"""What a layer must know of its inputs where they are a part of a batch: which rows these are, and whether any is real.

The layers that mix or count rows (dropout, batch norm) ask for it; whoever takes a batch apart says it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import tensorflow as tf


class Part(NamedTuple):
    """A part of this replica's rows of a batch.

    Args:
        number: of the part, in the order in which parts go through the model; 0 is the first.
        first: where it begins among this replica's rows, an int64 scalar.
        rows: how many rows this replica has, an int64 scalar.
        own: how many rows the part has; inputs may have one more, made up where it has none, which must not count.
        some: a boolean scalar: whether it has rows on any replica.
    """

    number: int
    first: tf.Tensor
    rows: tf.Tensor
    own: tf.Tensor
    some: tf.Tensor

    def or_else(self, found: Sequence[Any], otherwise: Sequence[Any]) -> list[Any]:
        """What was found in the part's rows, or other tensors where it has none, of which nothing can be found."""
        return [
            tf.where(self.some, one, tf.cast(other, one.dtype))
            for one, other in zip(found, otherwise, strict=True)
        ]


_PART: ContextVar[Part | None] = ContextVar("part", default=None)


@contextmanager
def part_of_batch(part: Part) -> Iterator[None]:
    """Within it, inputs are this part of a batch."""
    token = _PART.set(part)
    try:
        yield
    finally:
        _PART.reset(token)


def current_part() -> Part | None:
    """The part that inputs are; None where they are whole."""
    return _PART.get()


def first_row(rows: Any, part: Any, parts: int) -> Any:
    """Where one of so many parts of consecutive rows begins, as equal as can be; the last are empty if any are."""
    return -(-rows * part // parts)
