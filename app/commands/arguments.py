"""Settings on the command line: a flag for each, merged with recipe and file."""

from argparse import SUPPRESS, Namespace
from functools import partial
from pathlib import Path
from typing import Any, get_args

from epochal.app.commands.console import Parser
from epochal.app.config import SETTINGS, Config, Setting, ViewsName
from epochal.app.config.files import read_value, read_yaml, recipe_path
from epochal.app.config.keys import GROUPS, nest
from epochal.app.config.load import check_values, is_text, make_config
from epochal.app.config.policies import expand_policy
from epochal.app.errors import UsageError
from epochal.app.training.run.inheritance import inherited_settings

_ONLY_TRAIN = "is for epochal train; drop it"
TRAIN_FLAGS = {
    "--resume": "goes on with a run's own schedule; give its configuration, "
    "--config RUN/config.yaml",
    "--export": _ONLY_TRAIN,
    "--print-config": _ONLY_TRAIN,
    "--dry-run": _ONLY_TRAIN,
    "--overfit-batches": _ONLY_TRAIN,
    "--sample-ladder": _ONLY_TRAIN,
    "--pilot": _ONLY_TRAIN,
}


def flag_of(key: str) -> str:
    """Return `--optim.clip-norm` for `optim.clip_norm`."""
    return f"--{key.replace('_', '-')}"


def add_settings(parser: Parser, *, in_help: bool) -> None:
    """Add a flag for each setting, and those that name a recipe or a file of them."""
    general = parser.add_argument_group("configuration" if in_help else None)
    recipe = "start from a shipped configuration (see app/config/recipes)"
    file = "YAML file with any of the keys below"
    general.add_argument(
        "--recipe",
        metavar="NAME",
        help=recipe if in_help else SUPPRESS,
    )
    general.add_argument(
        "--config",
        metavar="FILE",
        help=file if in_help else SUPPRESS,
    )
    groups = dict.fromkeys(["", *GROUPS], general)
    if in_help:
        for name, described in GROUPS.items():
            groups[name] = parser.add_argument_group(name, described.__doc__.partition("\n")[0])
    for setting in SETTINGS.values():
        add_setting(groups[setting.group], setting, in_help=in_help)


def add_setting(parser: Any, setting: Setting, *, in_help: bool) -> None:
    """Add the flag of a setting to a parser, or to a group of one."""
    flags = [flag_of(setting.key)]
    if setting.traits.alias is not None:
        flags.append(setting.traits.alias)
    parser.add_argument(
        *flags,
        dest=setting.key,
        type=partial(_read, setting),
        default=SUPPRESS,
        metavar="X",
        help=_help_text(setting) if in_help else SUPPRESS,
    )


def add_dataset(parser: Parser, nargs: str | None = None) -> None:
    """Add the data set that stands first on a command line, in place of its flag."""
    parser.add_argument(
        "first",
        nargs=nargs,
        metavar="DATASET",
        help="a folder with one sub-folder a class, or whatever --dataset of epochal train takes",
    )


def take_dataset(arguments: Namespace) -> None:
    """Make the data set that stands first the one of the configuration.

    Raises:
        UsageError: the flag gives one, too.
    """
    if arguments.first is None:
        return
    if "dataset" in arguments:
        raise UsageError(
            f"the data set is given twice, {arguments.first} and --dataset {arguments.dataset}; "
            "give one of them"
        )
    arguments.dataset = arguments.first


def add_views(parser: Parser) -> None:
    """Add the flag by which a finished run looks at images in other views than its own."""
    parser.add_argument(
        "--evaluation.views",
        dest="views",
        choices=get_args(ViewsName),
        help="of each image, over which probabilities are averaged (default: the run's own)",
    )


def _help_text(setting: Setting) -> str:
    """The documentation, and the default where that does not say what null means."""
    text = setting.traits.doc.replace("%", "%%")
    if setting.default is None or setting.default is False:
        return text
    return f"{text} (default: {setting.default})"


def _read(setting: Setting, word: str) -> Any:
    """Return what a word means: text stays text where text is expected, all else is YAML."""
    if not is_text(setting.type):
        return read_value(word)
    nullable = setting.default is None
    if nullable and word == "null":
        return None
    return word


def given_settings(arguments: Namespace) -> dict[str, Any]:
    """Return the settings that flags gave, checked, by dotted key.

    Raises:
        UsageError: for a value of another type than its setting's.
    """
    values = {key: value for key, value in vars(arguments).items() if key in SETTINGS}
    return check_values(nest(values))


def resolve_config(arguments: Namespace) -> Config:
    """Return the configuration: defaults < run to start from < recipe < file < flags.

    Raises:
        UsageError: in one line, for the first mistake.
    """
    values = gather_settings(arguments)
    config = make_config(values)
    if config.init_from is not None:
        config = make_config(inherited_settings(config) | values)
    return config


def gather_settings(arguments: Namespace) -> dict[str, Any]:
    """Return the settings that recipe, file and flags give, by dotted key; flags count most.

    A policy of augmentation stands for its settings in the place where it is named.

    Raises:
        UsageError: in one line, for the first mistake.
    """
    flags = given_settings(arguments)
    values: dict[str, Any] = {}
    if arguments.recipe is not None:
        path = recipe_path(arguments.recipe)
        values |= expand_policy(check_values(read_yaml(path), str(path)))
    if arguments.config is not None:
        path = Path(arguments.config)
        values |= expand_policy(check_values(read_yaml(path), str(path)))
    return values | expand_policy(flags)
