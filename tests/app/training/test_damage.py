"""Damaged checkpoints are found, named and passed over."""

import io
import json
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from epochal.app.errors import StorageError
from epochal.app.store import arrays as archive
from epochal.app.store import files as storage
from epochal.app.training.run.checkpoints import VERSION, newest
from tests.support.messages import heard

VALUES = {"epoch": 1, "step": 2, "ended": False, "elapsed": 0.5, "identity": {}, "callbacks": {}}


@pytest.fixture
def checkpoints(tmp_path: Path) -> Path:
    """Two whole checkpoints, of steps 1 and 2."""
    for step in (1, 2):
        arrays = {"model/0000/w": np.arange(12.0) * step}
        archive.save(tmp_path / f"epoch-000001-step-{step:08d}", arrays, {**VALUES, "step": step})
    return tmp_path


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "emptied": lambda path: path.write_bytes(b""),
    "one bit flipped": flip,
    "missing": lambda path: path.unlink(),
}


@pytest.mark.parametrize("name", [archive.ARRAYS, archive.VALUES, storage.MANIFEST])
@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_named_and_the_one_before_used(checkpoints: Path, damage: str, name: str) -> None:
    DAMAGE[damage](checkpoints / "epoch-000001-step-00000002" / name)
    with heard() as said:
        found = newest(checkpoints)
    assert found is not None
    assert found.step == 1
    assert len(said) == 1
    assert "epoch-000001-step-00000002" in said[0]


def test_all_damaged_is_an_error(checkpoints: Path) -> None:
    for folder in checkpoints.iterdir():
        flip(folder / archive.ARRAYS)
    with pytest.raises(StorageError, match="every checkpoint is damaged"):
        newest(checkpoints)


def test_a_checkpoint_of_version_1_has_the_states_under_their_keys(tmp_path: Path) -> None:
    arrays = {
        "model/0000/w": np.arange(12.0),
        "callback/GradientClipping/latest/0000": np.ones(3),
        "callback/SampleLosses/losses": np.zeros(4),
    }
    states = {
        "GradientClipping": {"norms": 1.5, "latest": {"arrays": 1}},
        "SampleLosses": {},
        "History": {"rows": [{"epoch": 1}]},
    }
    archive.save(tmp_path / "epoch-000001-step-00000002", arrays, {**VALUES, "callbacks": states})
    checkpoint = newest(tmp_path)
    assert checkpoint is not None
    assert set(checkpoint.callbacks) == {"gradient_clipping", "sample_losses", "history"}
    assert checkpoint.callbacks["history"] == {"rows": [{"epoch": 1}]}
    assert checkpoint.callbacks["gradient_clipping"]["norms"] == 1.5
    (latest,) = checkpoint.callbacks["gradient_clipping"]["latest"]
    np.testing.assert_array_equal(latest, np.ones(3))
    np.testing.assert_array_equal(checkpoint.callbacks["sample_losses"]["losses"], np.zeros(4))


@pytest.mark.parametrize(
    ("devices", "names"),
    [
        (1, ["metrics/0000/total"]),
        (2, ["metrics/0000/total/device-0", "metrics/0000/total/device-1"]),
    ],
)
def test_a_checkpoint_of_version_2_has_equal_shares_of_its_metrics(
    tmp_path: Path, devices: int, names: list[str]
) -> None:
    arrays = {"metrics/0000/total": np.float32(6), "model/0000/w": np.ones(2)}
    values = {**VALUES, "version": 2, "identity": {"config": {"devices": devices}}}
    archive.save(tmp_path / "epoch-000001-step-00000002", arrays, values)
    checkpoint = newest(tmp_path)
    assert checkpoint is not None
    assert set(checkpoint.arrays) == {"model/0000/w", *names}
    for name in names:
        assert checkpoint.arrays[name] == 6 / devices
        assert checkpoint.arrays[name].dtype == np.float32


def test_a_checkpoint_of_a_later_version_is_refused_in_one_line(tmp_path: Path) -> None:
    values = {**VALUES, "version": VERSION + 1}
    archive.save(tmp_path / "epoch-000001-step-00000002", {"model/0000/w": np.ones(1)}, values)
    with pytest.raises(StorageError, match=f"checkpoint of version {VERSION + 1}"):
        newest(tmp_path)


def test_a_half_written_one_is_swept(checkpoints: Path) -> None:
    shutil.copytree(checkpoints / "epoch-000001-step-00000002", checkpoints / ".tmp-x")
    assert newest(checkpoints).step == 2
    assert not (checkpoints / ".tmp-x").exists()


def test_nothing_is_left_of_a_failed_write(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        (folder / "a").write_text("a")
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match="No space left"):
        storage.publish(tmp_path / "x", fill)
    assert list(tmp_path.iterdir()) == []


def npz_of(member: bytes) -> bytes:
    """An archive of one array whose file is given."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("x.npy", member)
    return stream.getvalue()


def npy_header(shape: tuple[int, ...], dtype: str = "<f8") -> bytes:
    stream = io.BytesIO()
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue()


def compressed() -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, x=np.zeros(10**6))
    return stream.getvalue()


HOSTILE = {
    "sixteen terabytes": npz_of(npy_header((2**41,))),
    "pickled": npz_of(npy_header((1,), "|O") + pickle.dumps([1])),
    "compressed": compressed(),
    "no archive": b"PK nothing",
    "no array": npz_of(b"nothing"),
    "cut off": npz_of(npy_header((10,))),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_resealed_archive_that_lies_is_damaged(tmp_path: Path, name: str) -> None:
    def fill(folder: Path) -> None:
        (folder / archive.ARRAYS).write_bytes(HOSTILE[name])
        (folder / archive.VALUES).write_text(json.dumps(VALUES))

    storage.publish(tmp_path / "whole", fill)
    with pytest.raises(StorageError, match=r"arrays\.npz is damaged"):
        archive.load(tmp_path / "whole")


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{}",
        "{",
        "[" * 10_000 + "]" * 10_000,
        json.dumps({**VALUES, "version": "2"}),
        json.dumps({**VALUES, "callbacks": 3}),
        json.dumps({**VALUES, "identity": {"config": {"devices": 10**12}}}),
        json.dumps({**VALUES, "surplus": 1}),
    ],
    ids=["list", "empty", "cut off", "deep", "version", "callbacks", "devices", "surplus"],
)
def test_resealed_values_that_make_no_sense_are_one_line(tmp_path: Path, text: str) -> None:
    def fill(folder: Path) -> None:
        np.savez(folder / archive.ARRAYS, x=np.zeros(3))
        (folder / archive.VALUES).write_text(text)

    storage.publish(tmp_path / "epoch-000001-step-00000002", fill)
    with pytest.raises(StorageError, match="damaged") as caught:
        newest(tmp_path)
    assert "\n" not in str(caught.value)
