"""One version of a model in memory: what its signatures take and give, and the calls themselves."""

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
from epochal.app.store import files as storage
from epochal.app.store.export import Export

_MOST_RECORDS = 1000  # as TensorFlow Serving
_DTYPES = {tf.string: "object"}
_REACHING = {  # files, Python, the process's output, the network; a second fence, with gaps
    *(
        "ReadFile",
        "WriteFile",
        "MatchingFiles",
        "TextLineDataset",
        "TFRecordDataset",
        "FixedLengthRecordDatasetV2",
    ),
    *(
        "TextLineReaderV2",
        "TFRecordReaderV2",
        "WholeFileReaderV2",
        "FixedLengthRecordReaderV2",
        "SnapshotDatasetV2",
    ),
    *(
        "PyFunc",
        "PyFuncStateless",
        "EagerPyFunc",
        "PrintV2",
        "Print",
        "CreateSummaryFileWriter",
        "RpcCall",
    ),
    *(
        "SaveDatasetV2",
        "LoadDataset",
        "DebugIdentityV2",
        "LoadAndRemapMatrix",
        "DataServiceDatasetV4",
    ),
}


@dataclass(frozen=True)
class Signature:
    """A signature's inputs and outputs by name, and its function."""

    inputs: dict[str, Field]
    outputs: dict[str, Field]
    function: Any

    def __call__(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs for `[n, ...]` inputs by name."""
        given = {
            name: tf.constant(arrays[name], _dtype(field)) for name, field in self.inputs.items()
        }
        return {name: value.numpy() for name, value in self.function(**given).items()}


@dataclass(frozen=True)
class Loaded:
    """A version that can answer; `definitions` are its signatures as the file has them, for the metadata API."""

    version: int
    signatures: dict[str, Signature]
    definitions: dict[str, Any]
    labels: tuple[str, ...]
    card: dict[str, Any]
    _model: Any  # whose variables the functions need


def load(folder: Path, *, trust: bool) -> Loaded:
    """Loads a version's folder and lets it answer its warm-up requests.

    Raises:
        StorageError: it is damaged, or does not answer.
        UsageError: this program did not make it, and it is not trusted.
    """
    if not trust:
        check_ours(folder)
    try:
        return _loaded(folder)
    except Exception as error:  # loading a damaged or foreign file may raise anything
        raise StorageError(
            f"{folder}: cannot be served: {' '.join(str(error).split())[:200]}"
        ) from error


def _loaded(folder: Path) -> Loaded:
    model = tf.saved_model.load(str(folder))
    signatures = {name: _signature(function) for name, function in model.signatures.items()}
    export = Export(folder)
    found = Loaded(
        int(folder.name),
        signatures,
        _definitions(folder),
        export.labels(),
        export.card_values(),
        model,
    )
    _warm_up(found, export.warm_up_requests)
    return found


def check_ours(folder: Path) -> None:
    """A SavedModel is a program: refuses one whose manifest is not of this program, or does not match.

    Raises:
        UsageError: there is no manifest, no card of ours, or an operation that reaches outside of the model.
        StorageError: a file is not what the manifest says.
    """
    if not Export(folder).is_published:
        raise UsageError(
            f"{folder}: not exported by epochal; a SavedModel is a program: give --trust to run it"
        )
    storage.verify(folder)
    if reaching := sorted(_operations(_saved(folder)) & _REACHING):
        raise UsageError(
            f"{folder}: has {', '.join(reaching)}, which no export of epochal has: give --trust to run it"
        )


def _operations(graph: Any) -> set[str]:
    """The names of a graph's operations, those in its functions included."""
    functions = [function.node_def for function in graph.graph_def.library.function]
    return {node.op for nodes in (graph.graph_def.node, *functions) for node in nodes}


def _saved(folder: Path) -> Any:
    """The graph for serving, as the file has it."""
    saved = SavedModel.FromString(Export(folder).model_file.read_bytes())
    return next(one for one in saved.meta_graphs if "serve" in one.meta_info_def.tags)


def _dtype(field: Field) -> Any:
    return tf.string if field.dtype == "object" else tf.as_dtype(field.dtype)


def _signature(function: Any) -> Signature:
    return Signature(
        _fields(function.structured_input_signature[1]),
        _fields(function.structured_outputs),
        function,
    )


def _fields(specs: Mapping[str, Any]) -> dict[str, Field]:
    return {
        name: Field(_DTYPES.get(spec.dtype, spec.dtype.name), tuple(spec.shape.as_list()))
        for name, spec in specs.items()
    }


def _definitions(folder: Path) -> dict[str, Any]:
    shown = {"preserving_proto_field_name": True, "always_print_fields_with_no_presence": True}
    return {name: MessageToDict(one, **shown) for name, one in _saved(folder).signature_def.items()}


def _warm_up(loaded: Loaded, file: Path) -> None:
    """Lets a version answer what was recorded for it: the first call of a signature takes a hundred times as long."""
    if file.exists():
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda one: loaded.signatures[one[0]](one[1]), _recorded(file)))


def _recorded(file: Path) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """The signature and inputs of every request in a warm-up file."""
    from tensorflow_serving.apis import prediction_log_pb2

    for record in tf.data.TFRecordDataset(str(file)).take(_MOST_RECORDS).as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        if log.WhichOneof("log_type") == "predict_log":
            request = log.predict_log.request
            arrays = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        else:
            request = log.classify_log.request
            examples = [one.SerializeToString() for one in request.input.example_list.examples]
            arrays = {"inputs": np.array(examples, dtype=object)}
        yield request.model_spec.signature_name, arrays
