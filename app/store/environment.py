"""Environments: a run's machine, libraries and first weights, as in `environment.json`."""

import os
import platform
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

_PACKAGES = (
    "epochal",
    "tensorflow",
    "keras",
    "numpy",
    "tensorflow-datasets",
    "scikit-learn",
    "pillow",
)
# What these say changes how numbers are rounded, or in which order they are added.
_NUMERIC_VARIABLES = (
    "NVIDIA_TF32_OVERRIDE",
    "OMP_NUM_THREADS",
    "ONEDNN_MAX_CPU_ISA",
    "TF_CUDNN_DETERMINISTIC",
    "TF_DETERMINISTIC_OPS",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_XLA_FLAGS",
    "XLA_FLAGS",
)


@dataclass(frozen=True, kw_only=True)
class InitFrom:
    """The run whose weights another run was started from."""

    run: str
    """Its folder."""
    weights: str
    """SHA-256 of the file of its best weights."""
    learning_rate: float
    """Its last learning rate."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """The surroundings that a rerun should know of; nothing secret."""

    SCHEMA: ClassVar[int] = 1

    command: tuple[str, ...]
    python: str
    platform: str
    cores: int
    """Processor cores that the process might use."""
    started: str
    """Local time with its offset, as 2026-01-31T12:00:00+0100."""
    packages: Mapping[str, str]
    """Version of each library by its name."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Those of the process that change how numbers are rounded; earlier versions kept none."""
    init_from: InitFrom | None = None
    """None where the first weights were drawn at random."""

    @classmethod
    def of_this_process(cls, init_from: InitFrom | None = None) -> "Environment":
        """Describe this process, its machine and its libraries."""
        return cls(
            command=(Path(sys.argv[0]).name, *sys.argv[1:]),
            python=platform.python_version(),
            platform=platform.platform(),
            cores=len(os.sched_getaffinity(0)),
            started=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            packages=_installed_packages(),
            variables=numeric_variables(),
            init_from=init_from,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; `init_from` is left out where it is None."""
        values = {
            "schema": self.SCHEMA,
            "command": list(self.command),
            "python": self.python,
            "platform": self.platform,
            "cores": self.cores,
            "started": self.started,
            "packages": dict(self.packages),
            "variables": dict(self.variables),
        }
        if self.init_from is not None:
            values["init_from"] = asdict(self.init_from)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Environment":
        """Read what `to_dict` returned, also by earlier versions.

        Raises:
            KeyError, TypeError, ValueError: a value is missing or of the wrong type.
        """
        init_from = None
        if "init_from" in values:
            origin = values["init_from"]
            init_from = InitFrom(
                run=str(origin["run"]),
                weights=str(origin["weights"]),
                learning_rate=float(origin["learning_rate"]),
            )
        return cls(
            command=tuple(map(str, values["command"])),
            python=str(values["python"]),
            platform=str(values["platform"]),
            cores=int(values["cores"]),
            started=str(values["started"]),
            packages=dict(values["packages"]),
            variables=dict(values.get("variables", {})),
            init_from=init_from,
        )


def numeric_variables() -> dict[str, str]:
    """Return the variables of this process that change how numbers are rounded."""
    return {name: os.environ[name] for name in _NUMERIC_VARIABLES if name in os.environ}


def _installed_packages() -> dict[str, str]:
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
