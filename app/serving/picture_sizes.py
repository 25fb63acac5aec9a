"""How large the pictures of a request would be, seen before any of them is decoded. No TensorFlow."""

from collections.abc import Iterable
from io import BytesIO

from PIL import Image

from epochal.app.serving.tensor_errors import BadRequest

MOST = 64_000_000  # of all pictures of a request
_PER_BYTE = (
    8 * 1032
)  # a PNG of one bit a pixel, deflated as far as that goes: no format makes more of a byte


def check(files: Iterable[bytes]) -> None:
    """Raises BadRequest when their headers claim more than `MOST` pixels; what is no picture counts for none."""
    found = list(files)
    if _PER_BYTE * sum(map(len, found)) > MOST and sum(map(_claimed, found)) > MOST:
        raise BadRequest(f"expecting pictures of at most {MOST // 10**6} megapixels in all")


def _claimed(content: bytes) -> int:
    try:
        with Image.open(BytesIO(content)) as image:
            return image.width * image.height
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        return MOST + 1
    except (
        OSError,
        ValueError,
        EOFError,
        OverflowError,
        SyntaxError,
    ):  # the decoder has words for it
        return 0
