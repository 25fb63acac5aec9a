"""Image files of every kind, sound and broken, and malformed folders, with expected results.

Everything is made here from a seedless picture, by Pillow or by hand, so that the corpus is the
same everywhere.
"""

import base64
import os
import struct
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

HEIGHT = 17
WIDTH = 25  # odd and unequal: rows need padding, and no orientation looks like another

# `picture()` as jpegtran -arithmetic and -arithmetic -progressive make it: Pillow reads, but cannot
# write it.
_ARITHMETIC = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNy"
    "wtQFdBRkxOUlNSMj5aYVpQYEpRUk//2wBDAQ4ODhMREyYVFSZPNS01T09PT09PT09PT09PT09PT09PT09PT09PT09P"
    "T09PT09PT09PT09PT09PT09PT09PT0//yQARCAARABkDASIAAhEBAxEB/8wACgAQEAUBEBEF/9oADAMBAAIRAxEAPw"
    "D/AHbRyjAqeHoxq7Ub7txtSDjUeCY59LhuQYqQyNjHJbZtsHKWCZtLZJdqDRk4kt8UCbJ9v/L625pAIPfAN6yhDINs"
    "g/BRv+fpOMXXCtSoo/wen9kNZ/0dzq3+NiX/AH//ADQ5uZh4sCtzSnKwa6HVr/O5VJ0/gP/Z"
)
_ARITHMETIC_PROGRESSIVE = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNy"
    "wtQFdBRkxOUlNSMj5aYVpQYEpRUk//2wBDAQ4ODhMREyYVFSZPNS01T09PT09PT09PT09PT09PT09PT09PT09PT09P"
    "T09PT09PT09PT09PT09PT09PT09PT0//ygARCAARABkDASIAAhEBAxEB/8wABgAQARD/2gAMAwEAAhADEAAAAf7r6g"
    "ixPZ/U1GNaNY77tFzOhSgmGI4w/8wABBAF/9oACAEBAAEFAh6pFY9ad+7zAs0U/Yc1GP/MAAQRBf/aAAgBAwEBPwEV"
    "TVqnH86bmP/MAAQRBf/aAAgBAgEBPwE92l6EshLzXD5CRszAG2pm/8wABBAF/9oACAEBAAY/AsD/zAAEEAX/2gAIAQ"
    "EAAT8hH2XikSWwAGV+aqyA/9oADAMBAAIAAwAAABB0g2T/zAAEEQX/2gAIAQMBAT8QZYHl/SWA/8wABBEF/9oACAEC"
    "AQE/EMdaN21f61c1n+Pw/8wABBAF/9oACAEBAAE/EGaoUWj3zWURrSB6ZjBbIDKA/9k="
)


@dataclass(frozen=True)
class Sound:
    """Must decode to `rgb` within `tolerance` levels, or (None) to anything of that size.

    Lossy formats have a tolerance: Pillow may bring another release of their library than
    TensorFlow.
    """

    content: bytes
    rgb: np.ndarray | None
    tolerance: int = 0


@dataclass(frozen=True)
class Broken:
    """Must be refused, by `decode` as by the scan, whose reason must match `reason`."""

    content: bytes
    reason: str


def picture() -> Image.Image:
    """Smooth in one direction, sharp in the other, different in each channel and each corner."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    red = 255 * x / WIDTH
    green = 255 * y / HEIGHT
    blue = 128 + 120 * np.sin(x * y / 40)
    return Image.fromarray(np.stack([red, green, blue], -1).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def by_pillow(content: bytes) -> np.ndarray:
    """The independent reference: Pillow's RGB, upright, without blending."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it thinks of the broken Exif segments
        image = Image.open(BytesIO(content))
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def tiff(
    value: int, *, order: str = "<", tag: int = 0x0112, kind: int = 3, entries_before: int = 0
) -> bytes:
    """A TIFF structure with one directory: some filler entries, then `tag` with `value`."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    filler = [struct.pack(order + "HHIHH", 0x0100 + i, 3, 1, 7, 0) for i in range(entries_before)]
    value_field = struct.pack(
        order + ("HH" if kind == 3 else "I"), *([value, 0] if kind == 3 else [value])
    )
    entries = [*filler, struct.pack(order + "HHI", tag, kind, 1) + value_field]
    count = struct.pack(order + "H", len(entries))
    return (
        mark + struct.pack(order + "I", 8) + count + b"".join(entries) + struct.pack(order + "I", 0)
    )


def segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def with_exif(jpeg: bytes, structure: bytes, *, before: bytes = b"") -> bytes:
    """`jpeg` with `before` and an Exif segment put directly after its start marker."""
    return jpeg[:2] + before + segment(0xE1, b"Exif\0\0" + structure) + jpeg[2:]


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_png_chunks(content: bytes, *, before: bytes = b"", after: bytes = b"") -> bytes:
    """A PNG with chunks put in before and behind its pixels."""
    header_end = 8 + 25
    return content[:header_end] + before + content[header_end:-12] + after + content[-12:]


def png(
    size: tuple[int, int], rows: bytes, *, depth: int = 8, colour: int = 2, interlaced: bool = False
) -> bytes:
    """A PNG written by hand; `rows` are the filtered scan lines, `size` is width and height."""
    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, interlaced)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def bmp(
    size: tuple[int, int],
    pixels: bytes,
    *,
    bits: int = 24,
    compression: int = 0,
    palette: bytes = b"",
) -> bytes:
    """A BMP with a 40-byte header written by hand; a negative height means rows from the top."""
    colours = len(palette) // 4
    info = struct.pack(
        "<IiiHHIIiiII", 40, *size, 1, bits, compression, len(pixels), 0, 0, colours, 0
    )
    start = 14 + len(info) + len(palette)
    head = b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start)
    return head + info + palette + pixels


def flipped(content: bytes, place: float) -> bytes:
    """One bit inverted, at a fraction of the length."""
    at = int(len(content) * place)
    return content[:at] + bytes([content[at] ^ 16]) + content[at + 1 :]


def _jpegs() -> dict[str, bytes]:
    image = picture()
    plain = encoded(image, "JPEG", quality=95)
    files = {
        "plain": plain,
        "progressive": encoded(image, "JPEG", progressive=True),
        "arithmetic": _ARITHMETIC,
        "arithmetic, progressive": _ARITHMETIC_PROGRESSIVE,
        "full colour": encoded(image, "JPEG", subsampling=0),
        "restarts": encoded(image, "JPEG", restart_marker_blocks=1),
        "grey": encoded(image.convert("L"), "JPEG"),
        "cmyk": encoded(image.convert("CMYK"), "JPEG"),
        "profile": encoded(image, "JPEG", icc_profile=b"profile!"),
        "one pixel": encoded(image.resize((1, 1)), "JPEG"),
        "trailing junk": plain + b"\0junk" * 20,
        "comment with code": plain[:2] + segment(0xFE, b"<?php echo 1; ?>") + plain[2:],
        "exif after jfif": with_exif(plain[:2] + plain[20:], tiff(6), before=plain[2:20]),
        "exif after long jfif": with_exif(
            plain, tiff(8), before=segment(0xE0, b"JFXX\0" + bytes(40_000))
        ),
        "exif, many entries": with_exif(plain, tiff(5, order=">", entries_before=12)),
        "exif without orientation": with_exif(plain, tiff(6, tag=0x0110)),
        "exif, orientation 0": with_exif(plain, tiff(0)),
        "exif, orientation 9": with_exif(plain, tiff(9)),
        "exif, empty": with_exif(plain, b""),
        "exif, cut short": with_exif(plain, tiff(6)[:9]),
        "exif, no byte order": with_exif(plain, b"XX" + tiff(6)[2:]),
        "exif, directory far away": with_exif(plain, b"II*\0" + struct.pack("<I", 2**32 - 1)),
        "exif, only a thumbnail": with_exif(plain, b"II*\0" + struct.pack("<IHI", 8, 0, 0)),
        "xmp before exif": with_exif(
            plain, tiff(3), before=segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0")
        ),
    }
    for order, name in (("<", "little"), (">", "big")):
        for value in range(1, 9):
            structure = tiff(value, order=order, entries_before=3)
            files[f"exif {value} {name}-endian"] = with_exif(plain, structure)
    return files


def _pngs() -> dict[str, bytes]:
    image = picture()
    palette = image.quantize(16)
    clear = image.copy()
    clear.putalpha(image.convert("L"))
    turned = image.transpose(Image.Transpose.ROTATE_180)
    plain = encoded(image, "PNG")
    text = png_chunk(b"tEXt", b"Comment\0an eXIf chunk, and eXIfII*\0 in a text")
    files = {
        "plain": plain,
        "one bit": encoded(image.convert("1"), "PNG"),
        "grey": encoded(image.convert("L"), "PNG"),
        "grey and alpha": encoded(clear.convert("LA"), "PNG"),
        "alpha": encoded(clear, "PNG"),
        "palette": encoded(palette, "PNG"),
        "palette of 4": encoded(image.quantize(4), "PNG", bits=2),
        "palette and transparency": encoded(palette, "PNG", transparency=3),
        "colour and transparency": encoded(image, "PNG", transparency=(0, 0, 128)),
        "interlaced": png(
            (2, 2), b"\0\1\2\3" + b"\0\4\5\6" + b"\0\7\x08\x09\x0a\x0b\x0c", interlaced=True
        ),
        "one pixel": encoded(image.resize((1, 1)), "PNG"),
        "thin": png((65_535, 1), bytes(1 + 3 * 65_535)),
        "trailing junk": plain + b"junk",
        "zip behind it": plain + b"PK\5\6" + bytes(18),
        "animated": encoded(image, "PNG", save_all=True, append_images=[turned]),
        "profile": encoded(image, "PNG", icc_profile=b"profile!"),
        "named in a text": with_png_chunks(plain, before=text),
        "exif behind a text": with_png_chunks(plain, before=text + png_chunk(b"eXIf", tiff(6))),
        "exif behind the pixels": with_png_chunks(plain, after=png_chunk(b"eXIf", tiff(8))),
        "exif with a JPEG's mark": with_png_chunks(
            plain, before=png_chunk(b"eXIf", b"Exif\0\0" + tiff(7))
        ),
        "exif, empty": with_png_chunks(plain, before=png_chunk(b"eXIf", b"")),
        "exif, orientation 9": with_png_chunks(plain, before=png_chunk(b"eXIf", tiff(9))),
        "exif, palette": encoded(palette, "PNG", exif=tiff(5)),
    }
    for order, name in (("<", "little"), (">", "big")):
        for value in range(1, 9):
            structure = tiff(value, order=order, entries_before=3)
            files[f"exif {value} {name}-endian"] = encoded(image, "PNG", exif=structure)
    return files


def _others() -> dict[str, bytes]:
    image = picture()
    turned = image.transpose(Image.Transpose.ROTATE_180)
    clear = image.copy()
    clear.putalpha(image.convert("L"))
    animated = {"save_all": True, "append_images": [turned]}
    pixels = encoded(image, "BMP")[54:]
    files = {
        "gif": encoded(image, "GIF"),
        "gif, grey": encoded(image.convert("L"), "GIF"),
        "gif, animated": encoded(image, "GIF", **animated),
        "gif, long comment": encoded(image, "GIF", comment=b"!\x2c\0" * 300),
        "gif, animated, comment": encoded(image, "GIF", comment=b"!\x2c\0" * 99, **animated),
        "gif, not interlaced": encoded(image, "GIF", interlace=0),
        "bmp, 24 bits": encoded(image, "BMP"),
        "bmp, 32 bits": encoded(image.convert("RGBA"), "BMP"),
        "bmp, 8 bits grey": encoded(image.convert("L"), "BMP"),
        "bmp, 8 bits palette": encoded(image.quantize(200), "BMP"),
        "bmp, 8 bits short palette": encoded(image.quantize(5), "BMP"),
        "bmp, from the top": bmp((WIDTH, -HEIGHT), pixels),
        "bmp, padded at the end": encoded(image, "BMP") + b"\0\0",
        "webp": encoded(image, "WEBP"),
        "webp, lossless": encoded(image, "WEBP", lossless=True),
        "webp, alpha": encoded(clear, "WEBP", lossless=True, exact=True),
        "webp, lossy alpha": encoded(clear, "WEBP"),
        "webp, with exif": encoded(image, "WEBP", lossless=True, exif=tiff(1)),
        "webp, animated": encoded(image, "WEBP", lossless=True, **animated),
        "webp, animated, profile": encoded(
            image, "WEBP", lossless=True, icc_profile=b"profile!", **animated
        ),
        "webp, animated alpha": encoded(clear, "WEBP", lossless=True, exact=True, **animated),
        "webp, animated, exif": encoded(image, "WEBP", lossless=True, exif=tiff(6), **animated),
        "webp, profile and exif": encoded(
            image, "WEBP", lossless=True, icc_profile=b"profile", exif=tiff(8, order=">")
        ),
        "webp, exif with a JPEG's mark": encoded(
            image, "WEBP", lossless=True, exif=b"Exif\0\0" + tiff(5)
        ),
    }
    for value in range(1, 9):
        structure = tiff(value, entries_before=3)
        files[f"webp, exif {value}"] = encoded(image, "WEBP", lossless=True, exif=structure)
    return files


def sound() -> dict[str, Sound]:
    """Files that must decode, by name."""
    groups = {"jpeg": _jpegs(), "png": _pngs(), "other": _others()}
    cases = {}
    for group, files in groups.items():
        for name, content in files.items():
            lossy = group == "jpeg" or name in ("webp", "webp, lossy alpha")
            cases[f"{group}: {name}"] = Sound(
                content, by_pillow(content), tolerance=2 if lossy else 0
            )
    deep = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 150
    upper = (deep >> 8).astype(np.uint8)
    rows = b"".join(
        b"\0" + row.astype(">u2").tobytes() for row in np.repeat(deep[..., None], 3, -1)
    )
    cases["png: 16 bits grey"] = Sound(
        encoded(Image.fromarray(deep), "PNG"), np.stack([upper] * 3, -1)
    )
    cases["png: 16 bits colour"] = Sound(
        png((WIDTH, HEIGHT), rows, depth=16), np.stack([upper] * 3, -1)
    )
    # nothing in a JPEG's scan can show a changed bit: a damaged picture, but a picture
    plain = encoded(picture(), "JPEG", quality=95)
    cases["jpeg: bit flipped in the scan"] = Sound(flipped(plain, 0.9), None)
    return cases


def broken() -> dict[str, Broken]:
    """Files that must be refused, by name."""
    image = picture()
    jpeg, plain, gif, webp = (encoded(image, kind) for kind in ("JPEG", "PNG", "GIF", "WEBP"))
    cannot = "cannot be decoded"
    header = "damaged|cannot be decoded"  # whichever of Pillow and TensorFlow sees it first
    foreign = "not a JPEG, PNG, GIF, BMP or WebP image"
    large = "more than 64 megapixels"
    size_at = jpeg.index(b"\xff\xc0") + 5
    frame_size_at = gif.index(struct.pack("<BHHHH", 0x2C, 0, 0, WIDTH, HEIGHT)) + 5
    frame_at = webp.index(b"\x9d\x01\x2a") + 3
    return {
        "empty": Broken(b"", "empty file"),
        "one byte": Broken(b"\xff", foreign),
        "text": Broken(b"this is no image\n" * 20, foreign),
        "html": Broken(b"<!DOCTYPE html><title>404</title>", foreign),
        "zeros": Broken(bytes(1000), foreign),
        "noise": Broken(np.random.default_rng(0).bytes(1000), foreign),
        "tiff": Broken(encoded(image, "TIFF"), foreign),
        "ico": Broken(encoded(image, "ICO"), foreign),
        "pdf": Broken(encoded(image, "PDF"), foreign),
        "svg": Broken(b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', foreign),
        "jpeg xl": Broken(b"\xff\x0a" + bytes(30), foreign),
        "avif": Broken(b"\0\0\0\x1cftypavif" + bytes(40), foreign),
        "wave": Broken(b"RIFF\x24\0\0\0WAVEfmt " + bytes(30), foreign),
        "jpeg: start only": Broken(jpeg[:3], header),
        "jpeg: half": Broken(jpeg[: len(jpeg) // 2], header),
        "jpeg: end mark missing": Broken(jpeg[:-2], cannot),
        "jpeg: arithmetic mark": Broken(jpeg.replace(b"\xff\xc0", b"\xff\xcb", 1), header),
        "jpeg: too large": Broken(
            jpeg[:size_at] + struct.pack(">HH", 65_000, 65_000) + jpeg[size_at + 4 :], large
        ),
        "png: start only": Broken(plain[:8], header),
        "png: half": Broken(plain[: len(plain) // 2], cannot),
        "png: bit flipped": Broken(flipped(plain, 0.6), cannot),
        "png: bit flipped in the header": Broken(flipped(plain, 18 / len(plain)), header),
        "png: no width": Broken(png((0, 5), b"\0" * 5), header),
        "png: no data": Broken(png((20, 20), b""), cannot),
        "png: 69 bytes, 400 megapixels": Broken(png((20_000, 20_000), b""), large),
        "png: 3,600 megapixels": Broken(png((60_000, 60_000), b""), large),
        "png: a row too large": Broken(png((8_000, 8_001), b""), large),
        "gif: start only": Broken(gif[:6], header),
        "gif: no frame": Broken(gif[:13] + b";", header),
        "gif: half": Broken(gif[: len(gif) // 2], header),
        "gif: too large": Broken(gif[:6] + b"\xff\xff\xff\xff" + gif[10:], large),
        "gif: frame larger than its canvas": Broken(
            gif[:frame_size_at] + b"\xff\xff\xff\xff" + gif[frame_size_at + 4 :], large
        ),
        "gif: nothing but extensions": Broken(gif[:13] + b"\x21\xfe\1x\0" * 3000, header),
        "bmp: start only": Broken(b"BM" + bytes(4), header),
        "bmp: half": Broken(encoded(image, "BMP")[:600], cannot),
        "bmp: 1 bit": Broken(encoded(image.convert("1"), "BMP"), cannot),
        "bmp: 16 bits": Broken(bmp((2, 2), bytes(8), bits=16), cannot),
        "bmp: run lengths": Broken(
            bmp((4, 4), b"\4\1\0\0" * 3 + b"\4\2\0\1", bits=8, compression=1, palette=bytes(1024)),
            cannot,
        ),
        "bmp: palette past the end": Broken(
            encoded(image, "BMP")[:54].replace(b"(\0", b"\xff\xfe", 1), header
        ),
        "bmp: too large": Broken(bmp((20_000, 20_000), bytes(64)), large),
        "webp: start only": Broken(webp[:12], header),
        "webp: twelve bytes": Broken(b"RIFF\xe9\xff\xff\xffWEBP", header),
        "webp: half": Broken(webp[: len(webp) // 2], header),
        "webp: too large": Broken(
            webp[:frame_at] + struct.pack("<HH", 16_000, 16_000) + webp[frame_at + 4 :], large
        ),
    }


def image_folder(root: Path, counts: dict[str, int], *, kind: str = "PNG", size: int = 8) -> Path:
    """A folder with `counts[path]` square images in each sub-folder; no two images are alike."""
    for number, (name, count) in enumerate(counts.items()):
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        for i in range(count):
            colour = (50 * number % 256, 7 * i % 256, 99)
            image = Image.new("RGB", (size, size), colour)
            image.putpixel((0, 0), (i % 256, i // 256, number))
            image.save(folder / f"{i:04}.{kind.lower()}", kind)
    return root


@dataclass(frozen=True)
class Malformed:
    """A folder that must be refused with one line that matches `message`."""

    make: Callable[[Path], Path]
    message: str


def malformed_folders() -> dict[str, Malformed]:
    """Ways to get a folder wrong, by name; `make` builds it in an empty folder, returns a root."""

    def classes(*names: str, count: int = 3) -> Callable[[Path], Path]:
        return lambda root: image_folder(root / "data", dict.fromkeys(names, count))

    def two_and(change: Callable[[Path], object]) -> Callable[[Path], Path]:
        def make(root: Path) -> Path:
            data = image_folder(root / "data", {"cat": 3, "dog": 3})
            change(data)
            return data

        return make

    def file_instead(root: Path) -> Path:
        (root / "data").write_text("")
        return root / "data"

    def circle(root: Path) -> Path:
        (root / "data").symlink_to(root / "data")
        return root / "data"

    def empty(root: Path) -> Path:
        (root / "data").mkdir()
        return root / "data"

    def images_only(root: Path) -> Path:
        picture().save(empty(root) / "a.png")
        return root / "data"

    def clutter(data: Path) -> None:
        (data / "eel").mkdir()
        (data / "eel/.DS_Store").touch()

    return {
        "missing": Malformed(lambda root: root / "nowhere", "no folder '.*nowhere'"),
        "missing, odd name": Malformed(lambda root: root / "a\nb", r"no folder '.*a\\nb'"),
        "null byte in the name": Malformed(
            lambda root: root / "a\0b", r"cannot read the folder '.*a\\x00b'"
        ),
        "a file": Malformed(file_instead, "data' is a file, expected a folder"),
        "empty": Malformed(empty, "data' is empty"),
        "a circle": Malformed(
            circle, "cannot read the folder '.*data': Too many levels of symbolic links"
        ),
        "images only": Malformed(images_only, "holds no class folders"),
        "one class": Malformed(classes("cat"), "has 1 class \\('cat'\\), expected at least 2"),
        "empty class": Malformed(
            two_and(lambda data: os.mkdir(data / "eel")), "class folder '.*eel' is empty"
        ),
        "class with clutter only": Malformed(
            two_and(clutter),
            "class folder '.*eel' is empty",
        ),
        "same name but for case": Malformed(
            classes("cat", "Cat"), "'Cat' and 'cat' .* the same name"
        ),
        "same name but for ß": Malformed(classes("Maß", "MASS"), "the same name"),
        "same name but for form": Malformed(classes("café", "cafe\u0301"), "the same name"),
        "same name but for spaces": Malformed(classes("cat", "cat "), "the same name"),
        "line break in a class": Malformed(
            classes("cat", "do\ng"), r"class folder '.*do\\ng' has control"
        ),
        "undecodable class": Malformed(
            classes("cat", os.fsdecode(b"d\xffg")),
            r"class folder '.*d\\udcffg' has control or undecodable",
        ),
        "one folder around all": Malformed(
            classes("pets/cat", "pets/dog"), "has 1 class .* --dataset .*data/pets"
        ),
        "class with empty folders only": Malformed(
            two_and(lambda data: os.makedirs(data / "eel/young")), "class folder '.*eel' is empty"
        ),
        "class that leads back": Malformed(
            two_and(lambda data: (data / "eel").symlink_to(data)), "'.*eel' .* leads in a circle"
        ),
        "folder of a class that leads back": Malformed(
            two_and(lambda data: (data / "dog/eel").symlink_to(data / "dog")),
            "'.*dog/eel' .* leads in a circle",
        ),
        "link that leads nowhere": Malformed(
            two_and(lambda data: (data / "eel").symlink_to(data / "gone")),
            "'.*eel' is a link that leads",
        ),
        "split and class": Malformed(classes("train/a", "other"), "'.*train' holds the folder 'a'"),
        "no train": Malformed(classes("val/a", "val/b"), "holds 'val' but no 'train'"),
        "validation twice": Malformed(
            classes("train/a", "train/b", "val/a", "valid/a"),
            "one split twice \\('train', 'val', 'valid'\\)",
        ),
        "train without classes": Malformed(
            classes("train", "test"), "test' holds no class folders"
        ),
        "class unknown to train": Malformed(
            classes("train/a", "train/b", "test/a", "test/c"),
            "class 'c' is in the test split but not",
        ),
        "class of another case": Malformed(
            classes("train/a", "train/b", "val/A"),
            "class 'A' is in the validation split .* has 'a', 'b'",
        ),
        "too few to split": Malformed(
            two_and(lambda data: (data / "dog/0000.png").unlink()),
            "class 'dog' has 2 usable images in split all .* expected at least 3",
        ),
        "too few to carve": Malformed(
            classes("train/a", "train/b", "test/a", count=2),
            "class 'a' has 2 usable images in split train",
        ),
    }
