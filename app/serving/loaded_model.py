"""Loaded models: a version in memory, the inputs and outputs of its signatures, calls of them."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.json_format import MessageToDict
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from epochal.app.errors import StorageError, UsageError
from epochal.app.serving.wire import Field
from epochal.app.store import files
from epochal.app.store.export import Export

_MOST_WARM_UP_REQUESTS = 1000  # as TensorFlow Serving
# Operations that reach for files, Python, the process's output, the network: a second fence, with
# gaps.
_FORBIDDEN_OPERATIONS = {
    "CreateSummaryFileWriter",
    "DataServiceDatasetV4",
    "DebugIdentityV2",
    "EagerPyFunc",
    "FixedLengthRecordDatasetV2",
    "FixedLengthRecordReaderV2",
    "LoadAndRemapMatrix",
    "LoadDataset",
    "MatchingFiles",
    "Print",
    "PrintV2",
    "PyFunc",
    "PyFuncStateless",
    "ReadFile",
    "RpcCall",
    "SaveDatasetV2",
    "SnapshotDatasetV2",
    "TFRecordDataset",
    "TFRecordReaderV2",
    "TextLineDataset",
    "TextLineReaderV2",
    "WholeFileReaderV2",
    "WriteFile",
}


@dataclass(frozen=True)
class Signature:
    """A signature's inputs and outputs by name, and its function."""

    inputs: dict[str, Field]
    outputs: dict[str, Field]
    function: Any

    def __call__(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the outputs for `[n, ...]` inputs by name."""
        tensors = {}
        for name, field in self.inputs.items():
            dtype = _tensor_dtype(field)
            tensors[name] = tf.constant(arrays[name], dtype)
        outputs = self.function(**tensors)
        return {name: output.numpy() for name, output in outputs.items()}


@dataclass(frozen=True)
class LoadedModel:
    """A version that can answer.

    Attributes:
        version: its number.
        signatures: by name.
        definitions: the signatures as the file has them, for the metadata API.
        labels: names of the classes, none where the export has none.
        card: the model's card, empty where the export has none.
        saved_model: the object whose variables the functions need.
    """

    version: int
    signatures: dict[str, Signature]
    definitions: dict[str, Any]
    labels: tuple[str, ...]
    card: dict[str, Any]
    saved_model: Any


def load_model(folder: Path, *, trust: bool) -> LoadedModel:
    """Load a version's folder and let it answer its warm-up requests.

    Raises:
        StorageError: it is damaged, or does not answer.
        UsageError: this program did not make it, and it is not trusted.
    """
    if not trust:
        check_provenance(folder)
    try:
        export = Export(folder)
        saved_model = tf.saved_model.load(str(folder))
        signatures = {}
        for name, function in saved_model.signatures.items():
            inputs = _to_fields(function.structured_input_signature[1])
            outputs = _to_fields(function.structured_outputs)
            signatures[name] = Signature(inputs, outputs, function)
        model = LoadedModel(
            version=int(folder.name),
            signatures=signatures,
            definitions=_read_definitions(folder),
            labels=export.labels(),
            card=export.card_values(),
            saved_model=saved_model,
        )
        _warm_up(model, export.warm_up_requests)
    except Exception as error:  # loading a damaged or foreign file may raise anything
        reason = " ".join(str(error).split())[:200]
        raise StorageError(f"{folder}: cannot be served: {reason}") from error
    return model


def check_provenance(folder: Path) -> None:
    """Refuse a SavedModel, which is a program, unless this program made it.

    Raises:
        UsageError: there is no manifest, no card of ours, or an operation that reaches outside of
            the model.
        StorageError: a file is not what the manifest says.
    """
    advice = "give --trust to run it"
    if not Export(folder).is_published:
        reason = "not exported by epochal; a SavedModel is a program"
        raise UsageError(f"{folder}: {reason}: {advice}")
    files.verify(folder)
    forbidden = _operations(_read_graph(folder)) & _FORBIDDEN_OPERATIONS
    if forbidden:
        names = ", ".join(sorted(forbidden))
        raise UsageError(f"{folder}: has {names}, which no export of epochal has: {advice}")


def _operations(graph: Any) -> set[str]:
    """Return the names of a graph's operations, those in its functions included."""
    operations = {node.op for node in graph.graph_def.node}
    for function in graph.graph_def.library.function:
        operations.update(node.op for node in function.node_def)
    return operations


def _read_graph(folder: Path) -> Any:
    """Return the graph for serving, as the file has it."""
    saved_model = SavedModel.FromString(Export(folder).model_file.read_bytes())
    return next(graph for graph in saved_model.meta_graphs if "serve" in graph.meta_info_def.tags)


def _tensor_dtype(field: Field) -> Any:
    if field.dtype == "object":
        return tf.string
    return tf.as_dtype(field.dtype)


def _to_fields(specs: Mapping[str, Any]) -> dict[str, Field]:
    fields = {}
    for name, spec in specs.items():
        dtype = spec.dtype.name
        if spec.dtype == tf.string:
            dtype = "object"
        fields[name] = Field(dtype, tuple(spec.shape.as_list()))
    return fields


def _read_definitions(folder: Path) -> dict[str, Any]:
    definitions = {}
    for name, definition in _read_graph(folder).signature_def.items():
        definitions[name] = MessageToDict(
            definition,
            preserving_proto_field_name=True,
            always_print_fields_with_no_presence=True,
        )
    return definitions


def _warm_up(model: LoadedModel, file: Path) -> None:
    """Let a version answer recorded requests: a first call takes a hundred times as long."""
    if not file.exists():
        return
    with ThreadPoolExecutor() as pool:
        calls = []
        for name, arrays in _read_requests(file):
            calls.append(pool.submit(model.signatures[name], arrays))
        for call in calls:
            call.result()


def _read_requests(file: Path) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Yield the signature and inputs of every request in a warm-up file."""
    from tensorflow_serving.apis import prediction_log_pb2

    records = tf.data.TFRecordDataset(str(file)).take(_MOST_WARM_UP_REQUESTS)
    for record in records.as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        arrays = {}
        if log.WhichOneof("log_type") == "predict_log":
            request = log.predict_log.request
            for name, tensor in request.inputs.items():
                arrays[name] = tf.make_ndarray(tensor)
        else:
            request = log.classify_log.request
            examples = request.input.example_list.examples
            serialized = [example.SerializeToString() for example in examples]
            arrays["inputs"] = np.array(serialized, dtype=object)
        yield request.model_spec.signature_name, arrays
