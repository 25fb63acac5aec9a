"""Writers of shards for tests: by `tarfile` and by TensorFlow, not by the code under test."""

import io
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def write_tar(
    file: Path, members: Mapping[str, bytes], *, format: int = tarfile.PAX_FORMAT
) -> Path:
    """A tar file of these members, in order."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w", format=format) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file


def example(features: Mapping[str, Any]) -> bytes:
    """A serialised `tf.train.Example`; each value is bytes, text, a number or a list of them."""
    import tensorflow as tf

    message = tf.train.Example()
    for name, value in features.items():
        values = value if isinstance(value, list) else [value]
        values = [item.encode() if isinstance(item, str) else item for item in values]
        feature = message.features.feature[name]
        if all(isinstance(item, bytes) for item in values):
            feature.bytes_list.value.extend(values)
        elif all(isinstance(item, int) for item in values):
            feature.int64_list.value.extend(values)
        else:
            feature.float_list.value.extend(values)
    return message.SerializeToString()


def write_records(file: Path, records: Iterable[bytes]) -> Path:
    """A TFRecord file of these records."""
    import tensorflow as tf

    file.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        for record in records:
            writer.write(record)
    return file


def slim(image: bytes, label: int, text: str = "") -> bytes:
    """A record as TF-Slim writes them."""
    features: dict[str, Any] = {"image/encoded": image, "image/class/label": label}
    if text:
        features["image/class/text"] = text
    return example(features)
