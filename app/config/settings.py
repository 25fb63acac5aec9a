"""Settings: a field's default, its documentation and its traits, declared in one place."""

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal

Counted = Literal["epochs", "steps", "schedule"]
_KEY = "traits"  # of a field's metadata
_AS_TODAY = object()


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What the rest of the program must know of a setting, beside its type and its default.

    Args:
        doc: the line of help.
        unsearchable: why a sweep may not search it; None where it may.
        counts: epochs or steps, which a pilot has fewer of; `schedule` where the schedule's shape
            and unit decide what is counted.
        inherited: a run takes it from the run that it starts from (`init_from`).
        identity: a run that goes on must have the value that it was begun with.
        essential: it decides what a run learns; a pilot may differ from its run elsewhere.
        private: it may tell of the machine, and does not leave it with an exported model.
        before: the value that held before the setting existed, where today's default is another.
        alias: another flag for it.
    """

    doc: str
    unsearchable: str | None = None
    counts: Counted | None = None
    inherited: bool = False
    identity: bool = True
    essential: bool = True
    private: bool = False
    before: Any = _AS_TODAY
    alias: str | None = None


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One field of the configuration under its dotted key, as `optim.clip_norm`."""

    key: str
    type: Any
    default: Any
    traits: Traits

    @property
    def group(self) -> str:
        """The section that the setting belongs to; empty for those of no section."""
        return self.key.rpartition(".")[0]

    @property
    def default_before(self) -> Any:
        """The value that held before the setting existed."""
        if self.traits.before is _AS_TODAY:
            return self.default
        return self.traits.before


def setting(default: Any, doc: str, **traits: Any) -> Any:
    """Declare a field of a group of settings; `traits` are the fields of `Traits`."""
    return field(
        default=default,
        metadata={_KEY: Traits(doc=doc, **traits)},
    )


def settings_of(group: Any, prefix: str = "") -> dict[str, Setting]:
    """Return every setting of a group and of the groups in it, by dotted key, in order.

    Raises:
        TypeError: for a field that was not declared by `setting`.
    """
    settings: dict[str, Setting] = {}
    for declared in fields(group):
        key = prefix + declared.name
        if is_dataclass(declared.type):
            settings |= settings_of(declared.type, f"{key}.")
        elif _KEY in declared.metadata:
            traits = declared.metadata[_KEY]
            settings[key] = Setting(
                key=key, type=declared.type, default=declared.default, traits=traits
            )
        else:
            raise TypeError(f"{key} states no traits; declare it by setting(default, doc, ...)")
    return settings
