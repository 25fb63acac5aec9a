"""Runs: the folder of a training run, claimed by an atomic mkdir, locked, and its files."""

import csv
import fcntl
import os
import shutil
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epochal.app.config import Config
from epochal.app.config.files import read_config_file, to_yaml
from epochal.app.errors import RunInUse, StorageError, UsageError
from epochal.app.process.log import log_file
from epochal.app.store import files
from epochal.app.store.data_card import DataCard
from epochal.app.store.environment import Environment
from epochal.app.store.record import read_digests, read_json, read_record, read_records
from epochal.app.store.result import Result, SplitUses
from epochal.app.store.rollback import Rollback
from epochal.app.store.run_files import LOCK, REPORT, RESULT, TEST_USES, RunFiles


@dataclass(frozen=True, kw_only=True)
class BestWeights:
    """The weights that a run was trained for."""

    arrays: Mapping[str, Any]
    """NumPy arrays by place and path, as `0007/logits/kernel`."""
    sha256: str
    """Of their file."""


@dataclass(frozen=True)
class Run(RunFiles):
    """The folder of one training run; `claim` makes a new one, `find` an existing one.

    Reading a file that is missing, damaged or of a later version of epochal raises StorageError,
    and so does writing one that cannot be written.
    """

    def make(self) -> None:
        """Make the folder where there is none yet.

        Raises:
            StorageError: it cannot be made.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"cannot make {self.folder}: {error.strerror}; {files.remedy(error)}"
            ) from error

    def config(self) -> Config:
        """Read the resolved configuration; UsageError names what is wrong in its file."""
        return read_config_file(self.config_file)

    def write_config(self, config: Config) -> None:
        """Store the resolved configuration, with which `epochal train --config` reruns the run."""
        files.write_bytes(self.config_file, dump(config.to_dict()).encode())

    def environment(self) -> Environment:
        """Read what the run was started with."""
        return read_record(self.environment_file, Environment)

    def write_environment(self, values: Environment) -> None:
        """Store what the run is started with."""
        files.write_json(self.environment_file, values.to_dict())

    def data_card(self) -> DataCard:
        """Read what the run was trained on."""
        return read_record(self.data_file, DataCard)

    def write_data_card(self, card: DataCard) -> None:
        """Store what the run is trained on."""
        files.write_json(self.data_file, card.to_dict())

    def file_digests(self) -> dict[str, str]:
        """Read the digests of the data set's files by path; none without a file."""
        return read_digests(self.digests_file)

    def write_file_digests(self, digests: Mapping[str, str]) -> None:
        """Store the digests of the data set's files by path."""
        files.write_json(self.digests_file, dict(digests))

    def result(self) -> Result:
        """Read the reported figures."""
        return read_record(self.result_file, Result)

    def write_result(self, figures: Result) -> None:
        """Store the reported figures, which makes the run a finished one."""
        files.write_json(self.result_file, figures.to_dict())

    def test_uses(self) -> int:
        """Read how often the test split was evaluated.

        A finished run of an earlier version, which did not count, was evaluated at its end.
        """
        if self.test_uses_file.exists():
            return read_record(self.test_uses_file, SplitUses).uses
        return int(self.finished and self.result().test is not None)

    def count_test_use(self) -> int:
        """Count one more evaluation of the test split; return how many there were.

        Several processes may do so at once.
        """
        with files.exclusively(self.folder):
            counted = SplitUses(uses=self.test_uses() + 1)
            files.write_json(self.test_uses_file, counted.to_dict())
        return counted.uses

    def history(self) -> list[dict[str, float]]:
        """Read the figures of every epoch; a cell that holds no number is left out."""
        try:
            with open(
                self.history_file,
                newline="",
                encoding="utf-8",
            ) as file:
                table = list(csv.DictReader(file))
        except (OSError, ValueError, csv.Error) as error:
            raise StorageError(f"{self.history_file} is missing or damaged") from error
        rows = []
        for cells in table:
            row = {}
            for name, cell in cells.items():
                with suppress(TypeError, ValueError):
                    row[name] = float(cell)
            rows.append(row)
        return rows

    def last_rate(self) -> float:
        """Return the learning rate of the last step, to seven digits.

        The result of an earlier version does not have it, but its history does.
        """
        rate = None
        if self.finished:
            rate = self.result().last_learning_rate
        try:
            if rate is None:
                rate = self.history()[-1]["learning_rate"]
        except (StorageError, LookupError) as error:
            raise StorageError(
                f"{self.history_file} is missing or damaged:"
                " it does not tell the last learning rate"
            ) from error
        return float(f"{rate:.7g}")

    def rollbacks(self) -> list[Rollback]:
        """Read the returns of training to earlier checkpoints; none without a file."""
        if not self.rollbacks_file.exists():
            return []
        return read_records(self.rollbacks_file, Rollback)

    def write_rollbacks(self, rollbacks: Sequence[Rollback]) -> None:
        """Store how often, and from where, training went back to a checkpoint."""
        values = [rollback.to_dict() for rollback in rollbacks]
        files.write_json(self.rollbacks_file, values)

    def feature_reuse(self) -> list[dict[str, Any]]:
        """Read the weights between the layers of each dense block; none without a file."""
        if not self.feature_reuse_file.exists():
            return []
        blocks: list[dict[str, Any]] = read_json(self.feature_reuse_file)
        return blocks

    def write_feature_reuse(self, blocks: Sequence[Mapping[str, Any]]) -> None:
        """Store the weights between the layers of each dense block."""
        files.write_json(self.feature_reuse_file, list(blocks))

    def augmented(self) -> list[dict[str, Any]]:
        """Read the first augmented training images; none without a file."""
        if not self.augmented_file.exists():
            return []
        images: list[dict[str, Any]] = read_json(self.augmented_file)
        return images

    def write_augmented(self, images: Sequence[Mapping[str, Any]]) -> None:
        """Store the first augmented training images."""
        files.write_json(self.augmented_file, list(images))

    def best_weights(self) -> BestWeights:
        """Read the published weights.

        Raises:
            UsageError: the run has not finished.
        """
        from epochal.app.store import arrays

        self.check_finished()
        values, _ = arrays.load(self.best)
        manifest = files.verify(self.best)
        return BestWeights(
            arrays=values,
            sha256=manifest["files"][arrays.ARRAYS],
        )

    def normalization_values(self) -> dict[str, Any]:
        """Read the arrays that normalise images, by name; the data card tells what they are."""
        from epochal.app.store import arrays

        values, _ = arrays.load(self.normalization_arrays)
        return values

    def write_normalization(self, values: Mapping[str, Any], kind: str) -> None:
        """Store the arrays that normalise images, by name."""
        from epochal.app.store import arrays

        if self.normalization_arrays.exists():
            files.remove_published(self.normalization_arrays)
        arrays.save(self.normalization_arrays, dict(values), {"kind": kind})

    def publish_weights(self, values: Mapping[str, Any], model: str) -> None:
        """Store the arrays of the model with this name as the run's best weights.

        Raises:
            StorageError: they are not finite, or cannot be written.
        """
        from epochal.app.store import arrays

        if not arrays.all_finite(dict(values)):
            raise StorageError(
                f"{self.best}: weights that are not finite are never published;"
                " lower --learning-rate"
            )
        if self.best.exists():
            files.remove_published(self.best)
        arrays.save(self.best, dict(values), {"model": model})

    @property
    def finished(self) -> bool:
        """Whether training and evaluation ended well."""
        return self.result_file.exists()

    def check_finished(self) -> None:
        """Refuse a run without final weights.

        Raises:
            UsageError: training has not ended.
            RunInUse: another process trains it.
        """
        if self.finished:
            return
        # A folder that cannot be written to is nobody's just now.
        with suppress(OSError), self.locked():
            pass
        raise UsageError(
            f"{self.folder} has not finished training; run: epochal train --resume {self.folder}"
        )

    def copy_unfinished(self, folder: Path) -> "Run":
        """Copy the run without the files of its end; the folder never holds a partial copy."""
        beside = folder.with_name(f".{folder.name}.new")
        shutil.rmtree(beside, ignore_errors=True)
        beside.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(
            self.folder,
            beside,
            ignore=shutil.ignore_patterns(
                RESULT,
                REPORT,
                LOCK,
                TEST_USES,
            ),
        )
        beside.rename(folder)
        return Run(folder)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for this process, while its log takes the run's messages.

        The kernel lets go of it however the process ends.

        Raises:
            RunInUse: another process holds it.
            StorageError: a link in the folder would lead writing elsewhere.
        """
        with open(
            self.lock_file,
            "a+",
            encoding="utf-8",
            opener=files.open_regular,
        ) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise RunInUse(
                    f"{self.folder} is in use by {file.read().strip()}; wait or stop that process"
                ) from None
            files.refuse_links(self.folder)
            file.truncate(0)
            since = time.strftime("%Y-%m-%d %H:%M:%S")
            file.write(f"process {os.getpid()} on {socket.gethostname()} since {since}")
            file.flush()
            with log_file(self.log_file):
                yield


def dump(values: dict[str, Any]) -> str:
    """Return a configuration as YAML, keys in their order."""
    return to_yaml(values)
