"""Model cards: what an exported model expects, how good it is and how it came about."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Temperature by which logits are divided, and the calibration error without and with it.

    Attributes:
        fitted_on: the split on which it was found; None where none could tell, and it is 1.
        judged_on: the split of the errors.
    """

    temperature: float
    fitted_on: str | None
    judged_on: str
    error_before: float
    error_after: float


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """Card of an exported model.

    Attributes:
        run: name of the run.
        model: its name in the zoo.
        dataset: name of the data set, or of the folder of images.
        data_sha256: fingerprint of splits, labels and images.
        classes: their number.
        input: channels, sizes, mean and deviation of the images.
        judged_on: the split of the figures that follow.
        accuracy: with the bounds of its 95 % interval, low and high.
        precision: float32, or that of the weights.
        parameters: number of weights.
        trained: epochs, seconds, configuration and packages of the run.
        exported: how the exported model itself did on the test images.
    """

    SCHEMA: ClassVar[int] = 1

    run: str
    model: str
    dataset: str
    data_sha256: str
    classes: int
    input: dict[str, Any]
    judged_on: str
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    count: int
    loss: float
    calibration: Calibration
    precision: str
    parameters: int
    trained: dict[str, Any]
    exported: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        values: dict[str, Any] = {"made_by": "epochal", "format": 1, "schema": self.SCHEMA}
        values |= asdict(self)
        if self.exported is None:
            del values["exported"]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ModelCard":
        """Return the card that `to_dict` wrote; further keys are ignored.

        Raises:
            KeyError, TypeError: a value is missing.
        """
        known = {}
        for field in fields(cls):
            if field.name != "exported" or "exported" in values:
                known[field.name] = values[field.name]
        known["calibration"] = Calibration(**values["calibration"])
        return cls(**known)
