"""A grammar of command lines, made of the parsers and the settings that there are.

A new command, flag or setting is covered by its kind. A line comes with the files and the variables
that it meets; most of its values are usable, so that lines get further than to the parser.
"""

import re
from argparse import Action
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from hypothesis import strategies as st

from epochal.app.commands.arguments import flag_of
from epochal.app.commands.main import COMMANDS
from epochal.app.config import SETTINGS
from epochal.app.config.optimizers import USUAL_RATES
from tests.support.paths import ROOT

NUMBERS = (
    *("0", "1", "-1", "2", "+1", "-0", "1.5", ".5", "1.", "1e-3", "-1e-300", "1e300", "1e-320"),
    *("1e400", "-1e400", "nan", "-nan", ".nan", "inf", "-inf", ".inf", "-.INF", "NaN"),
    *("0x10", "0o17", "0b1", "1_000", "1,000", "1,5", " 1", "1 ", "٣", "²", "１", "½", "1e", "--1"),
    *("2147483647", "2147483648", "9223372036854775808", "1" + "0" * 400, "9" * 5000),
)
TEXTS = (
    *("", " ", "\t", "\n", "a b", "a\nb", "\x07", "\x1b[31mred", "\x85", "\u2028", "\ufeff"),
    *("x" * 300, "y" * 5000, "é", "e\u0301", "日本", "👩\u200d👩", "\u202etxt", "\udcff", "\ud800"),
    *(".", "..", "../x", "a/b", "/", "//", "~", "~nobody/x", "-", "--", "-x", "--x", "a=b", "%s"),
    *("{}", "{", "}", "[", "[]", "null", "~", "true", "yes", "*", "(", "[a-", "(?P<x", "a{9999}"),
    *("\\", "'", '"', ":", "a: b", "#", "!!python/object/apply:os.system [ls]", "&a b", "*a", "@x"),
    *("%", "%d", "{0}", "$HOME", "`ls`", ";", "|", "http://localhost/x", "gs://b/x", "localhost:1"),
    *(":1", "x:²", "localhost:65536", "[::1]:1", "1s", "0s", "1h1", "9" * 400 + "h", "9" * 5000 + "s"),
    *("kfold:5/2", "kfold:2", "kfold:²/1", "all", "bootstrap:999/999", "repeated:9x9/1", "holdout"),
    *("softmax", "lenet5", "mlp", "digits", "adam", "relu", "batch", "best", "1,1,1,1", "3,4,4,8"),
    *("1,1,1,99999999999999999999", "0,1,1,1", "١,١,١,١"),
)
PLACES = (
    *("photos", "photos/a", "photos/a/0.png", "photos/", "./photos", "one_class", "empty"),
    *("text.txt", "text.txt/x", "link", "dangling", "loop", "noise", "given.yaml", "search.yaml"),
    *("/dev/null", "/dev/zero", "/dev/full", "/proc/self/mem", "/proc/self", "/root/x", "missing"),
    *("missing/x.png", "new.png", "photos/new.png", "empty/new.png", "p" * 300 + ".png", "new.yaml"),
    *("runs", "runs/good", "good", "half", "foreign", "empty_run", "odd", "runs/odd", "sweeps"),
    *("sweeps/good", "sweeps/odd", "saved_models/odd", "saved_models/foreign", "saved_models"),
)
VALUES = (
    *("[1]", "[1, 2]", "[2, 1]", "[]", "[[1]]", "[a]", "[1e400]", "[.nan]", "[-1]", "[null]"),
    *("{a: 1}", "{a: b}", "{a: null}", "{a: {b: 1}}", "{'': 1}", "{1: 2}", "{a: -1}", "{a: 1e400}"),
    *("{a: .nan}", "{a: 1, a: 2}", "{[1]: 2}", "{(: 1}", "{.: 0}", "{kernel: 1e308}", "{a: [1]}"),
    *("{'0': 2, '1': 1e308}", "{'0': 0}", "{'0': 1e-320}", "[1" + ", 1" * 300 + "]", "[" * 2000),
    *("{? a: 1}", "!!set {a}", "!!binary aGk=", "2020-01-01", "!!timestamp 1", "!!float x", "|"),
    *("[9" + "0" * 400 + "]", "{a: 9" + "0" * 400 + "}", "{a: " * 40 + "1" + "}" * 40),
)
_OPTIONS = (
    *("momentum", "nesterov", "beta_1", "beta_2", "epsilon", "amsgrad", "rho", "centered", "name"),
    *("initial_accumulator_value", "learning_rate_power", "l1_regularization_strength", "ns_steps"),
    *("weight_decay", "clipnorm", "use_ema", "ema_momentum", "ema_overwrite_frequency", "limits"),
    *("loss_scale_factor", "gradient_accumulation_steps", "learning_rate", "exclude_layers"),
    *("relative_step", "clip_threshold", "beta_2_decay", "adam_beta_1", "exclude_embeddings"),
    *("warm_up", "increase", "decay", "window", "damping", "rate", "every", "beta"),
)
_USEFUL = {
    "dataset": ("digits", "photos", "one_class", "noise", "empty", "mnist", "cifar10:1.0.0", "."),
    "data_dir": ("empty", "missing", "text.txt"),
    "model": ("softmax", "mlp", "lenet5", "lenet300", "resnet8", "softmax", "softmax"),
    "norm": ("batch", "layer", "weight", "weight_mean", "normprop", "none", "group"),
    "activation": ("relu", "prelu", "leaky_relu", "scaled_tanh", "maxout", "gelu", "softmax", "glu"),
    "weights": ("text.txt", "noise", "photos"),
    "init_from": ("good", "half", "odd", "sweeps/good"),
    "budget": ("2s", "1s", "1h"),
    "pilot_above": ("4h", "1s"),
    "optimizer": tuple(USUAL_RATES),
    "epochs": ("1", "2", "3"),
    "image_size": ("8", "16", "9"),
    "devices": ("1",),
    "name": ("given", "x"),
    "data.split": ("kfold:2/1", "all", "bootstrap:2/2", "kfold:5/5", "repeated:2x2/4"),
    "optim.decays": ("kernel", "bias", "."),
    "optim.frozen": ("kernel", "bias", "^x", ".*"),
    "optim.rates": ("{kernel: 0.5}", "{bias: 0}", "{.: 2}"),
    "objective.class_weights": ("balanced", "{'1': 2}", "{a: 2}", "{'1': 0, '2': 1e30}"),
    "schedule.milestones": ("[1]", "[1, 2]", "[]"),
}
_WORDS_OF_TYPES: dict[Any, tuple[str, ...]] = {
    bool: ("true", "false"),
    int: ("1", "2", "3", "8", "16"),
    float: ("0", "0.1", "0.5", "0.9", "1", "2", "1e-3"),
    str: ("softmax", "x", "photos"),
    NoneType: ("null",),
    list[int]: ("[1]", "[1, 2]"),
    dict[str, float]: ("{kernel: 0.5}", "{'1': 2}"),
    dict[str, Any]: ("{momentum: 0.5}", "{epsilon: 0.1}"),
}
NONSENSE = st.sampled_from([*NUMBERS, *TEXTS, *PLACES, *VALUES])


@dataclass(frozen=True)
class Line:
    """A command line, and what it meets.

    Args:
        words: behind `epochal`.
        files: texts to write first, by path.
        damage: what happened to a copy of a good folder: the place of the copy, the file in it by
            its number among all, and its content; None has it removed.
        variables: of the environment; None for one that is missing.
    """

    words: tuple[str, ...]
    files: Mapping[str, str]
    damage: tuple[str, int, bytes | None] | None
    variables: Mapping[str, str | None]


@cache
def parser_of(command: str) -> Any:
    """Return the parser of a command."""
    module = import_module(f"epochal.app.commands.{command.replace('-', '_')}")
    return module.make_parser()


@cache
def flags_of(command: str) -> dict[str, Action]:
    """Return what a command's flags stand for, by their long names."""
    flags = {}
    for action in parser_of(command)._actions:
        for flag in action.option_strings:
            if flag.startswith("--"):
                flags[flag] = action
    return flags


def lines(commands: Sequence[str] = COMMANDS) -> st.SearchStrategy[Line]:
    """Return a strategy of lines of some commands."""
    return st.sampled_from(commands).flatmap(_lines_of)


@st.composite
def _lines_of(draw: Any, command: str) -> Line:
    actions = parser_of(command)._actions
    flags = flags_of(command)
    # A recipe is as good as no flag, and would train something large.
    names = sorted(set(flags) - {"--help"})
    chosen = draw(st.lists(st.sampled_from(names), max_size=5, unique=draw(_often)))
    words = []
    for action in actions:
        if not action.option_strings:
            words += draw(_positional(action))
    for flag in chosen:
        words += draw(_flag(flag, flags[flag]))
    if not draw(_often):
        place = draw(st.integers(0, len(words)))
        words.insert(place, draw(_stray(names)))
    if not draw(_often):
        words = draw(st.permutations(words))
    words += draw(_bounds(command, words))
    variables = {} if draw(_often) else draw(_variables())
    return Line(
        words=(command, *words),
        files={"given.yaml": draw(_config_text()), "search.yaml": draw(_search_text())},
        damage=draw(_damage),
        variables=variables,
    )


_often = st.integers(0, 9).map(lambda number: number > 0)
_mostly = st.integers(0, 3).map(lambda number: number > 0)


@st.composite
def _positional(draw: Any, action: Action) -> list[str]:
    if action.nargs == "?" and not draw(_mostly):
        return []
    count = 1
    if action.nargs == "+":
        count = draw(st.integers(0, 3))
    useful = st.sampled_from(("good", "odd", "softmax", "photos/a/0.png", "saved_models/odd"))
    values = useful if draw(_mostly) else NONSENSE
    return draw(st.lists(values, min_size=count, max_size=count))


@st.composite
def _flag(draw: Any, flag: str, action: Action) -> list[str]:
    if action.nargs == 0:
        return [flag] if draw(_often) else [f"{flag}=x"]
    if not draw(_often):
        return [flag]
    value = draw(_value(action))
    if draw(_mostly):
        return [flag, value]
    return [f"{flag}={value}"]


def _value(action: Action) -> st.SearchStrategy[str]:
    """Return values of a flag by its kind; three of four are usable."""
    setting = SETTINGS.get(action.dest)
    if setting is not None:
        useful = useful_words(setting.key)
    elif action.choices is not None:
        useful = tuple(action.choices)
    elif action.type is int:
        useful = _WORDS_OF_TYPES[int]
    elif action.type is None or action.type is Path:
        useful = PLACES
    else:
        useful = ("1", "2", "localhost:1", "3,4,4,8")
    near = tuple(word.upper() for word in useful) + tuple(word[:-1] for word in useful)
    return _mostly.flatmap(
        lambda usable: st.sampled_from(useful) if usable else st.sampled_from(near) | NONSENSE
    )


def useful_words(key: str) -> tuple[str, ...]:
    """Return words that a setting takes, by its key or else its type."""
    if key == "optim.options":
        pairs = []
        for name in _OPTIONS:
            for value in ("0.5", "1", "0", "true", "-1", "null", "x", "1e400", "[0.5, 2]"):
                pairs.append(f"{{{name}: {value}}}")
        return tuple(pairs)
    if key in _USEFUL:
        return _USEFUL[key]
    return _words_of(SETTINGS[key].type)


def _words_of(kind: Any) -> tuple[str, ...]:
    if get_origin(kind) is Literal:
        return get_args(kind)
    if get_origin(kind) in (Union, UnionType):
        words: tuple[str, ...] = ()
        for option in get_args(kind):
            words += _words_of(option)
        return words
    return _WORDS_OF_TYPES[kind]


@st.composite
def _stray(draw: Any, names: Sequence[str]) -> str:
    """A word that has no place: another command's flag, an abbreviation, or nonsense."""
    others = [flag_of(key) for key in SETTINGS]
    others += ["--resume", "--steps", "--port", "--jobs", "-v", "-vv", "-h", "--help", "--version"]
    flag = draw(st.sampled_from([*names, *others]))
    length = draw(st.integers(1, len(flag)))
    return draw(st.sampled_from([flag, flag[:length], flag.upper(), flag.replace("-", "_")]) | NONSENSE)


@st.composite
def _bounds(draw: Any, command: str, words: Sequence[str]) -> list[str]:
    """Words that keep a line short where it would be carried out."""
    known = flags_of(command)
    given = {word.partition("=")[0] for word in words}
    least = {"--trials": "1", "--steps": "2"}
    if "--epochs" in known and "--resume" not in given and "--worker" not in given:
        least |= {"--epochs": "1", "--model": "softmax", "--batch-size": "64"}
    bounds = []
    for flag, value in least.items():
        if flag in known and flag not in given and "--resume" not in given:
            bounds += [flag, value]
    modes = {"--dry-run", "--print-config", "--resume", "--overfit-batches", "--sample-ladder"}
    if command == "train" and not modes & given:
        bounds += draw(
            st.sampled_from([["--print-config"], ["--dry-run"], ["--dry-run"], ["--dry-run"], []])
        )
    return bounds


_KEYS = (*SETTINGS, "epoch", "optim", "optim.momentum", "data", "", "a b", "null", "1")


@st.composite
def _config_text(draw: Any) -> str:
    """A configuration: most lines of a key with a value, or text that is none."""
    if not draw(_often):
        return draw(NONSENSE).encode("utf-8", "replace").decode()
    nested = []
    for key in draw(st.lists(st.sampled_from(_KEYS), max_size=3, unique=True)):
        words = NONSENSE
        if key in SETTINGS and draw(_mostly):
            words = st.sampled_from(useful_words(key))
        value = draw(words)
        group, _, name = key.rpartition(".")
        if draw(st.booleans()):
            value = '"' + value.encode("unicode_escape").decode().replace('"', "") + '"'
        nested.append(f"{group}:\n  {name}: {value}" if group else f"{name}: {value}")
    return "\n".join([*nested, "epochs: 1", ""]).encode("utf-8", "replace").decode()


@st.composite
def _search_text(draw: Any) -> str:
    ranges = []
    for key in draw(st.lists(st.sampled_from([*SETTINGS, "optim.options.momentum"]), max_size=3)):
        kind = draw(st.sampled_from(["log", "linear", "int", "choice"]))
        words = NONSENSE if key not in SETTINGS else st.sampled_from(useful_words(key))
        span = draw(st.lists(words if draw(_mostly) else NONSENSE, max_size=3))
        rest = draw(st.sampled_from(["", "", "", ", step: 1", ", when: {optimizer: sgd}", ", x: 1"]))
        ranges.append(f"{key}: {{{kind}: [{', '.join(span)}]{rest}}}")
    return "\n".join(ranges).encode("utf-8", "replace").decode()


_CONTENTS = (
    *(b"", b"\0" * 64, b"\xff\xfe\x00", b"x", b"null", b"[]", b"{}", b"1", b'"a"', b"[" * 100_000),
    *(b'{"schema": 99}', b'{"schema": "x"}', b'{"schema": 1}', b"[null]", b"[[]]", b"a: b", b"a,b\n1"),
    *(b'{"a": NaN}', b"PK\x05\x06" + b"\0" * 18, b"\x93NUMPY", b"epochs: 1e400", b"model: [1]"),
    *(b'{"files": {}, "format": 1, "seal": ""}', b'{"files": null}', b'{"epoch": "x"}'),
)
_damage = st.none() | st.tuples(
    st.sampled_from(("runs/odd", "runs/odd", "sweeps/odd", "saved_models/odd")),
    st.integers(0, 60),
    st.none() | st.sampled_from(_CONTENTS) | st.binary(max_size=20),
)


def _declared_variables() -> list[str]:
    """Return the names of variables that the application's source has."""
    names = set()
    for path in (ROOT / "app").rglob("*.py"):
        names |= set(re.findall(r'"([A-Z][A-Z0-9]*_[A-Z0-9_]+)"', path.read_text()))
    return sorted(name for name in names if not name.startswith(("TF_", "XLA_", "EAGER_")))


VARIABLES = (*_declared_variables(), "HOME", "COLUMNS", "LINES", "NO_COLOR", "TERM", "TMPDIR")


def _variables() -> st.SearchStrategy[dict[str, str | None]]:
    texts = [text for text in (*NUMBERS, *TEXTS, *PLACES) if "\0" not in text]
    # A variable cannot hold half a character.
    texts = [text for text in texts if not re.search("[\ud800-\udbff]", text)]
    values = st.none() | st.sampled_from(texts)
    return st.dictionaries(st.sampled_from(VARIABLES), values, max_size=2)
