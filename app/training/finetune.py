"""Fine-tuning as a story: settings that suit the data, the head first, then the whole network."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from epochal import models
from epochal.app.config import Config, replace_settings
from epochal.app.config.policies import expand_policy
from epochal.app.data.dataset import Dataset
from epochal.app.evaluation.trained_model import check_model
from epochal.app.store.run import Run
from epochal.app.training.run.setup import find_weights, usual_batch
from epochal.app.training.train import Session, train
from epochal.models.complexity import skeleton

# At the logits, for a batch of 64; what was trained before moves at a fifth of it.
_RATE = 0.02
_OTHERS = {"^(?!logits/)": 0.2}
_LONGEST_GRADIENT = 1.0
_NORMS = "/(gamma|beta)$"
# Steps that suffice to move trained weights to new images: of few images many epochs.
_STEPS = 1000
_LEAST_EPOCHS = 8
_MOST_EPOCHS = 30
_HEAD_EPOCHS = 30
_PATIENCE = 6
_WARM_UP = 0.1  # of the epochs


def finetune(config: Config, given: Iterable[str], session: Session | None = None) -> Run:
    """Train a network of ImageNet on other images, in a new run folder.

    Args:
        config: with the network, the weights and the data.
        given: the dotted keys of what the user chose; the others follow from the network and from
            the number of images.
        session: of the process.

    Raises:
        UsageError, TrainingFailed, KeyboardInterrupt: as `train` does.
    """
    session = session or Session()
    # Refused before any data is read.
    check_model(config)
    find_weights(config)
    if config.image_size is None:
        config = replace(config, image_size=models.ZOO[config.model].input_shape[0])
    dataset = session.load(config)
    config = suit(config, given, len(dataset.train))

    def read_already(config: Config) -> Dataset:
        return dataset

    return train(config, replace(session, load=read_already))


def suit(config: Config, given: Iterable[str], num_images: int) -> Config:
    """Return the configuration with what was not given chosen for so many training images."""
    chosen: dict[str, Any] = {
        "optim.head_epochs": _HEAD_EPOCHS,
        "optim.rates": _OTHERS,
        **_clipping(config),
        "schedule.shape": "cosine",
        "schedule.batch": 64,
    }
    if "augment.policy" not in given:
        # Whether images may be mirrored is for the data to say.
        chosen |= expand_policy({"augment.policy": "photos"}) | {"augment.flip": None}
    if config.optimizer == "sgd":
        chosen["learning_rate"] = _RATE
    if config.data.split != "all":
        chosen["stopping.patience"] = _PATIENCE
    if "optim.frozen" not in given and _has_norms(config):
        chosen["optim.frozen"] = _NORMS
    config = replace_settings(config, _without(chosen, given))
    batch = usual_batch(num_images, config)
    epochs = round(_STEPS * batch / num_images)
    later: dict[str, Any] = {"epochs": min(_MOST_EPOCHS, max(_LEAST_EPOCHS, epochs))}
    config = replace_settings(config, _without(later, given))
    schedule = config.schedule
    if schedule.shape != "one_cycle" and schedule.unit != "steps":
        warm_up = {"schedule.warm_up": _WARM_UP * config.epochs}
        config = replace_settings(config, _without(warm_up, given))
    return config


def _without(chosen: Mapping[str, Any], given: Iterable[str]) -> dict[str, Any]:
    return {key: value for key, value in chosen.items() if key not in given}


def _clipping(config: Config) -> dict[str, float]:
    return {} if config.optim.clipping else {"optim.clip_norm": _LONGEST_GRADIENT}


def _has_norms(config: Config) -> bool:
    network = skeleton(config.model, options=config.model_options)
    return any(weight.path.endswith("/gamma") for weight in network.weights)
