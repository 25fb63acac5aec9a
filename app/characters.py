"""Characters that a name may have, as people see it."""

import os
import unicodedata

# Controls, halves of characters, what no one has assigned or everyone for themselves, and line
# separators.
_HIDDEN_KINDS = ("Cc", "Cs", "Cn", "Co", "Zl", "Zp")
# They make text read otherwise than it is (Unicode Standard Annex 9, section 2).
_DIRECTIONS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def is_shown(character: str) -> bool:
    """Tell whether a character is harmless to show.

    Joiners and wide spaces are: Persian, Japanese and many emoji are written with them.
    """
    return character not in _DIRECTIONS and unicodedata.category(character) not in _HIDDEN_KINDS


def printable(text: object) -> str:
    """Return the text on one line: what is not harmless to show, undecodable bytes too, escaped.

    Args:
        text: a path, or anything that `str` takes
    """
    shown = []
    for character in os.fspath(text) if isinstance(text, os.PathLike) else str(text):
        if not is_shown(character):
            character = character.encode("unicode_escape").decode()
        shown.append(character)
    return "".join(shown)


def look_alike_key(name: str) -> str:
    """Return what two names share that people can hardly tell apart: all but case and joiners."""
    # NFC once more, since folding can take composed letters apart.
    folded = unicodedata.normalize("NFC", name).casefold()
    key = unicodedata.normalize("NFC", folded).strip()
    return "".join(character for character in key if unicodedata.category(character) != "Cf")
