"""In which formats and precisions a run can be exported. No TensorFlow here."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from epochal.app.errors import UsageError

OWN = "own"  # the precision that the run was trained and evaluated in
PRECISIONS = {
    "saved_model": (OWN, "float32", "float16", "bfloat16"),
    "litert": ("float32", "float16", "int8"),
    "onnx": ("float32",),
}
_NEEDED = {"litert": ("ai_edge_litert",), "onnx": ("tf2onnx", "onnxruntime")}


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way to export a run."""

    format: str = "saved_model"
    precision: str = OWN

    @property
    def root(self) -> Path:
        """The folder of all that is exported in this format: TensorFlow Serving wants its own alone in one."""
        return Path(f"{self.format}s" if self.format == "saved_model" else f"{self.format}_models")

    @property
    def suffix(self) -> str:
        """What the served model's name ends in, unless the user names it."""
        plain = (OWN, "float32") if self.format != "saved_model" else (OWN,)
        return "" if self.precision in plain else f"-{self.precision}"

    def check_installed(self) -> None:
        """Raises UsageError, naming the extra, where this format's package is missing."""
        missing = [
            package
            for package in _NEEDED.get(self.format, ())
            if importlib.util.find_spec(package) is None
        ]
        if missing:
            raise UsageError(
                f"--format {self.format} needs {missing[0]}: pip install -e '.[{self.format}]'"
            )


def variant(format: str | None, precision: str | None) -> Variant:
    """The variant that the options ask for.

    Raises:
        UsageError: the format has no such precision, or its package is missing.
    """
    chosen = format or "saved_model"
    known = PRECISIONS[chosen]
    if precision is not None and precision not in known:
        raise UsageError(
            f"--precision {precision}: {chosen} has {', '.join(known)}; take one of these"
        )
    found = Variant(format=chosen, precision=precision or known[0])
    found.check_installed()
    return found


def installed() -> list[Variant]:
    """Every variant whose packages are there."""
    everything = (
        Variant(format=kind, precision=one)
        for kind, several in PRECISIONS.items()
        for one in several
    )
    return [
        one
        for one in everything
        if all(importlib.util.find_spec(name) for name in _NEEDED.get(one.format, ()))
    ]
