"""A sweep's folder: made, found, read. No TensorFlow here."""

import uuid
from dataclasses import asdict
from pathlib import Path

from epochal.app.config import Config
from epochal.app.config.files import read_config_file, to_yaml
from epochal.app.errors import StorageError, UsageError
from epochal.app.store import files as storage
from epochal.app.store.run import Run, claim
from epochal.app.tuning.plan import Plan

ROOT = Path("sweeps")
_PLAN = "sweep.json"


def begin(plan: Plan, base: Config, name: str) -> Run:
    """A new sweep's folder."""
    run = claim(name, ROOT)
    run.write_json(_PLAN, {**plan.to_dict(), "id": uuid.uuid4().hex})
    # As it was given, so that each trial has its own optimizer's usual rate where none was; and
    # last: with it the folder is a sweep, which can be resumed.
    storage.write_bytes(run.folder / "config.yaml", to_yaml(asdict(base)).encode())
    return run


def read(run: Run) -> tuple[Plan, Config]:
    """What a sweep's folder says it is."""
    try:
        plan = Plan.from_dict(
            {key: value for key, value in run.read_json(_PLAN).items() if key != "id"}
        )
    except (TypeError, KeyError, AttributeError) as error:
        raise StorageError(f"{run.folder / _PLAN} is damaged; start a new sweep") from error
    return plan, read_config_file(run.folder / "config.yaml")


def identity(run: Run) -> str:
    """What tells a sweep from all others: workers and their chief must mean the same one."""
    return str(run.read_json(_PLAN).get("id", ""))


def find(where: str | None) -> Run:
    """An existing sweep by its folder or its name under sweeps/; None is the newest.

    Raises:
        UsageError: naming the sweeps that exist.
    """
    known = sorted(ROOT.glob(f"*/{_PLAN}"), key=lambda path: path.stat().st_mtime, reverse=True)
    places = [Path(where), ROOT / where] if where else [path.parent for path in known[:1]]
    for place in places:
        if (place / _PLAN).is_file() and (place / "config.yaml").is_file():
            return Run(place)
    listed = ", ".join(path.parent.name for path in known[:5]) or "none yet"
    raise UsageError(
        f"{where or ROOT}: no sweep there (its folder holds {_PLAN}); newest in {ROOT}/: {listed}"
    )
