"""A worker: asks the chief for trials, trains them one after the other in one warm process, tells their ends."""

import gc
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import keras
from keras_tuner.engine.trial import TrialStatus
from keras_tuner.src.distribute import oracle_client
from tensorflow.python.framework.ops import gradient_registry

from epochal.app.errors import TrainingFailed, UsageError
from epochal.app.store.run import Run
from epochal.app.store.sweep import identity, read
from epochal.app.tuning.oracles import asked
from epochal.app.tuning.trial import run_trial

START = 120.0  # seconds within which a chief has to answer
_BEAT = 5.0  # seconds between signs of life
_IDLE = 0.5  # seconds before asking again, where a trial has to wait for others
_PATIENCE = 60.0  # seconds without the chief after which a worker saves and ends


def work(run: Run, address: str) -> None:
    """Trains trials until the chief has no more.

    Args:
        run: the sweep's folder; every worker and the chief see the same files there.
        address: HOST:PORT of the chief.

    Raises:
        UsageError: no chief answers there, or one of another sweep does.
        TrainingFailed: the chief is gone.
        KeyboardInterrupt: when this process was asked to stop.
    """
    plan, base = read(run)
    client = _connected(address)
    name = f"{identity(run)}/{_name()}"
    gc.freeze()  # every trial collects garbage, of which TensorFlow's modules are none: half a second saved in each
    try:
        while (trial := client.create_trial(name)).status != TrialStatus.STOPPED:
            if trial.status != TrialStatus.RUNNING:
                time.sleep(_IDLE)
                continue
            with _alive(client, trial.trial_id):
                run_trial(run.folder, plan, base, asked(trial, plan))
            client.end_trial(trial)
            forget()
    except grpc.RpcError as error:
        if error.code() == grpc.StatusCode.FAILED_PRECONDITION:
            raise UsageError(
                f"--worker {address}: {error.details()}, not {run.folder}; give --sweep"
            ) from None
        raise TrainingFailed(
            f"the chief at {address} does not answer any more; what was trained is saved"
        ) from None


def forget() -> None:
    """Lets go of what Keras and TensorFlow keep of networks that nothing uses any more."""
    keras.backend.clear_session()
    # TensorFlow never drops the gradient of a traced tf.custom_gradient, which holds the graph around it.
    for name in [name for name in gradient_registry.list() if name.startswith("CustomGradient-")]:
        del gradient_registry._registry[name]
    gc.collect()


def _connected(address: str) -> Any:
    host, _, port = address.rpartition(":")
    try:
        grpc.channel_ready_future(grpc.insecure_channel(address)).result(timeout=START)
    except grpc.FutureTimeoutError:
        raise UsageError(
            f"--worker {address}: no chief answered within {START:.0f} s; start it first"
        ) from None
    os.environ |= {
        "KERASTUNER_ORACLE_IP": host,
        "KERASTUNER_ORACLE_PORT": port,
        "KERASTUNER_TUNER_ID": _name(),
    }
    oracle_client.TIMEOUT = (
        _PATIENCE  # of an hour, in which a chief that is gone would not be noticed
    )
    return oracle_client.OracleClient(None)


def _name() -> str:
    return os.environ.get("KERASTUNER_TUNER_ID") or f"{os.uname().nodename}-{os.getpid()}"


@contextmanager
def _alive(client: Any, trial: str) -> Iterator[None]:
    """Tells the chief now and then that this worker lives; without a chief, asks this process to save and end."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(_BEAT):
            try:
                client.get_trial(trial)
            except grpc.RpcError:
                os.kill(os.getpid(), signal.SIGTERM)
                return

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
