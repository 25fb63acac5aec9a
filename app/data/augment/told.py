"""What images draw, in words: for people who look at them."""

import numpy as np
import tensorflow as tf

# Of one kind of change: words for each image, none where it draws no change.
Words = list[str]
Told = list[Words]


def worded(template: str, *numbers: tf.Tensor, still: float = 0.0) -> Words:
    """Return the template filled with each image's numbers, "" where all are as good as `still`.

    Args:
        template: of `str.format`.
        numbers: `[n]` each; of flags, True is not still.
        still: what changes nothing.
    """
    rows = np.stack([np.asarray(column) for column in numbers], axis=1)
    words = []
    for row in rows:
        is_still = np.allclose(row.astype(float), still, atol=5e-4)
        words.append("" if is_still else template.format(*row))
    return words
