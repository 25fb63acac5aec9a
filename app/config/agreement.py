"""Agreement of settings that concern one another, over the groups of the configuration."""

from typing import TYPE_CHECKING

from epochal.app.config.checks import check
from epochal.app.units import number_of

if TYPE_CHECKING:
    from epochal.app.config.config import Config


def check_agreement(config: "Config") -> None:
    """Refuse settings that contradict one another.

    Raises:
        UsageError: naming one of them.
    """
    _check_batch(config)
    _check_end(config)
    _check_emphasis(config)
    _check_balance(config)
    _check_record(config)
    _check_course(config)


def _check_batch(config: "Config") -> None:
    """Check that every device and part gets images of a batch."""
    batch = config.global_batch
    expected = f"a multiple of the {config.devices} devices"
    check(
        batch % config.devices == 0,
        "batch_size",
        expected,
        batch,
    )
    share = batch // config.devices
    parts = config.optim.micro_batches
    expected = f"at most the {share} images that a device gets of a batch"
    check(
        parts <= share,
        "optim.micro_batches",
        expected,
        parts,
    )


def _check_end(config: "Config") -> None:
    """Check when training ends."""
    after = config.stopping.after
    if after is not None:
        epochs = number_of(config.epochs, "epoch")
        check(
            after <= config.epochs,
            "stopping.after",
            f"at most the {epochs}",
            after,
        )
        check(
            config.budget is None,
            "stopping.after",
            "null with a budget",
            after,
        )
    patience = config.stopping.patience
    fits = patience is None or config.data.split != "all"
    check(
        fits,
        "stopping.patience",
        "null with data.split all",
        patience,
    )


def _check_emphasis(config: "Config") -> None:
    """Check that what is emphasised can be."""
    emphasis = config.emphasis
    early = emphasis.by is None or emphasis.start < config.epochs
    epochs = number_of(config.epochs, "epoch")
    check(
        early,
        "emphasis.start",
        f"below the {epochs}",
        emphasis.start,
    )
    order = config.data.order
    fits = emphasis.by != "sampler" or order == "shuffled"
    check(
        fits,
        "data.order",
        "shuffled with emphasis.by sampler",
        order,
    )


def _check_balance(config: "Config") -> None:
    """Refuse to make up twice for rare classes."""
    weights = config.objective.class_weights
    fits = weights is None or config.data.order != "balanced"
    check(
        fits,
        "objective.class_weights",
        "null with data.order balanced, by which every class has the same weight",
        weights,
    )


def _check_record(config: "Config") -> None:
    """Refuse a record of images that training does not show as they are."""
    augment = config.augment
    is_mixed = augment.mixup is not None or augment.cutmix is not None
    fits = not is_mixed and augment.noisy_copies == 0
    check(
        fits or not config.data.image_record,
        "data.image_record",
        "false with augment.mixup, cutmix or noisy_copies, which train on other images",
        config.data.image_record,
    )


def _check_course(config: "Config") -> None:
    """Check what is to happen within the epochs, and to the rate."""
    schedule = config.schedule
    below = f"below the {number_of(config.epochs, 'epoch')}"
    if schedule.unit != "steps":
        last = max(schedule.milestones or [0])
        check(
            last < config.epochs,
            "schedule.milestones",
            below,
            last,
        )
        for name in ("every", "warm_up"):
            value = getattr(schedule, name)
            check(
                value is None or value < config.epochs,
                f"schedule.{name}",
                below,
                value,
            )
    least = schedule.least
    peak = config.peak_rate
    fits = least is None or least < peak
    check(
        fits,
        "schedule.least",
        f"below the learning rate {peak:g}",
        least,
    )
    thaws = config.optim.unfreeze_every
    fits = thaws is None or thaws < config.epochs or config.budget is not None
    check(fits, "optim.unfreeze_every", below, thaws)
