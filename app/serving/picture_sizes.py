"""Sizes of a request's pictures, read from their headers before any is decoded. No TensorFlow."""

from collections.abc import Iterable
from io import BytesIO

from PIL import Image

from epochal.app.serving.tensor_errors import BadRequest

MOST_PIXELS = 64_000_000  # of all pictures of a request
# A PNG of one bit a pixel, deflated as far as that goes: no format makes more of a byte.
_PIXELS_PER_BYTE = 8 * 1032


def check_picture_sizes(files: Iterable[bytes]) -> None:
    """Check how many pixels pictures claim in their headers; what is no picture counts for none.

    Raises:
        BadRequest: more than `MOST_PIXELS`.
    """
    contents = list(files)
    num_bytes = sum(map(len, contents))
    if _PIXELS_PER_BYTE * num_bytes <= MOST_PIXELS:
        return
    if sum(map(_claimed_pixels, contents)) > MOST_PIXELS:
        limit = f"{MOST_PIXELS // 10**6} megapixels"
        raise BadRequest(f"expecting pictures of at most {limit} in all")


def _claimed_pixels(content: bytes) -> int:
    try:
        with Image.open(BytesIO(content)) as image:
            return image.width * image.height
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        return MOST_PIXELS + 1
    except (OSError, ValueError, EOFError, OverflowError, SyntaxError):
        # The decoder has words for it.
        return 0
