"""The chief: one oracle that workers ask over the network, KerasTuner's own service with what it lacks.

KerasTuner's chief never ends when a worker died, and the worker's trial is never finished. Here a worker that is not
heard of for a while has lost its trial, which is handed to the next one, and the chief ends when the work is done.
"""

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager, suppress
from typing import Any

import grpc
from keras_tuner.engine.trial import Trial, TrialStatus
from keras_tuner.src import protos
from keras_tuner.src.distribute.oracle_chief import OracleServicer

from epochal.app.errors import EpochalError, UsageError
from epochal.app.store.trials import Records
from epochal.app.tuning import oracles
from epochal.app.tuning.plan import Plan
from epochal.app.tuning.trial import read_report

LEASE = 60.0  # seconds without a word after which a worker has lost its trial
_FAILURES = 3  # trials in a row that end the search
_LOSSES = 3  # workers that one trial may cost
_TAKEN = "--chief {}: cannot listen there; is the port free and the host this machine's?"


class Chief(OracleServicer):
    """Answers workers; every trial is stored when it is handed out and when it ends.

    Args:
        plan: of the sweep.
        oracle: has been asked and told everything up to now.
        records: of the sweep.
        tell: called with the number of each trial that ended.
        identity: of the sweep; workers that mean another one are sent away.
    """

    def __init__(
        self,
        plan: Plan,
        oracle: Any,
        records: Records,
        tell: Callable[[str], None],
        identity: str = "",
    ) -> None:
        super().__init__(oracle)
        self.plan = plan
        self.records = records
        self.tell = tell
        self.identity = identity
        self.exhausted = False  # no further trial will be made
        self.reason: str | None = None  # why, if it is not that all are done
        self.error: Exception | None = None  # that kept it from answering, such as a full disk
        self.latest = time.monotonic()  # when any worker was heard of
        self._lock = threading.Lock()
        self._heard: dict[str, float] = {}
        self._losses: Counter[str] = Counter()

    def CreateTrial(self, request: Any, context: Any) -> Any:  # noqa: N802 names of the protocol
        """Hands out a trial to a worker of this sweep, which calls itself SWEEP/NAME."""
        sweep, _, worker = request.tuner_id.partition("/")
        if sweep != self.identity:
            context.abort(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"this chief's sweep is {self.records.folder.parent}",
            )
        with self._answering():
            self._heard[worker] = self.latest = time.monotonic()
            trial = self._next(worker)
            self.exhausted |= trial.status == TrialStatus.STOPPED
            return protos.get_service().CreateTrialResponse(trial=trial.to_proto())

    def EndTrial(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Takes a trial's end: what it found lies in its folder."""
        with self._answering():
            name = request.trial.trial_id
            self._end(
                name, read_report(self.records.place(name)) or _failed("its worker left no report")
            )
            return protos.get_service().EndTrialResponse()

    def GetTrial(self, request: Any, context: Any) -> Any:  # noqa: N802
        """A worker is still alive: notes that."""
        with self._lock:
            self.latest = time.monotonic()
            for worker, trial in self.oracle.ongoing_trials.items():
                if trial.trial_id == request.trial_id:
                    self._heard[worker] = time.monotonic()
            return super().GetTrial(request, context)

    def lose(self, worker: str, cause: str) -> None:
        """Takes the trial of a worker that is gone back, to be handed out again, unless it was the end of too many."""
        with self._answering():
            trial = self.oracle.ongoing_trials.get(worker)
            if trial is None:
                return
            self._losses[trial.trial_id] += 1
            if self._losses[trial.trial_id] < _LOSSES:
                oracles.hand_back(self.oracle, trial.trial_id)
            else:
                self._end(
                    trial.trial_id, _failed(f"{_LOSSES} workers ended in it, the last one {cause}")
                )

    def lose_silent(self) -> None:
        """Takes back the trials of all workers that were not heard of for too long."""
        now = time.monotonic()
        for worker in list(self.oracle.ongoing_trials):
            if now - self._heard.get(worker, now) > LEASE:
                self.lose(worker, "without a word")

    def settle(self) -> None:
        """Finds out, while nothing runs, whether anything is left: there may be no worker whose asking would tell."""
        with self._answering():
            if self.exhausted or self.oracle.ongoing_trials or self.oracle._retry_queue:
                return
            trial = self.oracle.create_trial("chief")
            self.exhausted = trial.status == TrialStatus.STOPPED
            if trial.status == TrialStatus.RUNNING:
                oracles.hand_back(self.oracle, trial.trial_id)

    @property
    def done(self) -> bool:
        """Whether every trial has ended and none will follow."""
        return self.exhausted and not self.oracle.ongoing_trials and not self.oracle._retry_queue

    def _next(self, worker: str) -> Any:
        if self.reason is not None:
            return Trial(
                hyperparameters=self.oracle.get_space(), trial_id="", status=TrialStatus.STOPPED
            )
        trial = self.oracle.create_trial(worker)
        if trial.status == TrialStatus.STOPPED and self.oracle.ongoing_trials:
            trial.status = TrialStatus.IDLE  # one of those may have to be handed out again
        elif trial.status == TrialStatus.RUNNING and trial.trial_id not in self.records.all():
            self.records.created(oracles.asked(trial, self.plan))
        return trial

    @contextmanager
    def _answering(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except EpochalError as error:
                self.error = error
                raise

    def _end(self, name: str, report: dict[str, Any]) -> None:
        if name not in [trial.trial_id for trial in self.oracle.ongoing_trials.values()]:
            return  # a worker that was thought dead, and another one that took over, both came to the end
        self.records.ended(name, report)
        oracles.end(self.oracle, name, report["score"])
        self._check_failures(name, report)
        self.tell(name)

    def _check_failures(self, name: str, report: dict[str, Any]) -> None:
        last = self.oracle.end_order[-_FAILURES:]
        if len(last) == _FAILURES and all(
            self.oracle.trials[one].status == TrialStatus.FAILED for one in last
        ):
            self.reason = (
                f"{_FAILURES} trials in a row failed, the last one with: {report['message']}"
            )
            self.exhausted = True


def _failed(message: str) -> dict[str, Any]:
    return {"status": "failed", "score": None, "scores": [], "message": message}


def check_free(address: str) -> None:
    """Raises UsageError, before anything is written, when nothing can listen at HOST:PORT."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_server((host.strip("[]"), int(port)), family=_family(host)):
            pass
    except OSError:
        raise UsageError(_TAKEN.format(address)) from None


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def serve(chief: Chief, address: str) -> tuple[Any, str]:
    """Begins to answer at HOST:PORT (port 0: any); returns the server, and where it is to be found.

    Raises:
        UsageError: when the port is taken, or the host is not this one.
    """
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=4), options=[("grpc.so_reuseport", 0)]
    )
    protos.get_service_grpc().add_OracleServicer_to_server(chief, server)
    host, _, _ = address.rpartition(":")
    port = 0
    with suppress(RuntimeError):
        port = server.add_insecure_port(address)
    if not port:
        raise UsageError(_TAKEN.format(address))
    server.start()
    return server, f"{host}:{port}"
