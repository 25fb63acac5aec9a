"""Parts of a batch: which of its rows a layer's inputs are, and whether any of them is real.

The layers that mix or count rows (dropout, batch norm) ask for it; whoever takes a batch apart says
it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import tensorflow as tf


class Part(NamedTuple):
    """A part of this replica's rows of a batch.

    Args:
        number: place in the order in which parts go through the model; 0 is the first.
        first_row: row of this replica at which the part begins, an int64 scalar.
        replica_rows: number of rows that this replica has, an int64 scalar.
        rows: number of rows that the part has. Inputs may have one more, made up where the part has
            none, which must not count.
        rows_anywhere: a boolean scalar, whether the part has rows on any replica.
    """

    number: int
    first_row: tf.Tensor
    replica_rows: tf.Tensor
    rows: tf.Tensor
    rows_anywhere: tf.Tensor

    def replace_if_empty(
        self, values: Sequence[Any], replacements: Sequence[Any]
    ) -> list[tf.Tensor]:
        """Return what was computed from the part's rows, or the replacements where it has none."""
        chosen = []
        for value, replacement in zip(values, replacements, strict=True):
            chosen.append(
                tf.where(
                    self.rows_anywhere,
                    value,
                    tf.cast(replacement, value.dtype),
                )
            )
        return chosen


_PART: ContextVar[Part | None] = ContextVar("part", default=None)


@contextmanager
def part_of_batch(part: Part) -> Iterator[None]:
    """Declare that the inputs of layers called in this context are this part of a batch."""
    token = _PART.set(part)
    try:
        yield
    finally:
        _PART.reset(token)


def current_part() -> Part | None:
    """Return the part that inputs are, None where they are a whole batch."""
    return _PART.get()


def first_row(rows: Any, part: Any, parts: int) -> Any:
    """Return the row at which part number `part` of `parts` begins.

    Parts are consecutive rows, as equal in number as can be; the last are empty if any are.
    """
    return -(-rows * part // parts)
