"""The first lines of a run: what is to be trained, and what its user should know of the data."""

import numpy as np

from epochal.app.config import Config
from epochal.app.data.availability import is_flippable
from epochal.app.data.dataset import Dataset
from epochal.app.training.run.setup import Setup
from epochal.app.training.run.warm_start import Origin
from epochal.app.training.step.learning_rate import arithmetic
from epochal.app.training.step.objective import weighted_share
from epochal.app.units import number_of

_FEW = 50  # training images a class, below which the user is warned
_RARE = 20  # times as many images of another class


def first_lines(setup: Setup, origin: Origin | None) -> str:
    """Describe in a line what is to be trained, and in more the data and where it starts from."""
    config = setup.config
    dataset = setup.dataset
    validation = f"{len(dataset.validation):,} validation"
    num_shared = _num_trained_validation_images(dataset)
    if num_shared:
        validation += f" ({num_shared:,} trained on as well, so that its figures flatter)"
    line = (
        f"{dataset.name}: {len(dataset.train):,} train, {validation}, "
        f"{len(dataset.test):,} test images, {len(dataset.preprocessing.classes)} classes; "
        f"{config.model}: {setup.model.count_params():,} weights; "
        f"{config.extent}, an epoch has {number_of(setup.batches.steps, 'step')}; "
        f"batches of {config.global_batch}, learning rate {arithmetic(config)}"
    )
    lines = [line]
    images_a_class = len(dataset.train) / len(dataset.preprocessing.classes)
    if images_a_class < _FEW and config.init_from is None and config.weights is None:
        lines.append(
            f"warning: {images_a_class:.3g} training images a class are few for a network that "
            "starts from chance: take more, or start from one that was trained on images of the "
            "kind (--init-from, --weights)"
        )
    weights = setup.model.objective.class_weights
    if weights is not None:
        lines.append(_weighing(setup, weights))
    if dataset.handedness is not None:
        lines.append(_mirroring(setup))
    lines += _warnings_of_mirroring(setup)
    lines += _lines_on_rare_classes(config, dataset)
    if origin is not None:
        lines += origin.lines(config, setup.batches.steps)
    return "\n".join(lines)


def _weighing(setup: Setup, weights: np.ndarray) -> str:
    """Tell what class weights do to a batch, of which the usual learning rate is made."""
    images = setup.config.global_batch * weighted_share(weights, setup.dataset.train.labels)
    return (
        f"classes weigh {weights.min():.3g} to {weights.max():.3g}: a batch of "
        f"{setup.config.global_batch} images is as noisy as one of {images:.3g} would be without"
    )


def _mirroring(setup: Setup) -> str:
    """Tell whether training mirrors images, and how to have it otherwise."""
    if setup.batches.augmentation.flip:
        choice = "images are mirrored left to right at random (--augment.flip false leaves it out)"
    else:
        choice = "images are not mirrored (--augment.flip true does it)"
    return (
        f"{choice}: a simple rule tells {setup.dataset.handedness:.0%} of them from their mirror "
        "images, and guessing 50%"
    )


def _warnings_of_mirroring(setup: Setup) -> list[str]:
    """Warn of mirrored images that no test image looks like."""
    augmentation = setup.batches.augmentation
    name = setup.dataset.name
    lines = []
    if augmentation.flip and not is_flippable(name):
        lines.append(
            f"warning: mirrored {name} are other characters or none; --augment.flip false leaves "
            "them as they are"
        )
    if augmentation.flip_vertical:
        lines.append(
            "warning: half of the images are trained on upside down, as photographs and characters "
            "never come; --augment.flip-vertical false leaves them as they are"
        )
    return lines


def _lines_on_rare_classes(config: Config, dataset: Dataset) -> list[str]:
    """Say that a class is much rarer than another, unless weights of classes are configured."""
    if config.objective.class_weights is not None or config.emphasis.by is not None:
        return []
    classes = dataset.preprocessing.classes
    counts = np.bincount(dataset.train.labels, minlength=len(classes))
    rarest = int(counts.argmin())
    commonest = int(counts.argmax())
    if counts[commonest] < _RARE * max(1, counts[rarest]):
        return []
    return [
        f"class {classes[rarest]!r} has {number_of(int(counts[rarest]), 'training image')}, "
        f"{classes[commonest]!r} {counts[commonest]:,}: with --objective.class-weights balanced "
        "all classes count alike"
    ]


def _num_trained_validation_images(dataset: Dataset) -> int:
    if dataset.train.images is not dataset.validation.images:
        return 0
    return len(np.intersect1d(dataset.train.indices, dataset.validation.indices))
