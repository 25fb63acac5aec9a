"""How a pool of images is split again and again, in words: kfold:5, repeated:3x5, bootstrap:5; or once: holdout."""

import re
from dataclasses import dataclass

from epochal.app.errors import UsageError

_FORMS = {
    "holdout": "",
    "kfold": ":{folds}",
    "repeated": ":{repetitions}x{folds}",
    "bootstrap": ":{repetitions}",
}
_NUMBER = "[1-9][0-9]{0,2}"


@dataclass(frozen=True)
class Splits:
    """Several ways to split one pool; made by `of`, and `str` gives the text back.

    `kind` is holdout, kfold, repeated or bootstrap. In each of the `repetitions` every one of the `folds` validates
    once; a bootstrap resamples as often as it repeats.
    """

    kind: str
    repetitions: int = 1
    folds: int = 1

    @classmethod
    def of(cls, text: str) -> "Splits":
        """From words.

        Raises:
            UsageError: for words that mean none.
        """
        for kind, form in _FORMS.items():
            numbers = {key: f"(?P<{key}>{_NUMBER})" for key in ("repetitions", "folds")}
            if match := re.fullmatch(kind + form.format(**numbers), text):
                given = {key: int(value) for key, value in match.groupdict().items()}
                if given.get("folds") != 1:
                    return cls(kind, **given)
        raise UsageError(
            f"splits: expected holdout, kfold:5, repeated:3x5 (3 times 5 folds) or bootstrap:5, with 2 to 999 folds, "
            f"got {text!r}"
        )

    @property
    def count(self) -> int:
        """How many they are."""
        return self.repetitions * self.folds

    def __str__(self) -> str:
        return self.kind + _FORMS[self.kind].format(repetitions=self.repetitions, folds=self.folds)


@dataclass(frozen=True)
class Fold:
    """One of several splits, in words as kfold:5/2: the second; `number` counts from 1."""

    splits: Splits
    number: int

    @classmethod
    def of(cls, text: str) -> "Fold":
        """From words.

        Raises:
            UsageError: for words that mean none.
        """
        words, _, number = text.rpartition("/")
        try:
            splits = Splits.of(words)
        except UsageError:
            splits = Splits("holdout")
        if (
            splits.kind == "holdout"
            or not re.fullmatch(_NUMBER, number)
            or int(number) > splits.count
        ):
            raise UsageError(
                "data.split: expected all or one of several splits, counted from 1, as kfold:5/2, repeated:3x5/7 or "
                f"bootstrap:5/2, got {text!r}"
            )
        return cls(splits, int(number))

    def __str__(self) -> str:
        return f"{self.splits}/{self.number}"
