"""Rollbacks: a run's returns to earlier checkpoints, as `rollbacks.json` stores them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, kw_only=True)
class Rollback:
    """A number that was not finite, and the checkpoint from which training went on.

    Epochs and steps count from 1.
    """

    SCHEMA: ClassVar[int] = 0

    quantity: str
    """Such as loss or gradient."""
    epoch: int
    step: int
    back_to: tuple[int, int]
    """Epoch and step of the checkpoint."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "quantity": self.quantity,
            "epoch": self.epoch,
            "step": self.step,
            "back_to": list(self.back_to),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Rollback":
        """Read what `to_dict` returned."""
        epoch, step = values["back_to"]
        return cls(
            quantity=values["quantity"],
            epoch=values["epoch"],
            step=values["step"],
            back_to=(epoch, step),
        )
