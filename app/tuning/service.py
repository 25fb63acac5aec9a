"""The wire between a chief and its workers: three requests over gRPC, in JSON, without encryption
or password.
"""

import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager, suppress
from typing import Any

import grpc

from epochal.app.errors import TrainingFailed, UsageError
from epochal.app.store.sweep import Sweep
from epochal.app.store.trials import Proposal
from epochal.app.tuning.chief import Chief

CONNECT = 120.0  # seconds within which a chief has to answer first
_ANSWER = 60.0  # seconds without the chief after which a worker saves and ends
_BEAT = 5.0  # seconds between signs of life
_SERVICE = "epochal.Sweep"
_THREADS = 4


def check_free(address: str) -> None:
    """Raise UsageError, before anything is written, when nothing can listen at HOST:PORT."""
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host.strip("[]"), int(port)), family=family):
            pass
    except OSError:
        raise _taken(address) from None


def _taken(address: str) -> UsageError:
    return UsageError(
        f"--chief {address}: cannot listen there; is the port free and the host this machine's?"
    )


def serve(chief: Chief, address: str) -> tuple[grpc.Server, str]:
    """Begin to answer at HOST:PORT (port 0: any free one).

    Returns:
        The server, and the address at which workers find it.

    Raises:
        UsageError: when the port is taken, or the host is not this machine.
    """

    def propose(request: Any, context: Any) -> Any:
        if request["sweep"] != chief.sweep.identity:
            context.abort(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"this chief's sweep is {chief.sweep.folder}",
            )
        proposal = chief.next_trial(request["worker"])
        return {
            "proposal": None if proposal is None else proposal.to_dict(),
            "is_done": proposal is None and chief.is_done,
        }

    def end(request: Any, context: Any) -> Any:
        chief.end_trial(request["trial"])
        return {}

    def note_life(request: Any, context: Any) -> Any:
        chief.note_life(request["trial"])
        return {}

    methods = {}
    for name, method in (("Propose", propose), ("End", end), ("NoteLife", note_life)):
        methods[name] = grpc.unary_unary_rpc_method_handler(
            method, request_deserializer=json.loads, response_serializer=_to_bytes
        )
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=_THREADS), options=[("grpc.so_reuseport", 0)]
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, methods),))
    host, _, _ = address.rpartition(":")
    port = 0
    with suppress(RuntimeError):
        port = server.add_insecure_port(address)
    if not port:
        raise _taken(address)
    server.start()
    return server, f"{host}:{port}"


class Client:
    """A worker's end of the wire.

    Args:
        address: HOST:PORT of the chief.
        sweep: that this worker works for.
        worker: its name.
        connect: seconds within which the chief has to answer first.

    Raises:
        UsageError: when it does not.
    """

    def __init__(self, address: str, sweep: Sweep, worker: str, connect: float = CONNECT) -> None:
        self._address = address
        self._sweep = sweep
        self._worker = worker
        self._channel = grpc.insecure_channel(address)
        try:
            grpc.channel_ready_future(self._channel).result(timeout=connect)
        except grpc.FutureTimeoutError:
            raise UsageError(
                f"--worker {address}: no chief answered within {connect:.0f} s; start it first"
            ) from None

    def next_trial(self) -> tuple[Proposal | None, bool]:
        """Ask for a trial; without one, the second value says whether all is done."""
        answer = self._ask("Propose", {"sweep": self._sweep.identity, "worker": self._worker})
        if answer["proposal"] is None:
            return None, answer["is_done"]
        return Proposal.from_dict(answer["proposal"]), False

    def end_trial(self, trial: str) -> None:
        """Tell the chief that a trial's report lies in its folder."""
        self._ask("End", {"trial": trial})

    @contextmanager
    def keep_alive(self, trial: str) -> Iterator[None]:
        """Tell the chief now and then that this worker lives; without a chief, ask this process to
        save and end.
        """
        is_over = threading.Event()

        def beat() -> None:
            while not is_over.wait(_BEAT):
                try:
                    self._ask("NoteLife", {"trial": trial})
                except (TrainingFailed, UsageError):
                    os.kill(os.getpid(), signal.SIGTERM)
                    return

        threading.Thread(target=beat, daemon=True).start()
        try:
            yield
        finally:
            is_over.set()

    def _ask(self, method: str, request: dict[str, Any]) -> Any:
        call: Callable[..., Any] = self._channel.unary_unary(
            f"/{_SERVICE}/{method}",
            request_serializer=_to_bytes,
            response_deserializer=json.loads,
        )
        try:
            return call(request, wait_for_ready=True, timeout=_ANSWER)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.FAILED_PRECONDITION:
                raise UsageError(
                    f"--worker {self._address}: {error.details()}, not {self._sweep.folder}; give "
                    "--sweep"
                ) from None
            raise TrainingFailed(
                f"the chief at {self._address} does not answer any more; what was trained is saved"
            ) from None


def _to_bytes(value: Any) -> bytes:
    return json.dumps(value).encode()
