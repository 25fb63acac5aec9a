"""The flag reference: every setting by group, as Markdown for the documentation.

python -m epochal.app.commands.reference > docs/flags.md
"""

from epochal.app.commands.arguments import flag_of
from epochal.app.config import SETTINGS, Setting
from epochal.app.config.keys import GROUPS
from epochal.app.config.load import type_in_words

_HEAD = """\
# Flags

Every flag of `epochal train`, which is also a key of a configuration file: `--optim.clip-norm 1` is

    optim:
      clip_norm: 1

This page is printed by `python -m epochal.app.commands.reference`.
"""


def reference() -> str:
    """Return the page of all settings: flag, type, default and meaning, a section a group."""
    sections = [_HEAD, _section("", "General")]
    for name, group in GROUPS.items():
        sections.append(
            _section(
                name,
                name,
                group.__doc__.partition("\n")[0],
            )
        )
    return "\n".join(sections)


def _section(group: str, title: str, description: str = "") -> str:
    lines = [f"## {title}", ""]
    if description:
        lines += [description, ""]
    lines += ["| flag | expected | default | meaning |", "|---|---|---|---|"]
    for setting in SETTINGS.values():
        if setting.group == group:
            lines.append(_row(setting))
    return "\n".join([*lines, ""])


def _row(setting: Setting) -> str:
    default = "null"
    if setting.default is not None:
        default = str(setting.default).lower()
    flags = f"`{flag_of(setting.key)}`"
    if setting.traits.alias is not None:
        flags += f" or `{setting.traits.alias}`"
    cells = [
        flags,
        type_in_words(setting.type),
        f"`{default}`",
        ". ".join([setting.traits.doc, *_traits(setting)]),
    ]
    escaped = [cell.replace("|", "\\|") for cell in cells]
    return f"| {' | '.join(escaped)} |"


def _traits(setting: Setting) -> list[str]:
    """Return what else should be known of a setting, a phrase for each trait."""
    traits = setting.traits
    phrases = []
    if traits.unsearchable is not None:
        phrases.append(f"Not searched: {traits.unsearchable}")
    if traits.counts is not None:
        phrases.append("A pilot shortens it")
    if traits.inherited:
        phrases.append("Taken from the run that `init_from` names")
    if not traits.identity:
        phrases.append("May be changed before a run goes on")
    if traits.private:
        phrases.append("Left out of an exported model's card")
    if setting.default_before != setting.default:
        phrases.append(f"Runs from before there was this setting: `{setting.default_before}`")
    return phrases


if __name__ == "__main__":
    print(reference(), end="")
