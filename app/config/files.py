"""Configuration files: strict YAML, the recipes that come with epochal, configurations of runs."""

import re
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from epochal.app.config.config import Config
from epochal.app.config.load import config_from, with_earlier_defaults
from epochal.app.errors import UsageError, suggestion

_LARGEST_FILE = 1_000_000  # bytes
_RECIPES = Path(str(resources.files("epochal.app.config") / "recipes"))
# Plain scalars of YAML 1.2's core schema (section 10.3.2); all others are text. YAML 1.1, which
# PyYAML reads, takes `no` for false, `0123` for 83, `1:30` for 90, `2020-01-01` for a date, and
# `1e-3` for text.
_CORE_SCHEMA = {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+",
    "float": r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
    r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
}


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML 1.2 without duplicate keys or aliases, whose keys are text as it is written.

    Duplicates and aliases make a file mean something else than it shows.
    """

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 as PyYAML declares it

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not allowed")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        mapping: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.YAMLError("a key must be text")
            if key.value in mapping:
                raise yaml.YAMLError(f"key {key.value!r} is given twice")
            mapping[key.value] = self.construct_object(value, deep=True)
        return mapping

    def construct_int(self, node: Any) -> int:
        text = self.construct_scalar(node)
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)

    def construct_float(self, node: Any) -> float:
        return float(
            self.construct_scalar(node).lower().replace(".inf", "inf").replace(".nan", "nan")
        )


class _Dumper(yaml.SafeDumper):
    """Writes text in quotes where either version of YAML would take it for something else."""

    def represent_text(self, text: str) -> Any:
        # Line breaks of Unicode are read back from double quotes alone.
        style = '"' if any(character in text for character in "\x85\u2028\u2029") else None
        return self.represent_scalar(
            "tag:yaml.org,2002:str",
            text,
            style=style,
        )


for _name, _pattern in _CORE_SCHEMA.items():
    for _class in (_StrictLoader, _Dumper):
        _class.add_implicit_resolver(
            f"tag:yaml.org,2002:{_name}", re.compile(rf"(?:{_pattern})\Z"), None
        )
_Dumper.add_representer(str, _Dumper.represent_text)
_StrictLoader.add_constructor("tag:yaml.org,2002:int", _StrictLoader.construct_int)
_StrictLoader.add_constructor("tag:yaml.org,2002:float", _StrictLoader.construct_float)


def read_yaml(
    path: Path, sought: str = "configuration (expected lines such as 'epochs: 10')"
) -> dict[str, Any]:
    """Return the mapping in a YAML file; `sought` is what it should hold, for messages.

    Raises:
        UsageError: naming the file and what is wrong with it.
    """
    try:
        if path.is_file() and path.stat().st_size > _LARGEST_FILE:
            raise UsageError(
                f"{path}: larger than {_LARGEST_FILE:,} bytes; this is not a configuration"
            )
        text = path.read_text(encoding="utf-8-sig")
        value = yaml.load(text, Loader=_StrictLoader)  # noqa: S506 a SafeLoader, made stricter
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; give a YAML file") from error
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise UsageError(f"{path}: not valid YAML: {' '.join(str(error).split())[:120]}") from error
    if not isinstance(value, dict):
        raise UsageError(f"{path}: holds no {sought}")
    return value


def read_value(text: str) -> Any:
    """Return what a text means as YAML, or the text itself where that cannot be read."""
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 a SafeLoader, made stricter
    except (ValueError, yaml.YAMLError, RecursionError):
        return text


def to_yaml(values: Any) -> str:
    """Return plain values as YAML that `read_yaml` reads back."""
    return yaml.dump(
        values,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
    )


def read_config_file(path: Path) -> Config:
    """Return the configuration in a run's folder; what an earlier version lacks is as it was then.

    Raises:
        UsageError: naming the file and what is wrong in it.
    """
    return config_from(with_earlier_defaults(read_yaml(path)), str(path))


def recipe_path(name: str) -> Path:
    """Return the place of a shipped recipe.

    Raises:
        UsageError: naming the recipes there are.
    """
    return _shipped(name, _RECIPES, "--recipe")


def search_path(name: str) -> Path:
    """Return the place of a shipped search.

    Raises:
        UsageError: naming the searches there are.
    """
    return _shipped(name, _RECIPES / "searches", "--search")


def _shipped(name: str, folder: Path, flag: str) -> Path:
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in known:
        hint = suggestion(name, known)
        listed = ", ".join(known)
        raise UsageError(f"{flag} {name}: unknown{hint}; there are: {listed}")
    return folder / f"{name}.yaml"
