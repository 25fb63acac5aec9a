"""The chief of a sweep: hands trials out to workers, stores how they end, and takes back those of
workers that are gone.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from epochal.app.errors import EpochalError
from epochal.app.store.sweep import Sweep
from epochal.app.store.trials import Outcome, Proposal, failed
from epochal.app.tuning.oracle import Oracle

LEASE = 60.0  # seconds without a word after which a worker has lost its trial
_FAILURES = 3  # trials in a row that end the search
_LOSSES = 3  # workers that one trial may cost

_logger = logging.getLogger("epochal.sweep")


@dataclass
class Lease:
    """A trial that a worker has, and the time at which the worker was last heard of."""

    trial: str
    heard: float


class Chief:
    """Answers workers, from any thread; every trial is stored when it is handed out and when it
    ends.

    Args:
        sweep: whose trials these are.
        oracle: brought to where the sweep is.
        on_end: called with the name of each trial that ended.
        clock: seconds.
    """

    def __init__(
        self,
        sweep: Sweep,
        oracle: Oracle,
        on_end: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.sweep = sweep
        self.error: EpochalError | None = None  # that kept it from answering, such as a full disk
        self.leases: dict[str, Lease] = {}  # by the worker's name
        self._oracle = oracle
        self._on_end = on_end
        self._clock = clock
        self._lock = threading.Lock()
        self._losses: Counter[str] = Counter()
        self._gave_up = False
        self._is_done = False
        self._heard = clock()
        self.ended_count = 0  # trials that ended since this chief began

    @property
    def silence(self) -> float:
        """Seconds since any worker was heard of."""
        return self._clock() - self._heard

    @property
    def is_done(self) -> bool:
        """Whether every trial has ended and none will follow."""
        with self._answering():
            return self._check_done()

    def next_trial(self, worker: str) -> Proposal | None:
        """Hand a trial out to a worker; None where it has to wait, or all `is_done`."""
        with self._answering():
            self._heard = self._clock()
            if self._gave_up or self._is_done:
                return None
            proposal = self._oracle.propose(worker)
            if proposal is None:
                return None
            self.leases[worker] = Lease(proposal.trial, self._clock())
            if proposal.trial not in self.sweep.trials():
                self.sweep.record_creation(proposal)
            return proposal

    def end_trial(self, trial: str) -> None:
        """Take a trial's end from its worker, whose report lies in the trial's folder."""
        with self._answering():
            self._heard = self._clock()
            outcome = self.sweep.read_outcome(trial)
            self._end(trial, outcome or failed("its worker left no report"))

    def note_life(self, trial: str) -> None:
        """Note that the worker of a trial is still there."""
        with self._lock:
            self._heard = self._clock()
            for lease in self.leases.values():
                if lease.trial == trial:
                    lease.heard = self._heard

    def lose_worker(self, worker: str, cause: str) -> None:
        """Take back the trial of a worker that is gone, for another one, unless it has cost too
        many workers.
        """
        with self._answering():
            lease = self.leases.get(worker)
            if lease is None:
                return
            self._losses[lease.trial] += 1
            if self._losses[lease.trial] < _LOSSES:
                del self.leases[worker]
                self._oracle.lose(lease.trial)
            else:
                message = f"{_LOSSES} workers ended in it, the last one {cause}"
                self._end(lease.trial, failed(message))

    def lose_silent_workers(self) -> None:
        """Take back the trials of all workers that were not heard of for longer than `LEASE`."""
        now = self._clock()
        for worker, lease in list(self.leases.items()):
            if now - lease.heard > LEASE:
                self.lose_worker(worker, "without a word")

    @contextmanager
    def _answering(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except EpochalError as error:
                self.error = error
                raise

    def _check_done(self) -> bool:
        if not self._is_done and not self.leases:
            self._is_done = self._gave_up or self._oracle.is_done
        return self._is_done

    def _end(self, trial: str, outcome: Outcome) -> None:
        workers = [worker for worker, lease in self.leases.items() if lease.trial == trial]
        if not workers:
            return  # a worker that was thought dead, and one that took over, both came to the end
        for worker in workers:
            del self.leases[worker]
        self.sweep.record_end(trial, outcome)
        self._oracle.tell(trial, outcome.score)
        self.ended_count += 1
        self._give_up_after_failures()
        self._on_end(trial)

    def _give_up_after_failures(self) -> None:
        latest = self.sweep.last_outcomes(_FAILURES)
        if len(latest) < _FAILURES:
            return
        for trial in latest:
            if trial.score is not None:
                return
        self._gave_up = True
        cause = latest[-1].message
        _logger.warning(
            "%d trials in a row failed, the last one with: %s",
            _FAILURES,
            cause,
        )
