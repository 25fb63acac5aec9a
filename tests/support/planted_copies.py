"""Photographs made of waves, and copies of them as the web makes copies."""

import io

import numpy as np
from PIL import Image


def make_photo(random: np.random.Generator, side: int = 96) -> np.ndarray:
    """A smooth picture in colour with detail at every scale, uint8 `[side, side, 3]`."""
    spectrum = np.fft.rfft2(random.normal(size=(3, side, side)))
    rows = np.fft.fftfreq(side)[:, None]
    columns = np.fft.rfftfreq(side)
    spectrum /= 1 / side + np.hypot(rows, columns)
    waves = np.fft.irfft2(spectrum, s=(side, side))
    # Like those of a photograph, the channels have most in common.
    waves = waves + 2 * waves.mean(0)
    waves = (waves - waves.mean()) / waves.std()
    return np.clip(128 + 45 * waves, 0, 255).astype(np.uint8).transpose(1, 2, 0)


def make_copy(picture: np.ndarray, random: np.random.Generator) -> bytes:
    """A JPEG of quality 60 to 90, cropped by 2 to 4 %, scaled back and 3 to 10 % brighter."""
    side = len(picture)
    cut = random.uniform(0.02, 0.04) * side
    left, top = random.uniform(0, cut, 2)
    box = (left, top, left + side - cut, top + side - cut)
    image = Image.fromarray(picture.squeeze()).resize((side, side), Image.Resampling.BICUBIC, box)
    brighter = np.asarray(image) * random.uniform(1.03, 1.10)
    file = io.BytesIO()
    Image.fromarray(np.clip(brighter, 0, 255).astype(np.uint8)).save(
        file, "JPEG", quality=int(random.integers(60, 91))
    )
    return file.getvalue()


def decode(file: bytes) -> np.ndarray:
    """The pixels of a JPEG, uint8 `[H, W, C]`."""
    pixels = np.asarray(Image.open(io.BytesIO(file)))
    return pixels.reshape(*pixels.shape[:2], -1)
