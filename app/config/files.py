"""Configuration files: strict YAML, and the recipes that come with epochal."""

from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from epochal.app.config import Config
from epochal.app.config.load import config_from
from epochal.app.errors import UsageError, suggestion

_LARGEST_FILE = 1_000_000  # bytes


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML without duplicate keys or aliases: both make a file mean something else than it shows."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not allowed")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.YAMLError(f"key {key!r} is given twice")
        return super().construct_mapping(node, deep)


def read_yaml(
    path: Path, sought: str = "configuration (expected lines such as 'epochs: 10')"
) -> dict[str, Any]:
    """The mapping in a YAML file, read with a safe and strict loader; `sought` is what it should hold, for messages."""
    try:
        if path.is_file() and path.stat().st_size > _LARGEST_FILE:
            raise UsageError(
                f"{path}: larger than {_LARGEST_FILE:,} bytes; this is not a configuration"
            )
        text = path.read_text(encoding="utf-8-sig")
        value = yaml.load(text, Loader=_StrictLoader)  # noqa: S506 a SafeLoader, made stricter
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; give a YAML file") from error
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise UsageError(f"{path}: not valid YAML: {' '.join(str(error).split())[:120]}") from error
    if not isinstance(value, dict):
        raise UsageError(f"{path}: holds no {sought}")
    return value


def read_config_file(path: Path) -> Config:
    """A configuration from a YAML file alone, as a run's folder holds it.

    Raises:
        UsageError: naming the file and what is wrong in it.
    """
    return config_from(read_yaml(path), str(path))


def recipe_path(name: str) -> Path:
    """Where a shipped recipe lies.

    Raises:
        UsageError: naming the recipes there are.
    """
    folder = Path(str(resources.files("epochal.app.config") / "recipes"))
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in known:
        raise UsageError(
            f"--recipe {name}: unknown{suggestion(name, known)}; there are: {', '.join(known)}"
        )
    return folder / f"{name}.yaml"
