"""Weights of ImageNet: files, hashes, colours are those of Keras; downloads are whole or absent."""

import hashlib
import socketserver
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler

import keras
import numpy as np
import pytest
from keras.src.applications import efficientnet_v2
from keras.src.utils import file_utils

from epochal import models
from epochal.models.pretrained import PUBLISHED, Published, fetch, published_weights
from tests.models.test_weights import NETWORKS, every_network

CONTENT = b"weights" * 1000
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def test_every_network_with_known_colours_has_a_file():
    assert sorted(PUBLISHED) == sorted(name for name, row in models.ZOO.items() if row.colours)


class Asked(Exception):
    """Raised in place of a download."""


@every_network
def test_files_and_hashes_are_those_that_keras_asks_for(name, monkeypatch):
    make, _, options = NETWORKS[name]

    def ask(name, origin, file_hash=None, **place):
        raise Asked(name, origin, file_hash)

    monkeypatch.setattr(file_utils, "get_file", ask)
    size = models.ZOO[name].input_shape
    with pytest.raises(Asked) as asked:
        make(weights="imagenet", include_top=False, input_shape=size, **options)
    published = PUBLISHED[name]
    assert asked.value.args == (published.name, published.url, published.hash)


def layers_of_efficientnet_v2(name):
    """The layers with which Keras' network standardises its images, without the network."""
    network = efficientnet_v2.EfficientNetV2(
        1.0,
        1.0,
        32,
        blocks_args=efficientnet_v2.DEFAULT_BLOCKS_ARGS["efficientnetv2-b0"][:1],
        include_top=False,
        weights=None,
        input_shape=(32, 32, 3),
        name=name.replace("efficientnet_v2_", "efficientnetv2-"),
    )
    stem = next(layer for layer in network.layers if layer.name == "stem_conv")
    return keras.Model(network.input, stem.input)


@pytest.mark.parametrize("name", NETWORKS)
def test_colours_are_those_of_keras(name):
    _, module, _ = NETWORKS[name]
    preprocess = module.preprocess_input
    if name.startswith("efficientnet_v2"):
        preprocess = layers_of_efficientnet_v2(name)
    colours = models.ZOO[name].colours
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.float32)
    expected = np.asarray(preprocess(images.copy()))
    standardised = (images - np.float32(colours.mean)) / np.float32(colours.deviation)
    reversed_channels = standardised[..., ::-1]
    ours = reversed_channels if colours.blue_first else standardised
    slip = standardised if colours.blue_first else reversed_channels
    np.testing.assert_allclose(ours, expected, atol=1e-4)
    assert np.abs(slip - expected).max() > 0.1
    assert np.abs(ours / 255 - expected).max() > 0.1


def test_a_file_is_downloaded_once(tmp_path):
    """From a file URL, so that no network is needed."""
    source = tmp_path / "weights.h5"
    source.write_bytes(CONTENT)
    cache = tmp_path / "keras" / "models"
    for file_hash in (MD5, SHA256, None):
        published = Published(url=source.as_uri(), hash=file_hash)
        path = fetch(published, cache)
        assert path == cache / "weights.h5"
        assert path.read_bytes() == CONTENT
        path.unlink()
    path = fetch(published, cache)
    source.unlink()
    assert fetch(published, cache).read_bytes() == CONTENT


def test_a_file_comes_over_http(tmp_path):
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "weights.h5").write_bytes(CONTENT)
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path / "served")
    with socketserver.TCPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        path = fetch(Published(url=f"{url}/weights.h5", hash=MD5), tmp_path / "models")
        assert path.read_bytes() == CONTENT
        with pytest.raises(ValueError, match="404"):
            fetch(Published(url=f"{url}/absent.h5"), tmp_path / "models")
        server.shutdown()


def test_without_network_one_line_says_which_file_to_put_where(tmp_path):
    published = Published(url=(tmp_path / "absent.h5").as_uri(), hash=MD5)
    cache = tmp_path / "models"
    with pytest.raises(ValueError, match=rf"{published.url}; put that file into {cache}") as line:
        fetch(published, cache)
    assert "\n" not in str(line.value)
    package = Published(url=published.url, by_pip="some-package==1.0")
    with pytest.raises(ValueError, match=rf"pip download some-package==1\.0 --no-deps -d {cache}"):
        fetch(package, cache)
    assert not list(cache.glob("*.h5"))


def test_a_download_with_another_hash_is_not_kept(tmp_path):
    (tmp_path / "weights.h5").write_bytes(b"other")
    published = Published(url=(tmp_path / "weights.h5").as_uri(), hash=MD5)
    with pytest.raises(ValueError, match="hash"):
        fetch(published, tmp_path / "models")
    assert not (tmp_path / "models" / "weights.h5").exists()


def test_another_file_of_that_name_stays_as_it_is(tmp_path):
    cache = tmp_path / "models"
    cache.mkdir()
    (cache / "weights.h5").write_bytes(b"mine")
    published = Published(url=(tmp_path / "weights.h5").as_uri(), hash=MD5)
    with pytest.raises(ValueError, match="is not the published file"):
        fetch(published, cache)
    assert (cache / "weights.h5").read_bytes() == b"mine"


def test_a_network_without_published_weights_is_named():
    with pytest.raises(ValueError, match="resnet8; there are for vgg16"):
        published_weights("resnet8")
