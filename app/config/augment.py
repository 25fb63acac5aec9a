"""Augmentation settings: random changes of training images."""

from dataclasses import dataclass
from typing import Literal

from epochal.app.config.checks import check, check_at_least, check_between
from epochal.app.config.settings import setting

Policy = Literal["cifar", "mnist-elastic", "photos", "photos-strong", "none"]


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Random changes of training images, each a pure function of (seed, epoch, position)."""

    policy: Policy | None = setting(
        None,
        "a set of the values below by name, each of which a flag of its own overrides: cifar, "
        "mnist-elastic, photos, photos-strong or none (null: the defaults below)",
        alias="--augment",
    )
    pad_crop: int | None = setting(
        None,
        "pad by this many pixels and crop back at a random place "
        "(null: an eighth of the side, up to 64 pixels, unless resized_crop does it)",
    )
    border: Literal["reflect", "black"] = setting(
        "reflect",
        "what those pixels show, and those that a rotation or another warp uncovers: reflect (the "
        "image mirrored) or black",
        before="black",
    )
    flip: Literal["random", "alternating"] | bool | None = setting(
        None,
        "mirror images left to right: random (or true; half of them), alternating (half of them in "
        "the first epoch, then each in every other epoch) or false (null: random, unless a simple "
        "rule can tell images from their mirror images, as it can characters)",
    )
    flip_vertical: bool = setting(
        False,
        "mirror half of the images top to bottom: for images without an up, as from microscopes",
    )
    scale_crop: bool | None = setting(
        None,
        "store images 8/7 larger, crop at random (256 to 224 style), centrally elsewhere "
        "(null: above 64 px)",
    )
    resized_crop: float | None = setting(
        None,
        "crop a rectangle of at least this share of the image and scale it back, 0.08 for ImageNet "
        "(null: crop squares without scaling)",
    )
    crop_ratio: float = setting(4 / 3, "resized_crop's longer side by its shorter one, at most")
    rotate: float = setting(0.0, "rotate by up to so many degrees either way")
    translate: float = setting(0.0, "shift by up to this share of the side along either axis")
    shear: float = setting(0.0, "lean by up to so many degrees either way")
    zoom: float = setting(0.0, "scale by up to 1 + zoom, as often down as up")
    elastic: float = setting(
        0.0, "elastic deformation: Simard's alpha in pixels, 34 for the 28 pixels of MNIST"
    )
    elastic_sigma: float = setting(
        4.0, "deviation in pixels of the Gaussian that smooths elastic's displacements"
    )
    brightness: float = setting(0.0, "multiply levels by 1 - brightness to 1 + brightness")
    contrast: float = setting(
        0.0, "multiply differences from the image's mean grey by 1 - contrast to 1 + contrast"
    )
    saturation: float = setting(
        0.0, "multiply differences from each pixel's grey by 1 - saturation to 1 + saturation"
    )
    hue: float = setting(0.0, "turn hues by up to this share of the circle either way")
    grey: float = setting(0.0, "share of the images that lose their colours")
    pca_colour: float = setting(
        0.0,
        "shift colours along the principal components of the training images' colours: deviation "
        "of the factor of each eigenvalue, 0.1 for AlexNet",
    )
    blur: float = setting(
        0.0, "blur by a Gaussian of deviation 0 to this many pixels, uniformly distributed"
    )
    noise: float = setting(
        0.0, "add Gaussian noise of this deviation, in units of the channel's own deviation"
    )
    noisy_copies: int = setting(
        0,
        "enlarge an epoch by so many copies of each image, to which alone noise is added then",
    )
    erase: float = setting(
        0.0,
        "share of the images of which a rectangle of 2 to 40 % of the area is replaced by the mean",
    )
    cutout: float = setting(
        0.0,
        "replace a square of this share of the side by the mean, around a random pixel; 0.5 for "
        "CIFAR-10",
    )

    rand_augment: int | None = setting(
        None,
        "change every image by so many random ones of RandAugment's 14 operations, 2 is usual "
        "(null: none)",
    )
    magnitude: float = setting(
        9.0, "of rand_augment's operations, from 0 to 30; more for larger networks"
    )
    trivial_augment: bool = setting(
        False,
        "change every image by one random operation at a random magnitude (TrivialAugment, wide)",
    )
    mixup: float | None = setting(
        None,
        "mix every image with another of its batch, labels likewise, by a share of Beta(alpha, "
        "alpha) for this alpha: 0.2 mixes little, 1 any share alike (null: not; with cutmix each "
        "image draws which)",
    )
    cutmix: float | None = setting(
        None,
        "paste a box of another image of the batch into every image, labels by area, which is of "
        "Beta(alpha, alpha) for this alpha; 1 is usual (null: not)",
    )

    def __post_init__(self) -> None:
        check_between("augment.pad_crop", self.pad_crop, 0, 1024, " pixels")
        share = self.resized_crop
        check(share is None or 0 < share <= 1, "augment.resized_crop", "above 0, up to 1", share)
        check_between("augment.crop_ratio", self.crop_ratio, 1, 10)
        check_between("augment.rotate", self.rotate, 0, 180, " degrees")
        check_between("augment.shear", self.shear, 0, 60, " degrees")
        check_between("augment.zoom", self.zoom, 0, 9)
        check_at_least("augment.elastic", self.elastic, 0, " pixels")
        check_between("augment.elastic_sigma", self.elastic_sigma, 0.5, 100, " pixels")
        check_between("augment.hue", self.hue, 0, 0.5)
        for name in ("pca_colour", "blur", "noise"):
            check_at_least(f"augment.{name}", getattr(self, name), 0)
        for name in (
            "translate",
            "brightness",
            "contrast",
            "saturation",
            "grey",
            "erase",
            "cutout",
        ):
            check_between(f"augment.{name}", getattr(self, name), 0, 1)
        check_between("augment.noisy_copies", self.noisy_copies, 0, 100)
        is_noisy = self.noise > 0 or self.noisy_copies == 0
        check(is_noisy, "augment.noise", "above 0 with noisy_copies", self.noise)
        crops = self.resized_crop is None or not self.pad_crop
        check(crops, "augment.pad_crop", "0 or null with resized_crop", self.pad_crop)
        check_between("augment.rand_augment", self.rand_augment, 1, 10, " operations")
        check_between("augment.magnitude", self.magnitude, 0, 30)
        single = self.rand_augment is None or not self.trivial_augment
        check(
            single,
            "augment.rand_augment",
            "null with trivial_augment, or it false",
            self.rand_augment,
        )
        check_between("augment.mixup", self.mixup, 0.01, 100)
        check_between("augment.cutmix", self.cutmix, 0.01, 100)
