"""The trials for TensorBoard's HParams tab: `tensorboard --logdir sweeps/NAME/tensorboard`. No TensorFlow here."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from google.protobuf import struct_pb2
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.plugins.scalar import metadata as scalar_metadata
from tensorboard.summary.writer.record_writer import RecordWriter
from tensorboard.util import tensor_util

from epochal.app.store import files as storage
from epochal.app.tuning.report.finalists import mean_curve
from epochal.app.tuning.report.formatting import plain
from epochal.app.tuning.report.sweep_data import Hyperparameter, Sweep, Trial, read_sweep

FILE = "events.out.tfevents.0.epochal"  # always the same one: what is written again replaces what was there
METRICS = ("score", "spread", "seconds", "weights")


def write_hparams(folder: Path) -> None:
    """Writes `tensorboard/`: the space, and a session a trial with its values, figures and mean learning curve."""
    sweep = read_sweep(folder)
    _write(sweep.folder / "tensorboard", [(0, 0.0, [_experiment(sweep)])])
    for trial in sweep.trials:
        _write(sweep.folder / "tensorboard" / trial.trial, _session(sweep, trial))


def _write(folder: Path, steps: Iterable[tuple[int, float, list[Any]]]) -> None:
    """An event file of steps, each with its time and summary values."""
    buffer = io.BytesIO()
    writer = RecordWriter(buffer)
    writer.write(event_pb2.Event(file_version="brain.Event:2").SerializeToString())
    for step, seconds, values in steps:
        summary = summary_pb2.Summary(value=values)
        writer.write(
            event_pb2.Event(step=step, wall_time=seconds, summary=summary).SerializeToString()
        )
    folder.mkdir(parents=True, exist_ok=True)
    storage.write_bytes(folder / FILE, buffer.getvalue())


def _session(sweep: Sweep, trial: Trial) -> list[tuple[int, float, list[Any]]]:
    began = trial.created or 0.0
    ended = trial.ended or began
    figures = {
        name: float(value) for name in METRICS if (value := getattr(trial, name)) is not None
    }
    curve = mean_curve(trial, sweep.monitor)
    return [
        (0, began, [_start(sweep, trial, began)]),
        *((epoch, ended, [_scalar(sweep.monitor, value)]) for epoch, value in curve.items()),
        (0, ended, [_scalar(name, value) for name, value in figures.items()]),
        (0, ended, [_end(trial, ended)]),
    ]


def _experiment(sweep: Sweep) -> Any:
    metrics = [
        api_pb2.MetricInfo(
            name=api_pb2.MetricName(tag=tag), display_name=sweep.monitor if tag == "score" else tag
        )
        for tag in METRICS
    ]
    experiment = api_pb2.Experiment(
        description=f"{sweep.algorithm} search over {sweep.splits}",
        hparam_infos=[_info(parameter) for parameter in sweep.space],
        metric_infos=metrics,
        time_created_secs=min(
            (trial.created for trial in sweep.trials if trial.created), default=0.0
        ),
    )
    return _value(metadata.EXPERIMENT_TAG, plugin_data_pb2.HParamsPluginData(experiment=experiment))


def _info(parameter: Hyperparameter) -> Any:
    if parameter.kind != "choice":
        interval = api_pb2.Interval(min_value=parameter.low, max_value=parameter.high)
        return api_pb2.HParamInfo(
            name=parameter.name,
            type=api_pb2.DATA_TYPE_FLOAT64,
            domain_interval=interval,
            display_name=parameter.name,
        )
    kind = _kind(parameter)
    types = {
        bool: api_pb2.DATA_TYPE_BOOL,
        float: api_pb2.DATA_TYPE_FLOAT64,
        str: api_pb2.DATA_TYPE_STRING,
    }
    domain = struct_pb2.ListValue()
    domain.extend([_typed(value, kind) for value in parameter.values])
    return api_pb2.HParamInfo(
        name=parameter.name, type=types[kind], domain_discrete=domain, display_name=parameter.name
    )


def _kind(parameter: Hyperparameter) -> type:
    """What all values of a hyperparameter can be written as."""
    if parameter.kind != "choice":
        return float
    if all(isinstance(value, bool) for value in parameter.values):
        return bool
    numbers = all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in parameter.values
    )
    return float if numbers else str


def _typed(value: Any, kind: type) -> Any:
    return plain(value) if kind is str else kind(value)


def _start(sweep: Sweep, trial: Trial, began: float) -> Any:
    info = plugin_data_pb2.SessionStartInfo(group_name=trial.trial, start_time_secs=began)
    fields = {bool: "bool_value", float: "number_value", str: "string_value"}
    for parameter in sweep.space:
        if parameter.name in trial.values:
            kind = _kind(parameter)
            setattr(
                info.hparams[parameter.name],
                fields[kind],
                _typed(trial.values[parameter.name], kind),
            )
    return _value(
        metadata.SESSION_START_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_start_info=info)
    )


def _end(trial: Trial, ended: float) -> Any:
    statuses = {
        "failed": api_pb2.STATUS_FAILURE,
        "running": api_pb2.STATUS_RUNNING,
        "lost": api_pb2.STATUS_UNKNOWN,
    }
    status = statuses.get(trial.status, api_pb2.STATUS_SUCCESS)
    info = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=ended)
    return _value(
        metadata.SESSION_END_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_end_info=info)
    )


def _value(tag: str, content: Any) -> Any:
    return summary_pb2.Summary.Value(
        tag=tag, metadata=metadata.create_summary_metadata(content), tensor=metadata.NULL_TENSOR
    )


def _scalar(tag: str, value: float) -> Any:
    content = scalar_metadata.create_summary_metadata(display_name="", description="")
    tensor = tensor_util.make_tensor_proto(value, dtype="float32")
    return summary_pb2.Summary.Value(tag=tag, metadata=content, tensor=tensor)
