"""Shards: tar files in WebDataset's layout and TFRecord files, sound, hostile and damaged."""

import io
import os
import re
import shutil
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from epochal.app.config import Config, Data
from epochal.app.data.availability import check_data, source_of
from epochal.app.data.load import SOURCES, load, read_splits
from epochal.app.data.sources import tar, tfrecord
from epochal.app.data.sources.image_list import Listing, check_unchanged, inspect_listing
from epochal.app.data.sources.shard_files import expand, find_shards
from epochal.app.data.sources.tar_index import members_of
from epochal.app.errors import UsageError
from tests.support.corpus import image_folder
from tests.support.shards import example, slim, write_records, write_tar

LISTERS: dict[str, Callable[..., Listing]] = {
    "tar": tar.list_images,
    "tfrecord": tfrecord.list_images,
}


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of five cats and five dogs."""
    return image_folder(tmp_path_factory.mktemp("pets"), {"cat": 5, "dog": 5})


def images_of(pets: Path) -> list[tuple[str, bytes]]:
    return [(path.parent.name, path.read_bytes()) for path in sorted(pets.glob("*/*.png"))]


def tar_members(images: list[tuple[str, bytes]]) -> dict[str, bytes]:
    members = {}
    for number, (label, content) in enumerate(images):
        members[f"{number:04}.png"] = content
        members[f"{number:04}.cls"] = f"{label}\n".encode()
    return members


def write_shards(folder: Path, kind: str, images: list[tuple[str, bytes]]) -> Path:
    """Two shards with a part of the images each."""
    for number, part in enumerate((images[:3], images[3:])):
        if kind == "tar":
            write_tar(folder / f"{number:06}.tar", tar_members(part))
        else:
            records = [slim(content, ("cat", "dog").index(label), label) for label, content in part]
            write_records(folder / f"x-{number:05}-of-00002", records)
    return folder


@pytest.mark.parametrize("cache_gib", [pytest.param(0.0, marks=pytest.mark.slow), 1.0])
@pytest.mark.parametrize("kind", ["tar", "tfrecord"])
def test_shards_of_a_folder_hold_its_images(
    pets: Path, tmp_path: Path, kind: str, cache_gib: float
) -> None:
    write_shards(tmp_path, kind, images_of(pets))
    data = Data(cache_gib=cache_gib)
    config = check_data(Config(dataset=str(tmp_path), data=data))
    assert source_of(config.dataset) == kind
    actual = load(config)
    expected = load(Config(dataset=str(pets), data=data))
    assert list(actual.digests.values()) == list(expected.digests.values())
    assert actual.fingerprint() == expected.fingerprint()
    np.testing.assert_array_equal(actual.train.read(), expected.train.read())


@pytest.mark.parametrize("kind", ["tar", "tfrecord"])
def test_other_shards_are_read_for_a_trained_network(pets: Path, tmp_path: Path, kind: str) -> None:
    write_shards(tmp_path, kind, images_of(pets)[:4])
    shape = load(Config(dataset=str(pets))).preprocessing
    config = Config(dataset=str(tmp_path))
    splits = read_splits(config, ["ant", "cat", "dog"], shape)
    assert splits["all"].labels.tolist() == [1] * 4
    with pytest.raises(UsageError, match=r"class 'cat' .* none of the run's"):
        read_splits(config, ["ant", "dog"], shape)


def layout_of(file: Path, **data: str) -> dict[str, list[str]]:
    [kind] = {source_of(str(file))}
    listing = LISTERS[kind](Config(dataset=str(file), data=Data(**data)))
    return {name: listing.layout["all"][name] for name in listing.classes}


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_format_of_tar_gives_the_names_and_places_of_tarfile(
    tmp_path: Path, format: int
) -> None:
    long = "/".join(["a" * 60] * (2 if format == tarfile.USTAR_FORMAT else 5))
    members = {f"{long}/0.png": b"x" * 513, "é.png": b"", "b/1.cls": b"y" * 512}
    file = write_tar(tmp_path / "x.tar", members, format=format)
    actual = [(name, offset, length) for name, offset, length in members_of(file)]
    with tarfile.open(file) as archive:
        expected = [(member.name, member.offset_data, member.size) for member in archive]
    assert actual == expected


LABELS = {
    "number": ({"a.cls": b"1", "b.cls": b"0"}, ["0", "1"]),
    "numbers by value": ({"a.cls": b"10\n", "b.cls": b"9\n"}, ["9", "10"]),
    "text": ({"a.cls": b"10", "b.cls": b"nine"}, ["10", "nine"]),
    "text with a zero": ({"a.cls": b"01", "b.cls": b"1"}, ["01", "1"]),
    "txt": ({"a.txt": "é è".encode(), "b.txt": b"\xef\xbb\xbfno"}, ["no", "é è"]),
    "json": ({"a.json": b'{"label": "x"}', "b.json": b'{"class": 3}'}, ["3", "x"]),
    "json without": ({"a.json": b'{"w": 8}', "a.txt": b"q", "b.json": b'{"cls": "p"}'}, ["p", "q"]),
    "cls first": ({"a.txt": b"a caption", "a.cls": b"1", "b.cls": b"2"}, ["1", "2"]),
    "others": ({"a.seg.png": b"", "a.cls": b"1", "b.CLS": b"2", "b.npy": b""}, ["1", "2"]),
}


@pytest.mark.parametrize("name", LABELS)
def test_labels_of_tar_shards(tmp_path: Path, name: str) -> None:
    members, classes = LABELS[name]
    images = {"a.png": b"x", "b.JPG": b"y", "._a.png": b"z"}
    file = write_tar(tmp_path / "x.tar", images | members)
    assert list(layout_of(file)) == classes


def test_a_class_list_names_the_numbers(tmp_path: Path) -> None:
    write_tar(tmp_path / "x.tar", {"a.png": b"x", "a.cls": b"1", "b.png": b"y", "b.cls": b"0"})
    (tmp_path / "classes.txt").write_text("dog\ncat\n")
    assert layout_of(tmp_path) == {"dog": ["x.tar/b.png"], "cat": ["x.tar/a.png"]}
    (tmp_path / "names").write_text("p\nq\n")
    assert list(layout_of(tmp_path, classes=str(tmp_path / "names"))) == ["p", "q"]
    (tmp_path / "classes.txt").write_text("dog\ncat\ncow\n")
    with pytest.raises(UsageError, match="class 'cow' of the class list has no image"):
        layout_of(tmp_path)
    write_tar(tmp_path / "x.tar", {"a.png": b"x", "a.cls": b"3", "b.png": b"y", "b.cls": b"0"})
    with pytest.raises(UsageError, match=r"'a\.png': label 3 is outside the class list"):
        layout_of(tmp_path)


RECORDS = {
    "label": ([slim(b"x", 7), slim(b"y", 10)], None, ["7", "10"]),
    "text by label": ([slim(b"x", 2, "ant"), slim(b"y", 1, "bee")], None, ["bee", "ant"]),
    "text": (
        [example({"image/encoded": b"x", "image/class/text": text}) for text in ("b", "a")],
        None,
        ["a", "b"],
    ),
    "named": ([example({"i": b"x", "l": label}) for label in (1, 0)], "i,l", ["0", "1"]),
    "named text": (
        [example({"i": b"x", "l": label}) for label in ("01", "no")],
        "i,l",
        ["01", "no"],
    ),
}


@pytest.mark.parametrize("name", RECORDS)
def test_labels_of_records(tmp_path: Path, name: str) -> None:
    records, features, classes = RECORDS[name]
    file = write_records(tmp_path / "x.tfrecord", records)
    data = {} if features is None else {"features": features}
    assert list(layout_of(file, **data)) == classes


def test_splits_by_folders_and_by_names(pets: Path, tmp_path: Path) -> None:
    for number, place in enumerate(["train-0.tar", "train-1.tar", "VAL_0.tar", "x.test.tar"]):
        write_tar(tmp_path / "names" / place, tar_members(images_of(pets)[number::4]))
    expected = {"train": [3, 3], "validation": [2], "test": [2]}

    def sizes(dataset: str) -> dict[str, list[int]]:
        shards = find_shards(dataset)
        assert shards is not None
        return {
            split: [len(list(members_of(file))) // 2 for file in files]
            for split, files in shards.files.items()
        }

    assert sizes(str(tmp_path / "names")) == expected
    assert sizes(str(tmp_path / "names/train-{0..1}.tar")) == {"train": [3, 3]}
    for split, files in {"train": "train-*", "valid": "VAL*", "test": "x*"}.items():
        (tmp_path / "folders" / split).mkdir(parents=True)
        for number, file in enumerate(sorted((tmp_path / "names").glob(files))):
            shutil.copy(file, tmp_path / "folders" / split / f"{number}.tar")
    assert sizes(str(tmp_path / "folders")) == expected
    assert sizes(str(tmp_path / "folders/{train,test}/{0..0}.tar")) == {"train": [3], "test": [2]}
    write_tar(tmp_path / "names/other.tar", {})
    with pytest.raises(UsageError, match=r"'other\.tar' names no split, as"):
        find_shards(str(tmp_path / "names"))


def test_patterns() -> None:
    assert expand("a-{08..11}.tar") == ["a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"]
    assert expand("{a,b}-{0..1}.tar") == ["a-0.tar", "a-1.tar", "b-0.tar", "b-1.tar"]
    assert expand("plain.tar") == ["plain.tar"]
    with pytest.raises(UsageError, match="runs backwards"):
        expand("{3..1}.tar")
    for pattern in ("{0..999999999}.tar", "{0..999}{0..999}.tar"):
        with pytest.raises(UsageError, match="more than 100,000 files"):
            expand(pattern)


def test_missing_shards_and_mixed_ones(tmp_path: Path) -> None:
    write_tar(tmp_path / "x-0.tar", {})
    with pytest.raises(UsageError, match=r"2 of 3 files are missing, as '.*x-1\.tar'"):
        check_data(Config(dataset=str(tmp_path / "x-{0..2}.tar")))
    write_records(tmp_path / "y.tfrecord", [])
    with pytest.raises(UsageError, match="both tar shards and TFRecord files"):
        check_data(Config(dataset=str(tmp_path)))
    write_records(tmp_path / "numbered/train-00001-of-00003", [])
    with pytest.raises(UsageError, match=r"1 of the 3 files 'train-\*-of-00003'; restore"):
        check_data(Config(dataset=str(tmp_path / "numbered")))


def test_shards_beside_class_folders_are_none(pets: Path, tmp_path: Path) -> None:
    shutil.copytree(pets, tmp_path / "data")
    write_tar(tmp_path / "data/x.tar", {})
    assert source_of(str(tmp_path / "data")) == "folder"


def header(name: str, kind: bytes = b"0", size: bytes = b"00000000003\0", link: str = "") -> bytes:
    """A header of 512 bytes as POSIX has it, whatever its fields say."""
    block = bytearray(512)
    block[: len(name.encode())] = name.encode()
    block[100:108] = b"0000644\0"
    block[124:136] = size
    block[156:157] = kind
    block[157 : 157 + len(link)] = link.encode()
    block[257:265] = b"ustar\x0000"
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block)


END = bytes(1024)
DATA = b"abc".ljust(512, b"\0")
GOOD = header("a.png") + DATA
BINARY = b"\x80" + (10 * 2**30).to_bytes(11, "big")
HOSTILE = {
    "link": (header("b.png", b"2", b"0" * 11 + b"\0", "/etc/passwd"), "'b.png' is a link"),
    "hard link": (header("b.png", b"1", b"0" * 11 + b"\0", "a.png"), "is a hard link"),
    "device": (header("null", b"3", b"0" * 11 + b"\0"), "'null' is a device"),
    "block device": (header("sda", b"4", b"0" * 11 + b"\0"), "is a device"),
    "pipe": (header("b.png", b"6", b"0" * 11 + b"\0"), "is a pipe"),
    "sparse": (header("b.png", b"S") + DATA, "is a sparse file"),
    "sparse by pax": (
        header("p", b"x", b"00000000026\0") + b"22 GNU.sparse.major=1\n".ljust(512, b"\0") + GOOD,
        "is a sparse file",
    ),
    "unknown kind": (header("b.png", b"V") + DATA, "is no plain file"),
    "absolute": (header("/etc/b.png") + DATA, "leads out of the archive"),
    "upwards": (header("x/../../b.png") + DATA, "leads out of the archive"),
    "ten gigabytes": (header("b.png", size=BINARY) + DATA, "10,737,418,240 bytes, but the file"),
    "size lies": (header("b.png", size=b"00000010001\0") + DATA, "4,097 bytes, but the file ends"),
    "size is no number": (header("b.png", size=b"99999999999\0") + DATA, "size that is no number"),
    "size below zero": (header("b.png", size=b"\xff" * 12) + DATA, "a size that is no number"),
    "vast name": (header("n", b"L", BINARY) + DATA, "10,737,418,240 bytes, but the file"),
    "vast pax": (header("n", b"x", BINARY) + DATA, "10,737,418,240 bytes, but the file"),
    "pax of nothing": (header("n", b"x", b"00000000005\0") + b"12345".ljust(512, b"\0"), "damaged"),
    "pax size": (
        header("n", b"x", b"00000000026\0") + b"22 size=99999999999999\n"[:22].ljust(512) + GOOD,
        "damaged|bytes, but the file",
    ),
    "damaged header": (b"x" + header("b.png")[1:] + DATA, r"damaged \(header at byte 1,024\)"),
    "twice": (GOOD, "two members 'a.png'"),
    "two images": (header("a.jpg") + DATA, "two images of one sample, 'a.png' and 'a.jpg'"),
    "several classes": (header("a.cls") + b"a;b".ljust(512, b"\0"), "names several classes"),
    "list of classes": (
        header("a.json", size=b"00000000021\0") + b'{"label": [1, 2]}'.ljust(512, b"\0"),
        "names several classes",
    ),
    "no json": (header("a.json") + DATA, "'a.json': no JSON"),
    "binary label": (header("a.cls") + b"\xff\xfe\xfd".ljust(512, b"\0"), "no text in UTF-8"),
    "no label": (b"", "has no image with a label"),
    "below zero": (header("a.cls") + b"-1 ".ljust(512, b"\0"), "label -1 is below 0"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_tar_is_one_line_and_unpacks_nothing(tmp_path: Path, name: str) -> None:
    members, message = HOSTILE[name]
    file = tmp_path / "x.tar"
    file.write_bytes(GOOD + members + END)
    with pytest.raises(UsageError) as caught:
        tar.list_images(Config(dataset=str(file)))
    text = str(caught.value)
    assert re.search(message, text)
    assert text.isprintable()
    assert ": " in text or "; " in text
    assert os.listdir(tmp_path) == ["x.tar"]


def test_a_tar_that_ends_anywhere_else_is_refused(tmp_path: Path) -> None:
    members = {"a.png": b"x" * 700, "a.cls": b"1", "b.png": b"y", "b.cls": b"2"}
    whole = write_tar(tmp_path / "whole.tar", members).read_bytes()
    last = whole.rindex(b"2") + 512 - 512
    file = tmp_path / "x.tar"
    for end in [*range(0, last, 97), *range(0, last + 512, 512)]:
        file.write_bytes(whole[:end])
        with pytest.raises(UsageError, match=r"cut short|no tar file|damaged"):
            tar.list_images(Config(dataset=str(file)))
    file.write_bytes(whole + whole)
    with pytest.raises(UsageError, match="goes on behind its end"):
        tar.list_images(Config(dataset=str(file)))
    file.write_bytes(whole)
    os.truncate(file, 10**13)  # takes no space, and would take hours to read
    with pytest.raises(UsageError, match="goes on behind its end"):
        tar.list_images(Config(dataset=str(file)))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_of_a_tar_is_an_error_or_a_listing(tmp_path: Path, data: st.DataObject) -> None:
    members = {"a.png": b"x" * 700, "a.cls": b"1", "b.png": b"y", "b.cls": b"2"}
    content = bytearray(write_tar(tmp_path / "x.tar", members).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, 5_000))] = data.draw(st.integers(0, 255))
    file = tmp_path / "x.tar"
    file.write_bytes(content)
    try:
        listing = tar.list_images(Config(dataset=str(file)))
    except UsageError:
        return
    assert len(listing.layout["all"]) >= 2


DAMAGE = {
    "empty": (lambda content: b"", "holds no records"),
    "in a header": (lambda content: content[:7], r"cut short or damaged \(record 0"),
    "in the data": (lambda content: content[:40], r"cut short or damaged \(record 0"),
    "in the last checksum": (lambda content: content[:-1], "cut short or damaged"),
    "length lies": (
        lambda content: struct.pack("<Q", 10 * 2**30) + content[8:],
        r"cut short or damaged \(record 0, at byte 0",
    ),
    "vast length": (lambda content: b"\xff" * 8 + content[8:], "cut short or damaged"),
    "bit of the data": (
        lambda content: content[:20] + bytes([content[20] ^ 1]) + content[21:],
        "wrong checksum",
    ),
    "checksum of the length": (
        lambda content: content[:9] + bytes([content[9] ^ 1]) + content[10:],
        "wrong checksum",
    ),
    "no record": (lambda content: b"text, text, text\n" * 3, "cut short or damaged"),
    "junk behind": (lambda content: content + b"junk", "cut short or damaged"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_tfrecord_is_one_line(tmp_path: Path, name: str) -> None:
    damage, message = DAMAGE[name]
    file = write_records(tmp_path / "x.tfrecord", [slim(b"x" * 99, 0), slim(b"y" * 99, 1)])
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(UsageError, match=message):
        tfrecord.list_images(Config(dataset=str(file)))


ODD_RECORDS = {
    "no example": ([b"\xff\xff\xff"], "record 0: no tf.train.Example"),
    "other features": (
        [example({"image": b"x", "label": 1})],
        "no feature 'image/encoded', but 'image', 'label'; name .* --data.features image,label",
    ),
    "no label": ([example({"image/encoded": b"x"})], "no feature 'image/class/label'"),
    "image is a number": ([example({"image/encoded": 3, "image/class/label": 1})], "no encoded"),
    "label is a fraction": (
        [example({"image/encoded": b"x", "image/class/label": 0.5})],
        "expected a label|expected a whole number",
    ),
    "several labels": (
        [example({"image/encoded": b"x", "image/class/label": [1, 2]})],
        "names several classes",
    ),
    "several texts": (
        [example({"image/encoded": b"x", "image/class/text": ["a", "b"]})],
        "names several classes",
    ),
    "latin": ([example({"image/encoded": b"x", "image/class/text": b"\xe9"})], "no text in UTF-8"),
    "two names": (
        [slim(b"x", 1, "ant"), slim(b"y", 1, "bee")],
        "class 'bee' has label 1, unlike others",
    ),
    "two numbers": ([slim(b"x", 1, "ant"), slim(b"y", 2, "ant")], "class 'ant' has label 2"),
    "below zero": ([slim(b"x", -1)], "label -1 is below 0"),
    "one class": ([slim(b"x", 1), slim(b"y", 1)], "has 1 class"),
}


@pytest.mark.parametrize("name", ODD_RECORDS)
def test_odd_records_are_one_line(tmp_path: Path, name: str) -> None:
    records, message = ODD_RECORDS[name]
    file = write_records(tmp_path / "x.tfrecord", records)
    with pytest.raises(UsageError) as caught:
        tfrecord.list_images(Config(dataset=str(file)))
    assert re.search(message, str(caught.value))
    assert str(caught.value).isprintable()


def test_samples_without_image_or_label_are_bad_files(pets: Path, tmp_path: Path) -> None:
    members = tar_members(images_of(pets))
    del members["0001.cls"]
    del members["0002.png"]
    write_tar(tmp_path / "x.tar", members | {"README.md": b"hello"})
    config = Config(dataset=str(tmp_path), data=Data(skip_bad=True))
    scan = inspect_listing(tar.list_images(config), skip_bad=True, must_train=True)
    assert [file.path for file in scan.bad] == ["x.tar/0001.png", "x.tar/0002", "x.tar/README"]
    assert len(SOURCES["tar"](config).skipped) == 3


@pytest.mark.parametrize("kind", ["tar", "tfrecord"])
def test_a_shard_that_changes_while_it_is_read(pets: Path, tmp_path: Path, kind: str) -> None:
    write_shards(tmp_path, kind, images_of(pets))
    listing = LISTERS[kind](Config(dataset=str(tmp_path)))
    scan = inspect_listing(listing, skip_bad=False, must_train=True)
    [first, *_] = sorted(tmp_path.iterdir())
    content = first.read_bytes()
    first.write_bytes(content)
    with pytest.raises(UsageError, match=f"changed while it was read: .*{first.name}"):
        check_unchanged(scan)
    first.write_bytes(content[:100])
    loader = listing.store.loader(scan.splits["all"].paths)
    images = tf.data.Dataset.range(3).map(loader)
    with pytest.raises(tf.errors.OpError, match="become shorter"):
        list(images)


def test_a_pipe_is_no_shard(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.tar")
    with pytest.raises(UsageError, match="no regular file"):
        tar.list_images(Config(dataset=str(tmp_path)))


def test_a_member_larger_than_any_image_is_a_bad_file(pets: Path, tmp_path: Path) -> None:
    file = write_tar(tmp_path / "x.tar", tar_members(images_of(pets)))
    size = 600 * 10**6
    vast = header("vast.png", size=f"{size:011o}\0".encode())
    label = header("vast.cls") + DATA
    content = file.read_bytes().rstrip(b"\0")
    content = content.ljust(-(-len(content) // 512) * 512, b"\0")
    with open(file, "wb") as stream:
        stream.write(content + vast)
        stream.seek(-(-size // 512) * 512, io.SEEK_CUR)
        stream.write(label + END)
    config = Config(dataset=str(file))
    scan = inspect_listing(tar.list_images(config), skip_bad=True, must_train=False)
    assert [(bad.path, bad.reason) for bad in scan.bad] == [
        ("x.tar/vast.png", "cannot be read: larger than 576 MB")
    ]
