"""A worker: asks the chief for trials and trains them one after the other in one warm process."""

import gc
import os
import time

import keras
from tensorflow.python.framework.ops import gradient_registry

from epochal.app.store.sweep import Sweep
from epochal.app.tuning.service import CONNECT, Client
from epochal.app.tuning.trial import run_trial

_IDLE = 0.5  # seconds before asking again, where a trial has to wait for others


def work(sweep: Sweep, address: str, connect: float = CONNECT) -> None:
    """Train trials until the chief has no more.

    Args:
        sweep: every worker and the chief see the same files of it.
        address: HOST:PORT of the chief.
        connect: seconds within which the chief has to answer first.

    Raises:
        UsageError: no chief answers there, or one of another sweep does.
        TrainingFailed: the chief is gone.
        KeyboardInterrupt: when this process was asked to stop.
    """
    name = os.environ.get("KERASTUNER_TUNER_ID") or f"{os.uname().nodename}-{os.getpid()}"
    client = Client(
        address,
        sweep,
        name,
        connect,
    )
    # Every trial collects garbage, of which TensorFlow's modules are none: half a second saved in
    # each.
    gc.freeze()
    while True:
        proposal, is_done = client.next_trial()
        if is_done:
            return
        if proposal is None:
            time.sleep(_IDLE)
            continue
        with client.keep_alive(proposal.trial):
            run_trial(sweep, proposal)
        client.end_trial(proposal.trial)
        forget()


def forget() -> None:
    """Let go of what Keras and TensorFlow keep of networks that nothing uses any more."""
    keras.backend.clear_session()
    # TensorFlow never drops the gradient of a traced tf.custom_gradient, which holds the graph
    # around it.
    for name in list(gradient_registry.list()):
        if name.startswith("CustomGradient-"):
            del gradient_registry._registry[name]
    gc.collect()
