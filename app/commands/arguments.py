"""From the command line to a checked configuration: defaults < recipe < file < flags. No TensorFlow here."""

import json
import re
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from epochal.app.config import Config
from epochal.app.config.files import read_yaml, recipe_path
from epochal.app.config.load import flatten
from epochal.app.errors import UsageError, suggestion
from epochal.app.store import run as runs
from epochal.app.store.files import check_new_png

_UNION = r"^(\S+): Does not validate against any of the Union .*Subtypes: \[(.*)\] Errors:.* Given value: (.*)$"
_INHERITED = ("dataset", "data_dir", "model", "norm", "activation")
_MODES = (
    "resume",
    "dry_run",
    "overfit_batches",
    "sample_ladder",
    "pilot",
)  # of `epochal train`, one at a time


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
        return [
            f"--{key.replace('_', '-')}"
            for key in _MODES
            if getattr(self, key) not in (None, False)
        ]


def train_parser() -> Any:
    """The flags of `epochal train`: one for each field of the configuration, and a few of its own."""
    import jsonargparse

    class Parser(jsonargparse.ArgumentParser):
        def error(self, message: str, ex: Exception | None = None) -> NoReturn:
            raise UsageError(_one_line(message))

    parser = Parser(
        prog="epochal train", description="Train a classifier.", add_help=False, default_env=False
    )
    own = parser.add_argument_group("This command")
    own.add_argument(
        "--recipe", type=str | None, help="start from a shipped configuration (see app/recipes)"
    )
    own.add_argument("--config", type=str | None, help="YAML file with any of the keys below")
    own.add_argument(
        "--resume",
        nargs="?",
        const="",
        help="continue a run that was stopped: the newest, or this folder",
    )
    own.add_argument(
        "--export",
        action="store_true",
        help="then write saved_models/NAME/VERSION/ as epochal export does",
    )
    own.add_argument(
        "--print_config", action="store_true", help="print the resolved configuration and stop"
    )
    own.add_argument(
        "--dry_run", action="store_true", help="check everything, run two steps, write nothing"
    )
    own.add_argument(
        "--overfit_batches",
        type=int | None,
        help="train on so many batches until they are known by heart, store nothing",
    )
    own.add_argument(
        "--sample_ladder",
        action="store_true",
        help="train on 1, 5, 10, 100, ... images, store nothing",
    )
    own.add_argument(
        "--pilot",
        action="store_true",
        help="train a fifth of the layers on a tenth of the images first",
    )
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
            raise UsageError(
                f"--resume continues a run with its own configuration; drop --{', --'.join(unused)}"
            )
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
        raise UsageError(
            f"{asked.modes[0]} stores nothing that --export could write; drop one of both"
        )
    if asked.pilot and config.init_from is not None:
        raise UsageError(
            f"--pilot trains a smaller network, which {config.init_from} has no weights for; drop one of both"
        )
    return asked


def _inherited(where: str) -> list[str]:
    """What a run takes over from the finished one that it starts from where nothing else is given, as flags."""
    source = runs.find(where)
    source.check_finished()
    config = source.config().to_dict()
    size = source.data_card().image_size  # also where that was the data set's own
    return _tokens(
        {key: config[key] for key in _INHERITED}
        | {"image_size": size, "learning_rate": source.last_rate()}
    )


def split_arguments(parser: ArgumentParser, words: list[str]) -> tuple[Namespace, Config]:
    """A command's own options, and the configuration that all others make as for `epochal train`.

    Raises:
        UsageError: also for a plot that cannot be written.
    """
    asked, rest = parser.parse_known_args(words)
    check_new_png(getattr(asked, "plot", None))
    made = train_arguments(rest)
    if made.resume is not None:
        raise UsageError(
            "--resume goes on with a run's own schedule; give its configuration, --config RUN/config.yaml"
        )
    if unused := [*made.modes, *(["--export"] if made.export else [])]:
        raise UsageError(f"{unused[0]} is for epochal train; drop it")
    return asked, made.config


def normalised(arguments: list[str], known: list[str]) -> list[str]:
    """Flags with underscores for dashes; a flag that is unknown or given twice is an error with a suggestion."""
    result = []
    seen = set()
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
    return sorted(
        {option[2:] for option in options if option.startswith("--") and "+" not in option} - groups
    )


def config_of_flat(flat: dict[str, Any]) -> Config:
    """The configuration of {"augment.flip": True, ...}."""
    return _parsed(train_parser(), _tokens(flat))[0]


def _tokens(flat: dict[str, Any]) -> list[str]:
    """Values from a file as flags, so that both are parsed and checked by the same code."""
    return [
        f"--{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in flat.items()
    ]


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
    text = re.sub(
        r"Expected a (?:<class '(\w+)'>|typing\.)", lambda m: f"expected {m[1] or ''}", text
    )
    text = re.sub(r"(?:typing\.)?Literal\[([^\]]*)\]", lambda m: m[1].replace("'", ""), text)
    return f"{text.replace('. Got value: ', ', got ')}; see epochal train --help"
