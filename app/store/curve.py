"""Learning curves: the folder of trainings on parts of a data set, and what was found of them."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epochal.app.config import Config
from epochal.app.config.files import read_config_file
from epochal.app.errors import UsageError
from epochal.app.store import files
from epochal.app.store.run import Run, dump

ROOT = Path("curves")


@dataclass(frozen=True)
class Curve:
    """The folder of one learning curve."""

    folder: Path

    @property
    def configuration(self) -> Path:
        """What all trainings share, as YAML."""
        return self.folder / "base.yaml"

    @property
    def findings(self) -> Path:
        """The published folder of table, law and plot."""
        return self.folder / "findings"

    @property
    def table(self) -> Path:
        """A row a training, CSV; beside it lie the law and the plot."""
        return self.findings / "curve.csv"

    def run(self, share: float, seed: int) -> Run:
        """Return the run of a share of the images and a seed."""
        return Run(self.folder / "runs" / f"part-{share:g}-seed-{seed}")

    def alone(self) -> AbstractContextManager[None]:
        """Hold the folder for this process, and make it where there is none."""
        return files.alone(self.folder)

    def begin(self, config: Config) -> None:
        """Store what all trainings share, or check that it is what earlier ones did.

        Raises:
            UsageError: the trainings that are there had another configuration.
        """
        if not self.configuration.exists():
            files.write_bytes(self.configuration, dump(config.to_dict()).encode())
            return
        stored = read_config_file(self.configuration).to_dict()
        given = config.to_dict()
        for key, value in given.items():
            if stored[key] != value:
                raise UsageError(
                    f"{self.folder} holds trainings with {key} {stored[key]}, got {value}; "
                    "give the same settings, or another --name"
                )

    def publish(
        self,
        rows: Sequence[Mapping[str, Any]],
        law: Mapping[str, Any],
        draw: Callable[[Path], None],
    ) -> None:
        """Write table, law and plot, all or none, in place of earlier ones.

        Args:
            rows: a training each.
            law: the fitted parameters and the prediction.
            draw: writes the plot to a path.
        """
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)

        def fill(folder: Path) -> None:
            files.write_bytes(folder / self.table.name, text.getvalue().encode())
            files.write_json(folder / "law.json", {"schema": 1, **law})
            draw(folder / "curve.png")

        if self.findings.exists():
            files.remove_published(self.findings)
        files.publish(self.findings, fill)
