"""Configuration files: strict YAML, the recipes that come with epochal, configurations of runs."""

import re
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from epochal.app.config.config import Config
from epochal.app.config.given_files import read_given_file
from epochal.app.config.load import config_from, with_earlier_defaults
from epochal.app.errors import UsageError, suggestion

# Of a configuration, and of a search: PyYAML takes a second for as much.
_MOST_BYTES = 250_000
_MOST_NODES = 10_000
_MOST_LEVELS = 20
_LONGEST_TEXT = 4096
_LONGEST_NUMBER = 100
_LARGEST_WHOLE = 10**18
_LONGEST_WHOLE = 18  # digits; longer ones are read as 1e30 is
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

# The tags of that schema: all other values would be no plain ones.
_TAGS = {
    yaml.ScalarNode: ("null", "bool", "int", "float", "str"),
    yaml.SequenceNode: ("seq",),
    yaml.MappingNode: ("map",),
}


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML 1.2 without duplicate keys or aliases, whose keys are text as it is written.

    Duplicates and aliases make a file mean something else than it shows. What is large, deep or
    no plain value is refused where it begins, before time and memory go into it.
    """

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 as PyYAML declares it
    most_nodes = _MOST_NODES

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._num_nodes = 0
        self._level = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not allowed")
        self._num_nodes += 1
        if self._num_nodes > self.most_nodes:
            raise yaml.YAMLError(f"more than {self.most_nodes:,} keys and values")
        if self._level == _MOST_LEVELS:
            raise yaml.YAMLError(f"nested more than {_MOST_LEVELS} levels deep")
        self._level += 1
        node = super().compose_node(parent, index)
        self._level -= 1
        _check_node(node)
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        mapping: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.YAMLError("a key must be text")
            if key.value in mapping:
                raise yaml.YAMLError(f"key {key.value!r} is given twice")
            mapping[key.value] = self.construct_object(value, deep=True)
        return mapping

    def construct_int(self, node: Any) -> int | float:
        text = self.construct_scalar(node)
        if text[:2] in ("0o", "0x"):
            number = int(text, 0)
            if number > _LARGEST_WHOLE:
                raise yaml.YAMLError(f"{text} is too large a number")
            return number
        if len(text) > _LONGEST_WHOLE:
            # As Python takes a literal such as 1e30; infinite beyond all floats.
            return float(text)
        return int(text)

    def construct_float(self, node: Any) -> float:
        return float(
            self.construct_scalar(node).lower().replace(".inf", "inf").replace(".nan", "nan")
        )


class _StoredLoader(_StrictLoader):
    """Reads what was accepted before, with the defaults that stand beside it in a run's folder."""

    most_nodes = 2 * _MOST_NODES


def _check_node(node: Any) -> None:
    """Refuse a value of another tag than its own, and one that is too long; join surrogates.

    Raises:
        yaml.YAMLError: saying what was expected.
    """
    tag = node.tag.removeprefix("tag:yaml.org,2002:")
    if tag not in _TAGS[type(node)]:
        raise yaml.YAMLError(
            f"the tag {tag[:60]} is not allowed; write plain text, numbers or lists"
        )
    if not isinstance(node, yaml.ScalarNode):
        return
    is_number = tag in ("int", "float")
    longest = _LONGEST_NUMBER if is_number else _LONGEST_TEXT
    if len(node.value) > longest:
        kind = "number" if is_number else "text"
        raise yaml.YAMLError(
            f"a {kind} of {len(node.value):,} characters, expected {longest:,} at most"
        )
    if tag in _CORE_SCHEMA and not re.fullmatch(_CORE_SCHEMA[tag], node.value):
        raise yaml.YAMLError(f"{node.value[:60]!r} is no {tag}")
    if not node.value.isascii():
        # JSON writes a character beyond 16 bits as two halves.
        halves = node.value.encode("utf-16", "surrogatepass")
        try:
            node.value = halves.decode("utf-16")
        except UnicodeDecodeError as error:
            raise yaml.YAMLError(f"{node.value[:60]!a} has half a character") from error


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
    path: Path,
    sought: str = "configuration (expected lines such as 'epochs: 10')",
    *,
    stored: bool = False,
) -> dict[str, Any]:
    """Return the mapping in a YAML file.

    Args:
        path: of the file, or of a pipe.
        sought: what it should hold, for messages.
        stored: it lies in a run's folder, where all defaults stand beside what was given.

    Raises:
        UsageError: naming the file and what is wrong with it.
    """
    most_bytes = 2 * _MOST_BYTES if stored else _MOST_BYTES
    loader = _StoredLoader if stored else _StrictLoader
    try:
        text = read_given_file(path, most_bytes).decode("utf-8-sig")
        value = yaml.load(text, Loader=loader)  # noqa: S506 a SafeLoader, made stricter
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; give a YAML file") from error
    # OverflowError: a character beyond 32 bits
    except (ValueError, OverflowError, yaml.YAMLError) as error:
        raise UsageError(f"{path}: not valid YAML: {' '.join(str(error).split())[:120]}") from error
    if not isinstance(value, dict):
        raise UsageError(f"{path}: holds no {sought}")
    return value


def read_value(text: str) -> Any:
    """Return what a text means as YAML, or the text itself where that cannot be read."""
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 a SafeLoader, made stricter
    except (ValueError, OverflowError, yaml.YAMLError):
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
    return config_from(with_earlier_defaults(read_yaml(path, stored=True)), str(path))


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
