"""Data settings: how images are read, split and ordered."""

from dataclasses import dataclass
from typing import Literal

from epochal.app.config.checks import check, check_at_least, check_between, check_inside
from epochal.app.config.settings import setting
from epochal.app.config.splits import Fold

SAME_IMAGES = "trials would not be scored on the same images; give it to the command"


@dataclass(frozen=True, kw_only=True)
class Data:
    """How data is read."""

    cache_gib: float = setting(
        1.0,
        "splits whose images take at most this much memory (GiB) are kept there as uint8, "
        "larger ones stream",
    )
    validation: float | None = setting(
        None,
        "share of the training images that is held out where the data set has no validation split "
        "(null: 0.1, of a single split 0.2)",
        unsearchable=SAME_IMAGES,
    )
    split: str | None = setting(
        None,
        "what validates instead: kfold:5/2 (the second of five folds), repeated:3x5/7 (the seventh "
        "of 3 times 5), bootstrap:5/2 (what the second of five resamples left out) or all (every "
        "image is trained on, also those that validate, and the last epoch's weights are kept) "
        "(null: see validation)",
        unsearchable="the sweep sets it; give --splits to the command",
    )
    part: float | None = setting(
        None,
        "share of what is left for training that is trained on, the same of every class "
        "(null: all)",
    )
    skip_bad: bool = setting(
        False,
        "train without unreadable images (they are recorded in the run) instead of stopping",
        unsearchable=SAME_IMAGES,
    )
    nested: Literal["joined", "classes", "refused"] = setting(
        "joined",
        "folders inside class folders are joined to the class (a line says so), classes of their "
        "own (called by their path, as dog/young) or refused",
        unsearchable=SAME_IMAGES,
    )
    classes: str | None = setting(
        None,
        "of a table of paths, tar shards and TFRecord files: a text file with one class a line, in "
        "the order of the labels, outside of which a label is refused (null: of shards "
        "classes.txt beside them, else the labels that there are, sorted)",
        unsearchable=SAME_IMAGES,
        private=True,
    )
    features: str | None = setting(
        None,
        "of TFRecord files: the features that hold the encoded image and its class, as image,label "
        "(null: image/encoded,image/class/label, and the names in image/class/text where every "
        "image has one)",
        unsearchable=SAME_IMAGES,
    )
    near_duplicates: Literal["keep", "keep-together"] = setting(
        "keep",
        "images that are the same but for recoding, a slight crop or brightness: keep (where they "
        "are) or keep-together (those that would lie in several splits are trained on; splits that "
        "the source gives stay)",
        unsearchable=SAME_IMAGES,
    )
    image_record: bool = setting(
        False,
        "record loss, margin and forgetting of every training image while training, by which "
        "epochal data check --run tells the likely wrong labels",
    )
    order: Literal["shuffled", "once", "replacement", "interleaved", "balanced"] = setting(
        "shuffled",
        "of the training images: shuffled (anew every epoch), once (shuffled, then every epoch "
        "alike), replacement (each drawn from all), interleaved (shuffled, neighbours of "
        "different classes as far as possible) or balanced (as many images as before, every class "
        "equally often)",
    )
    batches: Literal["equal", "full"] = setting(
        "equal",
        "of an epoch: equal (their sizes differ by at most one image, and every image weighs the "
        "same) or full (all but the last, which has what is left)",
        before="full",
    )

    normalization: Literal["channel", "pixel", "minmax", "pca", "whiten", "zca"] = setting(
        "channel",
        "of images, by what the training images alone say: channel (zero mean, unit deviation a "
        "channel), pixel (a pixel and channel), minmax (each channel from 0 to 1), pca "
        "(uncorrelated components), whiten (these with unit variance; both for softmax and "
        "perceptrons alone) or zca (unit variance, uncorrelated, and still an image)",
        inherited=True,
    )
    components: int | None = setting(
        None,
        "of the largest variance that pca, whiten and zca keep (null: all)",
        inherited=True,
    )
    epsilon: float = setting(
        0.01,
        "added to the variances that pixel, whiten and zca divide by, as a share of the mean one: "
        "more of it leaves faint components fainter",
        inherited=True,
    )

    def __post_init__(self) -> None:
        check_at_least("data.components", self.components, 1)
        check(
            self.components is None or self.normalization in ("pca", "whiten", "zca"),
            "data.components",
            "null unless data.normalization is pca, whiten or zca",
            self.components,
        )
        check_between("data.epsilon", self.epsilon, 0, 1)
        check_at_least("data.cache_gib", self.cache_gib, 0)
        share = self.validation
        fits = share is None or 0 < share <= 0.5
        check(
            fits,
            "data.validation",
            "above 0 and at most 0.5",
            share,
        )
        if self.fold is not None:
            check(
                share is None,
                "data.validation",
                f"null with data.split {self.split}",
                share,
            )
        check_inside("data.part", self.part, 0, 1)
        if self.features is not None:
            names = self.features.split(",")
            check(
                len(names) == 2 and all(names),
                "data.features",
                "two names with a comma between them, IMAGE,LABEL",
                self.features,
            )

    @property
    def fold(self) -> Fold | None:
        """The fold that validates; None where it is none."""
        if self.split is None or self.split == "all":
            return None
        return Fold.of(self.split)
