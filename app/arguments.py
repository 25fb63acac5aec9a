"""From the command line to a checked configuration: defaults < recipe < file < flags. No TensorFlow here."""

import json
import re
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, NoReturn

import yaml

from app import runs
from app.config import Config
from app.errors import UsageError, suggestion
from app.storage import check_new_png

_LARGEST_FILE = 1_000_000  # bytes
_UNION = r"^(\S+): Does not validate against any of the Union .*Subtypes: \[(.*)\] Errors:.* Given value: (.*)$"
_INHERITED = ("dataset", "data_dir", "model", "norm", "activation")
_MODES = ("resume", "dry_run", "overfit_batches", "sample_ladder", "pilot")  # of `epochal train`, one at a time


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


def read_config_file(path: Path) -> Config:
    """A configuration from a YAML file alone, as a run's folder holds it.

    Raises:
        UsageError: naming the file and what is wrong in it.
    """
    return config_from(read_yaml(path), str(path))


def config_from(values: dict[str, Any], where: str) -> Config:
    """A checked configuration from nested plain values; what they lack is the default.

    Raises:
        UsageError: naming `where` they come from, and what is wrong.
    """
    return _parsed(train_parser(), _tokens(flatten(values, where)))[0]


def read_yaml(path: Path, sought: str = "configuration (expected lines such as 'epochs: 10')") -> dict[str, Any]:
    """The mapping in a YAML file, read with a safe and strict loader; `sought` is what it should hold, for messages."""
    try:
        if path.is_file() and path.stat().st_size > _LARGEST_FILE:
            raise UsageError(f"{path}: larger than {_LARGEST_FILE:,} bytes; this is not a configuration")
        text = path.read_text(encoding="utf-8-sig")
        value = yaml.load(text, Loader=_StrictLoader)  # noqa: S506 a SafeLoader, made stricter
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; give a YAML file") from error
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise UsageError(f"{path}: not valid YAML: {' '.join(str(error).split())[:120]}") from error
    if not isinstance(value, dict):
        raise UsageError(f"{path}: holds no {sought}")
    return value


def recipe_path(name: str) -> Path:
    """Where a shipped recipe lies.

    Raises:
        UsageError: naming the recipes there are.
    """
    folder = Path(str(resources.files("app") / "recipes"))
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in known:
        raise UsageError(f"--recipe {name}: unknown{suggestion(name, known)}; there are: {', '.join(known)}")
    return folder / f"{name}.yaml"


def flatten(values: dict[str, Any], where: str, kind: type = Config, prefix: str = "") -> dict[str, Any]:
    """Nested values as {"augment.flip": True, ...}; unknown keys are errors with a suggestion."""
    known = {field.name: field for field in fields(kind)}
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            raise UsageError(
                f"{where}: unknown key {prefix}{key}{suggestion(str(key), list(known))}; see epochal train --help"
            )
        inner = known[key].type
        if isinstance(inner, type) and is_dataclass(inner):
            if not isinstance(value, dict):
                raise UsageError(f"{where}: {key} must hold keys such as {fields(inner)[0].name}, got {value!r}")
            flat |= flatten(value, where, inner, f"{key}.")
        else:
            flat[prefix + key] = value
    return flat


@dataclass(frozen=True, kw_only=True)
class TrainArguments:
    """What `epochal train` was asked for: a configuration, or a run to resume ("" is the newest)."""

    config: Config
    resume: str | None
    dry_run: bool
    print_config: bool
    overfit_batches: int | None
    sample_ladder: bool
    pilot: bool
    export: bool

    @property
    def modes(self) -> list[str]:
        """The flags that were given of those that do something else than a plain training."""
        return [f"--{key.replace('_', '-')}" for key in _MODES if getattr(self, key) not in (None, False)]


def train_parser() -> Any:
    """The flags of `epochal train`: one for each field of the configuration, and a few of its own."""
    import jsonargparse

    class Parser(jsonargparse.ArgumentParser):
        def error(self, message: str, ex: Exception | None = None) -> NoReturn:
            raise UsageError(_one_line(message))

    parser = Parser(prog="epochal train", description="Train a classifier.", add_help=False, default_env=False)
    own = parser.add_argument_group("This command")
    own.add_argument("--recipe", type=str | None, help="start from a shipped configuration (see app/recipes)")
    own.add_argument("--config", type=str | None, help="YAML file with any of the keys below")
    own.add_argument(
        "--resume", nargs="?", const="", help="continue a run that was stopped: the newest, or this folder"
    )
    own.add_argument(
        "--export", action="store_true", help="then write saved_models/NAME/VERSION/ as epochal export does"
    )
    own.add_argument("--print_config", action="store_true", help="print the resolved configuration and stop")
    own.add_argument("--dry_run", action="store_true", help="check everything, run two steps, write nothing")
    own.add_argument(
        "--overfit_batches",
        type=int | None,
        help="train on so many batches until they are known by heart, store nothing",
    )
    own.add_argument("--sample_ladder", action="store_true", help="train on 1, 5, 10, 100, ... images, store nothing")
    own.add_argument("--pilot", action="store_true", help="train a fifth of the layers on a tenth of the images first")
    parser.add_class_arguments(Config, fail_untyped=True)
    return parser


def train_arguments(arguments: list[str]) -> TrainArguments:
    """Parses what stands after `epochal train`.

    Raises:
        UsageError: in one line, with a suggestion for a misspelt flag.
    """
    parser = train_parser()
    arguments = normalised(arguments, _flags(parser))
    print_config = "--print_config" in arguments  # jsonargparse has its own meaning for it
    arguments = [word for word in arguments if word != "--print_config"]
    config, own = _parsed(parser, arguments)
    if own.resume is not None:
        given = {token[2:].split("=")[0] for token in arguments if token.startswith("--")}
        if unused := sorted(given - {"resume", "export"}):
            raise UsageError(f"--resume continues a run with its own configuration; drop --{', --'.join(unused)}")
    layers: list[str] = []
    if own.recipe:
        path = recipe_path(own.recipe)
        layers += _tokens(flatten(read_yaml(path), str(path)))
    if own.config:
        layers += _tokens(flatten(read_yaml(Path(own.config)), own.config))
    if layers:
        config, _ = _parsed(parser, layers + arguments)
    if config.init_from is not None:
        config, _ = _parsed(parser, _inherited(config.init_from) + layers + arguments)
    chosen = {key: getattr(own, key) for key in (*_MODES, "export")}
    asked = TrainArguments(config=config, print_config=print_config, **chosen)
    if asked.overfit_batches is not None and asked.overfit_batches < 1:
        raise UsageError(f"--overfit-batches: expected 1 or more, got {asked.overfit_batches}")
    if len(asked.modes) > 1:
        raise UsageError(f"{' and '.join(asked.modes)} exclude each other; give one of them")
    if asked.export and not {*asked.modes} <= {"--resume", "--pilot"}:
        raise UsageError(f"{asked.modes[0]} stores nothing that --export could write; drop one of both")
    if asked.pilot and config.init_from is not None:
        raise UsageError(
            f"--pilot trains a smaller network, which {config.init_from} has no weights for; drop one of both"
        )
    return asked


def _inherited(where: str) -> list[str]:
    """What a run takes over from the finished one that it starts from where nothing else is given, as flags."""
    source = runs.find(where)
    source.check_finished()
    config = read_config_file(source.folder / "config.yaml").to_dict()
    size = source.read_json("data.json")["image_size"]  # also where that was the data set's own
    return _tokens({key: config[key] for key in _INHERITED} | {"image_size": size, "learning_rate": source.last_rate()})


def split_arguments(parser: ArgumentParser, words: list[str]) -> tuple[Namespace, Config]:
    """A command's own options, and the configuration that all others make as for `epochal train`.

    Raises:
        UsageError: also for a plot that cannot be written.
    """
    asked, rest = parser.parse_known_args(words)
    check_new_png(getattr(asked, "plot", None))
    made = train_arguments(rest)
    if made.resume is not None:
        raise UsageError("--resume goes on with a run's own schedule; give its configuration, --config RUN/config.yaml")
    if unused := [*made.modes, *(["--export"] if made.export else [])]:
        raise UsageError(f"{unused[0]} is for epochal train; drop it")
    return asked, made.config


def normalised(arguments: list[str], known: list[str]) -> list[str]:
    """Flags with underscores for dashes; a flag that is unknown or given twice is an error with a suggestion."""
    result, seen = [], set()
    for token in arguments:
        if token.startswith("--") and len(token) > 2:
            flag, equals, value = token.partition("=")
            name = flag[2:].replace("-", "_")
            if name not in known:
                meant = suggestion(name, known, "--").replace("_", "-")
                raise UsageError(f"unknown option {flag}{meant}; see epochal train --help")
            if name in seen:
                raise UsageError(f"{flag} is given twice; give it once")
            seen.add(name)
            token = f"--{name}{equals}{value}"
        result.append(token)
    return result


def _parsed(parser: Any, arguments: list[str]) -> tuple[Config, Any]:
    """The checked configuration and the parsed namespace."""
    try:
        values = parser.parse_args(arguments)
        nested = values.as_dict()
        return _made(Config, nested), values
    except ValueError as error:
        raise UsageError(_one_line(str(error))) from error


def _made(kind: type, values: dict[str, Any]) -> Any:
    """A configuration class from nested plain values."""
    made = {}
    for field in fields(kind):
        inner: Any = field.type
        make = partial(_made, inner) if isinstance(inner, type) and is_dataclass(inner) else _named
        made[field.name] = make(values[field.name])
    return kind(**made)


def _named(value: Any) -> Any:
    """A mapping with names for keys, where YAML takes some for numbers; all else as it is."""
    return {str(key): inner for key, inner in value.items()} if isinstance(value, dict) else value


def _flags(parser: Any) -> list[str]:
    options = [option for action in parser._actions for option in action.option_strings]
    groups = {field.name for field in fields(Config) if is_dataclass(field.type)}
    return sorted({option[2:] for option in options if option.startswith("--") and "+" not in option} - groups)


def _tokens(flat: dict[str, Any]) -> list[str]:
    """Values from a file as flags, so that both are parsed and checked by the same code."""
    return [f"--{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in flat.items()]


def _words(types: str) -> str:
    """jsonargparse's names of types, as a user would say them."""
    for name, word in (
        ("list[int]", "a list such as [15, 22]"),
        ("dict[str, typing.Any]", 'as {"momentum": 0.8}'),
        ("dict[str, float]", 'numbers by name as {"cat": 2}'),
    ):
        types = types.replace(name, word)
    return re.sub(r"<class '(\w+)'>", r"\1", types).replace(", NoneType", " or null")


def _one_line(message: str) -> str:
    text = " ".join(message.split()).replace('Parser key "', "").replace('":', ":")
    text = re.sub(_UNION, lambda m: f"{m[1]}: expected {_words(m[2])}, got {m[3]}", text)
    text = re.sub(r"Expected a (?:<class '(\w+)'>|typing\.)", lambda m: f"expected {m[1] or ''}", text)
    text = re.sub(r"(?:typing\.)?Literal\[([^\]]*)\]", lambda m: m[1].replace("'", ""), text)
    return f"{text.replace('. Got value: ', ', got ')}; see epochal train --help"
