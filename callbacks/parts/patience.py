"""Patience with a training that does not get better, and the pause after it was lost."""


class Patience:
    """Counts disappointments in a row, and says when there were too many.

    Args:
        patience: disappointments in a row that are too many, at least 1.
        cooldown: counts after that in which nothing is a disappointment.
    """

    def __init__(self, patience: int, cooldown: int) -> None:
        self.patience = patience
        self.cooldown = cooldown
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self.wait = 0  # disappointments in a row
        self.cooling = 0  # counts that are left of the cooldown

    def is_lost(self, *, disappointed: bool) -> bool:
        """Count once more; return whether patience is lost now, and begin the cooldown if so."""
        if disappointed and not self.cooling:
            self.wait += 1
        else:
            self.wait = 0
        self.cooling = max(0, self.cooling - 1)
        if self.wait < self.patience:
            return False
        self.wait = 0
        self.cooling = self.cooldown
        return True
