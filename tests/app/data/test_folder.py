"""Folders as users have them: sound, malformed, and sound but for some files."""

import os
import re
import shutil
import stat
import tempfile
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from epochal.app.characters import printable
from epochal.app.config import Config, Data
from epochal.app.data.file_inspection import BadFile, ImageFacts, inspect_files
from epochal.app.data.load import SOURCES, load
from epochal.app.data.sources.folder import BadFiles, read, scan
from epochal.app.errors import UsageError
from tests.support import corpus
from tests.support.corpus import image_folder
from tests.support.messages import heard

BROKEN = corpus.broken()
SOUND = corpus.sound()
MALFORMED = corpus.malformed_folders()


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_folders_are_one_helpful_line(tmp_path, name):
    case = MALFORMED[name]
    root = case.make(tmp_path)
    for skip_bad in (False, True):
        with pytest.raises(UsageError) as caught:
            scan(root, skip_bad=skip_bad)
        message = str(caught.value)
        assert re.search(case.message, message)
        assert message.isprintable()
        assert "; " in message  # what and where; how to fix it
        assert caught.value.exit_code == 2


@pytest.fixture
def nobody():
    """Gives up the rights of root, who may read everything, until the test is over."""
    if os.geteuid():
        yield
        return
    os.seteuid(65_534)
    yield
    os.seteuid(0)


@pytest.fixture
def public_path():
    """Like tmp_path, but open to every user."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    for folder in path.rglob("*"):
        folder.chmod(0o700)
    shutil.rmtree(path)


def test_unreadable_folder(public_path, request):
    root = image_folder(public_path / "data", {"cat": 3, "dog": 3})
    (root / "dog").chmod(0)
    request.getfixturevalue("nobody")
    with pytest.raises(UsageError, match=r"cannot read the folder '.*dog': Permission denied"):
        scan(root)


def test_unreadable_file(public_path, request):
    root = image_folder(public_path / "data", {"cat": 3, "dog": 3})
    (root / "dog/0001.png").chmod(0)
    request.getfixturevalue("nobody")
    with pytest.raises(BadFiles) as caught:
        scan(root)
    assert caught.value.bad == (
        BadFile(str(root / "dog/0001.png"), "cannot be read: Permission denied"),
    )


def test_classes_without_splits(tmp_path):
    content = scan(image_folder(tmp_path, {"b": 3, "a": 4, "C": 5}))
    assert content.root == tmp_path
    assert content.classes == ("C", "a", "b")
    assert list(content.splits) == ["all"]
    files = content.splits["all"]
    folders = [Path(path).relative_to(tmp_path).parent.name for path in files.paths]
    assert folders == list("CCCCCaaaabbb")
    assert files.paths == tuple(sorted(files.paths))
    assert files.labels.dtype == np.int32
    assert files.labels.tolist() == [0] * 5 + [1] * 4 + [2] * 3
    assert (content.channels, content.native_size, content.bad) == (3, 8, ())


def test_folders_inside_a_class_folder_belong_to_the_class(tmp_path):
    counts = {"cat": 3, "dog/old": 2, "dog/young/x.jpg": 2, "dog/.hidden": 1}
    with heard() as lines:
        content = scan(image_folder(tmp_path, counts))
    assert content.classes == ("cat", "dog")
    assert content.splits["all"].labels.tolist() == [0] * 3 + [1] * 4
    [line] = [text for text in lines if "--dataset" in text]
    assert line.endswith(f"--dataset {tmp_path}/dog")


def test_folders_inside_a_class_folder_may_be_classes(tmp_path):
    counts = {"cat": 3, "dog/old": 3, "dog/young/x.jpg": 3, "dog-b": 3, "dog": 3}
    root = image_folder(tmp_path, counts)
    with heard() as lines:
        content = scan(root, nested="classes")
    assert content.classes == ("cat", "dog", "dog-b", "dog/old", "dog/young/x.jpg")
    assert not [text for text in lines if "--dataset" in text]
    known = scan(root, nested="classes", known=[*content.classes, "eel"])
    np.testing.assert_array_equal(known.splits["all"].labels, content.splits["all"].labels)
    config = Config(dataset=str(root), data=Data(nested="classes"))
    assert load(config).preprocessing.classes == content.classes


def test_one_folder_around_all_may_hold_the_classes(tmp_path):
    root = image_folder(tmp_path, {"pets/cat": 3, "pets/dog": 3})
    assert scan(root, nested="classes").classes == ("pets/cat", "pets/dog")


def test_folders_inside_a_class_folder_may_be_refused(tmp_path):
    root = image_folder(tmp_path, {"cat": 3, "dog": 3})
    assert scan(root, nested="refused").classes == ("cat", "dog")
    image_folder(tmp_path, {"dog/old": 3, "dog/young": 1})
    with pytest.raises(UsageError, match=r"dog/old' lies inside a class folder \(2 in all\); move"):
        scan(root, nested="refused")


def test_folders_inside_the_classes_of_splits_too(tmp_path):
    counts = {"train/a/x": 3, "train/b": 3, "test/a": 1, "test/b/y/z": 2}
    content = scan(image_folder(tmp_path, counts))
    assert content.splits["test"].labels.tolist() == [0, 1, 1]


def test_all_classes_that_are_too_small_are_named(tmp_path):
    with pytest.raises(UsageError, match=r"class 'b' has 1 usable image in .* as well: 'c'\)"):
        scan(image_folder(tmp_path, {"a": 3, "b": 1, "c": 2}))


@pytest.mark.parametrize("validation", ["val", "valid", "validation", "VAL"])
def test_splits_share_one_class_list(tmp_path, validation):
    counts = {
        "train/a": 3,
        "train/b": 3,
        "train/c": 3,
        f"{validation}/b": 1,
        "test/c": 2,
        "test/a": 1,
    }
    content = scan(image_folder(tmp_path, counts))
    assert content.classes == ("a", "b", "c")
    assert {split: files.labels.tolist() for split, files in content.splits.items()} == {
        "train": [0] * 3 + [1] * 3 + [2] * 3,
        "validation": [1],
        "test": [0, 2, 2],
    }


def test_a_class_may_be_called_train(tmp_path):
    assert scan(image_folder(tmp_path, {"plane": 3, "test": 3, "train": 3})).classes == (
        "plane",
        "test",
        "train",
    )


def test_two_images_a_class_do_when_nothing_is_carved(tmp_path):
    counts = {f"{split}/{name}": 1 for split in ("train", "val", "test") for name in "ab"}
    assert {len(files.paths) for files in scan(image_folder(tmp_path, counts)).splits.values()} == {
        2
    }


def test_clutter_and_documents_are_ignored_and_links_followed(tmp_path):
    root = image_folder(tmp_path / "data", {"cat": 3, "dog": 3})
    image_folder(tmp_path / "elsewhere", {"eel": 3})
    (root / "eel").symlink_to(tmp_path / "elsewhere/eel")
    for name in (".DS_Store", ".hidden.png", "Thumbs.db", "desktop.ini"):
        (root / "cat" / name).write_bytes(b"x")
    (root / ".git").mkdir()
    (root / "__MACOSX").mkdir()
    (root / "LICENSE.txt").write_text("free")
    content = scan(root)
    assert content.classes == ("cat", "dog", "eel")
    assert len(content.splits["all"].paths) == 9
    assert content.bad == ()


def test_content_decides_not_the_extension(tmp_path):
    root = image_folder(tmp_path, {"cat": 2, "dog": 3})
    (root / "cat/PHOTO.JPG").write_bytes(SOUND["png: plain"].content)
    (root / "cat/no extension").write_bytes(SOUND["other: webp, animated"].content)
    content = scan(root)
    assert content.bad == ()
    assert content.native_size is None
    assert len(content.splits["all"].paths) == 7


@pytest.mark.parametrize(
    ("mode", "kind", "channels"),
    [
        ("L", "PNG", 1),
        ("RGB", "PNG", 1),
        ("1", "PNG", 1),
        ("L", "JPEG", 1),
        ("L", "GIF", 1),
        ("L", "BMP", 1),
    ],
)
def test_grey_is_what_looks_grey(tmp_path, mode, kind, channels):
    root = image_folder(tmp_path, {"cat": 3, "dog": 3})
    for path in root.rglob("*.png"):
        Image.open(path).convert("L").convert(mode).save(path, kind)
    assert scan(root).channels == channels
    corpus.picture().save(root / "dog/colour.png")
    assert scan(root).channels == 3


def test_native_size_is_the_side_of_equal_squares(tmp_path):
    root = image_folder(tmp_path, {"cat": 3, "dog": 3}, size=6)
    assert scan(root).native_size == 6
    for path in root.rglob("*.png"):
        Image.open(path).resize((6, 7)).save(path)
    assert scan(root).native_size is None


@pytest.mark.parametrize("name", SOUND)
def test_sound_files_pass(tmp_path, name):
    path = tmp_path / "image"
    path.write_bytes(SOUND[name].content)
    (facts,) = inspect_files([str(path)])
    expected = SOUND[name].rgb
    if expected is not None:
        height, width, _ = expected.shape
        assert (facts.height, facts.width) == (height, width)
        assert facts.grey == (expected == expected[..., :1]).all()
    else:
        assert isinstance(facts, ImageFacts)


def test_every_broken_file_is_named_in_one_table(tmp_path):
    root = image_folder(tmp_path, {"cat": 3, "dog": 3})
    reasons = {}
    for number, case in enumerate(BROKEN.values()):
        path = root / "dog" / f"broken {number:02}.jpg"
        path.write_bytes(case.content)
        reasons[str(path)] = case.reason
    with pytest.raises(
        BadFiles, match=rf"^{len(BROKEN)} of {len(BROKEN) + 6} files .*--data.skip-bad true"
    ) as caught:
        scan(root)
    assert {file.path for file in caught.value.bad} == reasons.keys()
    for file in caught.value.bad:
        assert re.search(reasons[file.path], file.reason), file
        assert file.reason.isprintable()
    table = caught.value.table().splitlines()
    assert table == [f"{file.path}  {file.reason}" for file in caught.value.bad]

    content = scan(root, skip_bad=True)
    assert content.bad == caught.value.bad
    assert len(content.splits["all"].paths) == 6
    assert content.native_size == 8


def test_odd_things_in_class_folders_are_bad_files(tmp_path):
    root = image_folder(tmp_path, {"cat": 3, "dog": 3})
    (root / "cat/notes.txt").write_text("no image")
    (root / "cat/gone.png").symlink_to("nowhere.png")
    (root / "cat/loop.png").symlink_to("loop.png")
    os.mkfifo(root / "cat/pipe.png")
    shutil.copy(root / "cat/0000.png", root / "cat" / os.fsdecode(b"latin\xe9.png"))
    shutil.copy(root / "cat/0000.png", root / "stray.png")
    shutil.copy(root / "cat/0000.png", root / "cat/vast.png")
    os.truncate(root / "cat/vast.png", 10**12)  # takes no space
    with pytest.raises(BadFiles) as caught:
        scan(root)
    assert [(Path(file.path).name, file.reason) for file in caught.value.bad] == [
        ("stray.png", "lies beside the class folders, not in one"),
        ("gone.png", "cannot be read: No such file or directory"),
        (os.fsdecode(b"latin\xe9.png"), "its name is not valid UTF-8: rename it"),
        ("loop.png", "cannot be read: Too many levels of symbolic links"),
        ("notes.txt", "not a JPEG, PNG, GIF, BMP or WebP image"),
        ("pipe.png", "not a regular file"),
        ("vast.png", "larger than 576 MB"),
    ]
    lines = caught.value.table().splitlines()
    assert len(lines) == 7
    assert all(line.isprintable() for line in lines)
    assert r"latin\udce9.png" in lines[2]


def test_too_few_good_files_are_an_error_with_the_table(tmp_path):
    root = image_folder(tmp_path, {"cat": 3, "dog": 3})
    for path in (root / "dog").iterdir():
        path.write_bytes(b"x")
    with pytest.raises(
        BadFiles, match=r"class 'dog' has 0 usable images in split all .*at least 3"
    ) as caught:
        scan(root, skip_bad=True)
    assert len(caught.value.bad) == 3


@pytest.mark.parametrize("skip_bad", [False, True])
def test_no_usable_image_at_all(tmp_path, skip_bad):
    for name in ("cat/1.png", "dog/1.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("x")
    with pytest.raises(BadFiles, match="holds no usable image") as caught:
        scan(tmp_path, skip_bad=skip_bad)
    assert len(caught.value.bad) == 2


def test_an_empty_class_in_a_split(tmp_path):
    splits = ("train", "val", "test")
    root = image_folder(tmp_path, {f"{split}/{name}": 3 for split in splits for name in "ab"})
    for path in (root / "test/a").iterdir():
        path.write_bytes(b"x")
    with pytest.raises(BadFiles, match=r"class 'a' has 0 usable images in split test .*at least 1"):
        scan(root, skip_bad=True)


@pytest.mark.parametrize(
    ("cache_gib", "message"),
    [
        (0, r"changed while it was read: .*cat/0000\.png' is gone; run again"),
        (1, r"an image cannot be read: .*cat.*No such file.*; restore the data set"),
    ],
)
def test_an_image_that_vanishes_after_the_scan(tmp_path, cache_gib, message):
    root = image_folder(tmp_path, {"cat": 5, "dog": 5})

    def scan_and_lose(*arguments, **options):
        content = scan(*arguments, **options)
        for path in (root / "cat").iterdir():
            path.unlink()
        return content

    sources = SOURCES | {"folder": partial(read, scan=scan_and_lose)}
    with pytest.raises(UsageError, match=message):
        load(Config(dataset=str(root), data=Data(cache_gib=cache_gib)), sources=sources)


def rewrite(root: Path) -> None:
    content = (root / "cat/0000.png").read_bytes()
    (root / "cat/0000.png").write_bytes(content)


def replace(root: Path) -> None:
    old = root / "cat/0000.png"
    shutil.copy2(old, root / "new")
    (root / "new").rename(old)


CHANGES = {
    "rewritten": (rewrite, "cat/0000.png' is another file than before"),
    "replaced": (replace, "cat/0000.png' is another file than before"),
    "more images": (lambda root: corpus.picture().save(root / "cat/new.png"), "new files"),
    "another class": (lambda root: image_folder(root, {"eel": 3}), "new files"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_folder_that_changes_while_it_is_read(tmp_path, name):
    change, message = CHANGES[name]
    root = image_folder(tmp_path, {"cat": 5, "dog": 5})

    def scan_and_change(*arguments, **options):
        content = scan(*arguments, **options)
        change(root)
        return content

    with pytest.raises(UsageError, match=f"changed while it was read: .*{message}.*; run again"):
        read(Config(dataset=str(root)), scan=scan_and_change)


def test_pillow_warns_nobody(tmp_path):
    paths = [tmp_path / "large.png", tmp_path / "exif.jpg"]
    paths[0].write_bytes(BROKEN["png: 69 bytes, 400 megapixels"].content)
    paths[1].write_bytes(SOUND["jpeg: exif, cut short"].content)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        inspect_files([str(path) for path in paths] * 4)
    assert caught == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b é 猫 🐈", "a b é 猫 🐈"),
        ("a\nb\t\x1b[1m", r"a\nb\t\x1b[1m"),
        ("\udcff", r"\udcff"),
        ("\u202e", r"\u202e"),
    ],
)
def test_printable(text, expected):
    assert printable(text) == expected


def test_scanning_leaves_the_folder_as_it_was(tmp_path):
    root = image_folder(tmp_path, {"cat": 3, "dog": 3})

    def state():
        stats = {path: path.stat() for path in root.rglob("*")}
        return {
            path: (stat.S_IMODE(status.st_mode), status.st_mtime_ns)
            for path, status in stats.items()
        }

    before = state()
    scan(root)
    assert state() == before


@pytest.mark.slow
def test_ten_thousand_files_are_scanned(tmp_path):
    root = image_folder(tmp_path, {"cat": 5_000, "dog": 5_000}, kind="JPEG", size=32)
    assert len(scan(root).splits["all"].paths) == 10_000
