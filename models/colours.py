"""Colours: how images were standardised that published weights were trained on."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Colours:
    """The standardisation of the images that published weights were trained on.

    Values are for red, green and blue in units of 0..255.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    blue_first: bool = False  # whether their first kernel reads blue, green, red


# `preprocess_input` of each module of keras.applications, or the layers that do its work inside
CENTRED = Colours(mean=(127.5,) * 3, deviation=(127.5,) * 3)
CAFFE = Colours(
    mean=(123.68, 116.779, 103.939),
    deviation=(1.0,) * 3,
    blue_first=True,
)
TORCH = Colours(
    mean=(123.675, 116.28, 103.53),
    deviation=(58.395, 57.12, 57.375),
)
OF_EFFICIENTNET_V2 = Colours(mean=(128.0,) * 3, deviation=(128.0,) * 3)
LITE_COLOURS = Colours(mean=(127.0,) * 3, deviation=(128.0,) * 3)
