"""Variants of an export: its formats and precisions. No TensorFlow here."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from epochal.app.errors import UsageError
from epochal.app.store.export import ROOTS

OWN = "own"  # the precision that the run was trained and evaluated in
PRECISIONS = {
    "saved_model": (OWN, "float32", "float16", "bfloat16"),
    "litert": ("float32", "float16", "int8"),
    "onnx": ("float32",),
}
_PACKAGES = {"saved_model": (), "litert": ("ai_edge_litert",), "onnx": ("tf2onnx", "onnxruntime")}


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way to export a run."""

    format: str = "saved_model"
    precision: str = OWN

    @property
    def root(self) -> Path:
        """The folder of all exports in this format."""
        return ROOTS[self.format]

    @property
    def suffix(self) -> str:
        """What the exported model's name ends in, unless the user names it."""
        usual = PRECISIONS[self.format][0]
        if self.precision == usual:
            return ""
        return f"-{self.precision}"

    def missing_packages(self) -> list[str]:
        """Return the packages that this format needs and that are not installed."""
        packages: tuple[str, ...] = _PACKAGES[self.format]
        return [name for name in packages if importlib.util.find_spec(name) is None]


def choose_variant(format: str | None, precision: str | None) -> Variant:
    """Return the variant that the options ask for.

    Raises:
        UsageError: the format has no such precision, or its package is missing.
    """
    if format is None:
        format = "saved_model"
    precisions = PRECISIONS[format]
    if precision is None:
        precision = precisions[0]
    if precision not in precisions:
        known = ", ".join(precisions)
        raise UsageError(f"--precision {precision}: {format} has {known}; take one of these")
    variant = Variant(format=format, precision=precision)
    missing = variant.missing_packages()
    if missing:
        raise UsageError(f"--format {format} needs {missing[0]}: pip install -e '.[{format}]'")
    return variant


def installed_variants() -> list[Variant]:
    """Return every variant whose packages are installed."""
    variants = []
    for format, precisions in PRECISIONS.items():
        for precision in precisions:
            variant = Variant(format=format, precision=precision)
            if not variant.missing_packages():
                variants.append(variant)
    return variants
