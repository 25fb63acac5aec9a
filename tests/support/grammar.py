"""A grammar of command lines, made of the parsers and the settings that there are.

A new command, flag or setting is covered by its kind. A line comes with the files and the variables
that it meets; most of its values are usable, so that lines get further than to the parser.
"""

import json
import re
from argparse import Action
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from hypothesis import strategies as st

from epochal.app.commands.arguments import flag_of
from epochal.app.commands.main import COMMANDS, module_of
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
    *(
        ":1",
        "x:²",
        "localhost:65536",
        "[::1]:1",
        "1s",
        "0s",
        "1h1",
        "9" * 400 + "h",
        "9" * 5000 + "s",
    ),
    *("kfold:5/2", "kfold:2", "kfold:²/1", "all", "bootstrap:999/999", "repeated:9x9/1", "holdout"),
    *("softmax", "lenet5", "mlp", "digits", "adam", "relu", "batch", "best", "1,1,1,1", "3,4,4,8"),
    *("1,1,1,99999999999999999999", "0,1,1,1", "١,١,١,١"),
)
PLACES = (
    *("photos", "photos/a", "photos/a/001.jpg", "photos/", "./photos", "one_class", "empty"),
    *("text.txt", "text.txt/x", "link", "dangling", "loop", "noise", "given.yaml", "search.yaml"),
    *("/dev/null", "/dev/zero", "/dev/full", "/proc/self/mem", "/proc/self", "/root/x", "missing"),
    *(
        "missing/x.png",
        "new.png",
        "photos/new.png",
        "empty/new.png",
        "p" * 300 + ".png",
        "new.yaml",
    ),
    *(
        "runs",
        "runs/good",
        "good",
        "half",
        "foreign",
        "empty_run",
        "good-odd",
        "stopped-odd",
        "sweeps",
    ),
    *(
        "sweeps/good",
        "sweeps/good-odd",
        "sweeps/done",
        "sweeps/done-odd",
        "saved_models/good-odd",
        "saved_models/foreign",
        "saved_models",
    ),
)
VALUES = (
    *("[1]", "[1, 2]", "[2, 1]", "[]", "[[1]]", "[a]", "[1e400]", "[.nan]", "[-1]", "[null]"),
    *("{a: 1}", "{a: b}", "{a: null}", "{a: {b: 1}}", "{'': 1}", "{1: 2}", "{a: -1}", "{a: 1e400}"),
    *("{a: .nan}", "{a: 1, a: 2}", "{[1]: 2}", "{(: 1}", "{.: 0}", "{kernel: 1e308}", "{a: [1]}"),
    *("{'0': 2, '1': 1e308}", "{'0': 0}", "{'0': 1e-320}", "[1" + ", 1" * 300 + "]", "[" * 2000),
    *(
        "{? a: 1}",
        "!!set {a}",
        "!!binary aGk=",
        "2020-01-01",
        "!!timestamp 1",
        "!!float x",
        "!!bool x",
        "|",
        "!x y",
    ),
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
    "model": ("softmax", "mlp", "lenet5", "lenet300", "resnet8", "softmax", "resnet20"),
    "norm": ("batch", "layer", "weight", "weight_mean", "normprop", "none", "group"),
    "activation": (
        "relu",
        "prelu",
        "leaky_relu",
        "scaled_tanh",
        "maxout",
        "gelu",
        "softmax",
        "glu",
    ),
    "weights": ("text.txt", "noise", "photos"),
    "init_from": ("good", "half", "good-odd", "sweeps/good"),
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
_SHIPPED = ("digits", "cifar10-resnet20", "any", "learning-rates", "kfold:2", "0.0.0.0", "::1")
_RUNS = ("good", "good-odd", "good-odd", "good-odd", "half", "stopped-odd", "runs/good/")
_BEGUN = ("stopped", "stopped-odd", "half", "good-odd", "sweeps/good-odd", "sweeps/done-odd", "")
_IMAGES = ("photos/a/001.jpg", "photos/a/002.jpg", "photos/b/001.jpg", "noise/a/0.png", "text.txt")
_GOOD_PLACES = {
    "predict": (
        *_RUNS,
        "photos/a/001.jpg",
        "photos/a/001.jpg",
        "photos/b/002.jpg",
        "noise/a/0.png",
    ),
    "serve": ("saved_models/good-odd", "saved_models/foreign-odd", "saved_models/foreign"),
    "models": ("softmax", "mlp", "lenet5", "resnet8"),
    "data preview": ("digits", "./photos", "photos/"),
    "finetune": ("./photos", "./noise", "digits"),
}
NONSENSE = (*NUMBERS, *TEXTS, *PLACES, *VALUES)


@dataclass(frozen=True)
class Line:
    """A command line, and what it meets.

    Args:
        words: behind `epochal`.
        files: texts to write first, by path.
        damage: what happened to one file of the folder called `NAME-odd`, which else is as that
            called NAME: its number, and its new content, or (of a JSON file) the number of a
            value and the one in its place; None has it removed.
        variables: of the environment; None for one that is missing.
    """

    words: tuple[str, ...]
    files: Mapping[str, str]
    damage: tuple[int, bytes | tuple[int, Any] | None]
    variables: Mapping[str, str | None]


@cache
def parser_of(command: str) -> Any:
    """Return the parser of a command."""
    return module_of(command).make_parser()


@cache
def flags_of(command: str) -> dict[str, Action]:
    """Return what a command's flags stand for, by their long names."""
    flags = {}
    for action in parser_of(command)._actions:
        for flag in action.option_strings:
            if flag.startswith("--"):
                flags[flag] = action
    return flags


def lines(*, light: bool = False) -> st.SearchStrategy[Line]:
    """Return a strategy of lines; those that are light train nothing.

    Each is drawn from a seed: Hypothesis would try many that hardly differ.
    """
    seeds = st.randoms(use_true_random=True)
    return seeds.map(lambda random: make_line(random, random.choice(COMMANDS), light=light))


def make_line(random: Random, command: str, *, light: bool) -> Line:
    """Draw a line: useful words in most places, a few mistakes, and what it meets."""
    flags = flags_of(command)
    phrases = []
    for action in parser_of(command)._actions:
        if not action.option_strings:
            most = {None: 1, "?": random.randint(0, 1), "+": random.randint(1, 3)}[action.nargs]
            phrases += [[_positional(random, command, number)] for number in range(most)]
    names = sorted(set(flags) - {"--help"})
    for flag in random.sample(names, random.randint(0, min(4, len(names)))):
        phrases.append([flag])
        if flags[flag].nargs != 0:
            phrases[-1].append(random.choice(_useful(flags[flag])))
        phrases += _companions(random, flag, flags)
    phrases = _without_repeats(phrases)
    phrases += _bounds(random, command, [phrase[0] for phrase in phrases])
    if light:
        phrases = _lightened(command, phrases)
    for _ in range(random.choice([0, 0, 0, 1, 1, 1, 2, 3])):
        phrases = _mistaken(random, phrases, flags)
    words = [word for phrase in phrases for word in phrase]
    variables = {}
    if random.random() < 0.1:
        name = random.choice(VARIABLES)
        variables[name] = random.choice(_VALUES_OF_VARIABLES)
    return Line(
        words=(*command.split(), *words),
        files={"given.yaml": _config_text(random), "search.yaml": _search_text(random)},
        damage=_damage(random),
        variables=variables,
    )


def _without_repeats(phrases: list[list[str]]) -> list[list[str]]:
    kept = []
    given = set()
    for phrase in phrases:
        if phrase[0] not in given or not phrase[0].startswith("--"):
            kept.append(phrase)
        given.add(phrase[0])
    return kept


def _companions(random: Random, flag: str, flags: Mapping[str, Action]) -> list[list[str]]:
    """Return the flag without which the others of its group are mostly refused."""
    group = flag.partition(".")[0]
    companion = {"--schedule": "--schedule.shape", "--emphasis": "--emphasis.by"}.get(group)
    if companion in (None, flag) or random.random() < 0.3:
        return []
    return [[companion, random.choice(_useful(flags[companion]))]]


def _positional(random: Random, command: str, number: int) -> str:
    """Return a useful positional word; images are behind the run."""
    if command == "predict" and number > 0:
        return random.choice(_IMAGES)
    return random.choice(_GOOD_PLACES.get(command, _RUNS))


def _mistaken(
    random: Random, phrases: list[list[str]], flags: Mapping[str, Action]
) -> list[list[str]]:
    """Return a line with one more mistake."""
    mistake = random.choice(["value", "value", "value", "stray", "order", "lack", "joined"])
    place = random.randrange(len(phrases) + 1)
    if mistake == "order":
        return random.sample(phrases, len(phrases))
    if mistake == "stray" or place == len(phrases) or not phrases[place]:
        return [*phrases[:place], [_stray(random, sorted(flags))], *phrases[place:]]
    phrase = phrases[place]
    if mistake == "lack":
        changed = phrase[:-1]
    elif mistake == "joined":
        changed = ["=".join([*phrase, "x"][:2])]
    else:
        last = phrase[-1]
        near = random.choice([last.upper(), last[:-1], f"{last}x"])
        changed = [*phrase[:-1], random.choice([near, *random.choices(NONSENSE, k=5)])]
    return [*phrases[:place], changed, *phrases[place + 1 :]]


def _useful(action: Action) -> tuple[str, ...]:
    """Return words that a flag may take, by its kind."""
    if action.dest in SETTINGS:
        return useful_words(action.dest)
    if action.choices is not None:
        return tuple(action.choices)
    if action.dest in ("resume", "sweep"):
        return _BEGUN
    if action.type is None or action.type is Path:
        return PLACES + _SHIPPED
    return ("1", "2", "localhost:1", "3,4,4,8")


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


def _stray(random: Random, names: Sequence[str]) -> str:
    """Return a word that has no place: another command's flag, an abbreviation, or nonsense."""
    others = [flag_of(key) for key in SETTINGS]
    others += ["--resume", "--steps", "--port", "--jobs", "-v", "-vv", "-h", "--help", "--version"]
    flag = random.choice([*names, *others])
    shortened = flag[: random.randint(1, len(flag))]
    odd = random.choice(NONSENSE)
    return random.choice([flag, shortened, flag.upper(), flag.replace("-", "_"), odd, odd])


def _bounds(random: Random, command: str, given: Sequence[str]) -> list[list[str]]:
    """Return words that keep a line short where it would be carried out."""
    least = {"--trials": "1", "--steps": "2", "--epochs": "3", "--model": "softmax"}
    least["--batch-size"] = "64"
    goes_on = {"--resume", "--worker"} & set(given)
    bounds = []
    if command == "models" or goes_on:
        least = {}
    for flag, value in least.items():
        if flag in flags_of(command) and flag not in given:
            bounds.append([flag, value])
    modes = {"--dry-run", "--print-config", "--resume", "--overfit-batches", "--sample-ladder"}
    if command == "train" and not modes & set(given):
        mode = random.choice(["--print-config", *["--dry-run"] * 6, ""])
        bounds += [[mode]] if mode else []
    return bounds


def _lightened(command: str, phrases: list[list[str]]) -> list[list[str]]:
    """Return a line that ends before data are read."""
    flags = flags_of(command)
    kept = [phrase for phrase in phrases if phrase[0] not in _HEAVY]
    if "--print-config" in flags:
        return [*kept, ["--print-config"]]
    if "--dataset" in flags:
        return [*kept, ["--dataset", "./missing"]]
    return kept


_HEAVY = (
    *("--dataset", "--resume", "--worker", "--chief", "--dry-run", "--overfit-batches"),
    *("--sample-ladder", "--pilot", "--export", "--print-config"),
)
_KEYS = (*SETTINGS, "epoch", "optim", "optim.momentum", "data", "", "a b", "null", "1")


def _config_text(random: Random) -> str:
    """Return a configuration: lines of a key with a value, or text that is none."""
    if random.random() < 0.1:
        return _encodable(random.choice(NONSENSE))
    nested = []
    for key in random.sample(_KEYS, random.randint(0, 3)):
        value = random.choice(NONSENSE)
        if key in SETTINGS and random.random() < 0.7:
            value = random.choice(useful_words(key))
        group, _, name = key.rpartition(".")
        if random.random() < 0.2:
            value = json.dumps(value)
        nested.append(f"{group}:\n  {name}: {value}" if group else f"{name}: {value}")
    return _encodable("\n".join([*nested, "epochs: 1", ""]))


def _search_text(random: Random) -> str:
    ranges = []
    for key in random.sample([*SETTINGS, "optim.options.momentum"], random.randint(0, 3)):
        kind = random.choice(["log", "linear", "int", "choice", "choice", "choice"])
        words = NONSENSE
        if key in SETTINGS and random.random() < 0.8:
            words = useful_words(key)
        span = random.choices(words, k=random.randint(0, 3))
        rest = random.choice(["", "", "", ", step: 1", ", when: {optimizer: sgd}", ", x: 1"])
        ranges.append(f"{key}: {{{kind}: [{', '.join(span)}]{rest}}}")
    return _encodable("\n".join(ranges))


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


_CONTENTS = (
    *(b"", b"\0" * 64, b"\xff\xfe\x00", b"x", b"null", b"[]", b"{}", b"1", b'"a"', b"[" * 100_000),
    *(
        b'{"schema": 99}',
        b'{"schema": "x"}',
        b'{"schema": 1}',
        b"[null]",
        b"[[]]",
        b"a: b",
        b"a,b\n1",
    ),
    *(b'{"a": NaN}', b"PK\x05\x06" + b"\0" * 18, b"\x93NUMPY", b"epochs: 1e400", b"model: [1]"),
    *(b'{"files": {}, "format": 1, "seal": ""}', b'{"files": null}', b'{"epoch": "x"}'),
)
_LEAVES = (None, True, -1, 0, 1e400, 10**400, "", "x", "../x", [], {}, [None], {"a": 1}, "\udcff")


def _damage(random: Random) -> tuple[int, bytes | tuple[int, Any] | None]:
    content: Any = random.choice([None, random.choice(_CONTENTS), random.randbytes(9)])
    if random.random() < 0.7:
        content = (random.randrange(200), random.choice(_LEAVES))
    return random.randrange(60), content


def _declared_variables() -> list[str]:
    """Return the names of variables that the application's source has."""
    names = set()
    for path in (ROOT / "app").rglob("*.py"):
        names |= set(re.findall(r'"([A-Z][A-Z0-9]*_[A-Z0-9_]+)"', path.read_text()))
    return sorted(name for name in names if not name.startswith(("TF_", "XLA_", "EAGER_")))


VARIABLES = (*_declared_variables(), "HOME", "COLUMNS", "LINES", "NO_COLOR", "TERM", "TMPDIR")


# A variable cannot hold half a character.
_VALUES_OF_VARIABLES = (
    None,
    *(text for text in (*NUMBERS, *TEXTS, *PLACES) if not re.search("[\ud800-\udbff]", text)),
)
