"""Splits of a pool of images, in words: holdout, kfold:5, repeated:3x5, bootstrap:5."""

import re
from dataclasses import dataclass

from epochal.app.config.checks import shortened
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

    Args:
        kind: holdout, kfold, repeated or bootstrap.
        repetitions: a bootstrap resamples as often as it repeats.
        folds: in each repetition every fold validates once.
    """

    kind: str
    repetitions: int = 1
    folds: int = 1

    @classmethod
    def of(cls, text: str) -> "Splits":
        """Read splits from words.

        Raises:
            UsageError: for words that mean none.
        """
        for kind, form in _FORMS.items():
            pattern = form.format(
                repetitions=f"(?P<repetitions>{_NUMBER})", folds=f"(?P<folds>{_NUMBER})"
            )
            match = re.fullmatch(kind + pattern, text)
            if match is None:
                continue
            numbers = {name: int(digits) for name, digits in match.groupdict().items()}
            if numbers.get("folds") != 1:
                return cls(kind, **numbers)
        raise UsageError(
            "splits: expected holdout, kfold:5, repeated:3x5 (3 times 5 folds) or bootstrap:5, "
            f"with 2 to 999 folds, got {shortened(repr(text))}"
        )

    @property
    def count(self) -> int:
        """The number of splits."""
        return self.repetitions * self.folds

    def __str__(self) -> str:
        numbers = _FORMS[self.kind].format(
            repetitions=self.repetitions,
            folds=self.folds,
        )
        return self.kind + numbers


@dataclass(frozen=True)
class Fold:
    """One of several splits, in words as kfold:5/2: the second; `number` counts from 1."""

    splits: Splits
    number: int

    @classmethod
    def of(cls, text: str) -> "Fold":
        """Read a fold from words.

        Raises:
            UsageError: for words that mean none.
        """
        words, _, digits = text.rpartition("/")
        try:
            splits = Splits.of(words)
        except UsageError:
            splits = Splits("holdout")
        number = int(digits) if re.fullmatch(_NUMBER, digits) else 0
        if splits.kind == "holdout" or not 1 <= number <= splits.count:
            raise UsageError(
                "data.split: expected all or one of several splits, counted from 1, as kfold:5/2, "
                f"repeated:3x5/7 or bootstrap:5/2, got {shortened(repr(text))}"
            )
        return cls(splits, number)

    def __str__(self) -> str:
        return f"{self.splits}/{self.number}"
