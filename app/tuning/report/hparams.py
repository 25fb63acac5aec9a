"""TensorBoard's HParams tab: `tensorboard --logdir sweeps/NAME/tensorboard` shows the trials. No
TensorFlow here.
"""

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

from epochal.app.store import files
from epochal.app.store.plan import Range
from epochal.app.store.trials import FAILED, LOST, RUNNING, Trial
from epochal.app.tuning.report.formatting import plain
from epochal.app.tuning.report.standings import Standings

# Always the same name: a file that is written again replaces the one that was there.
FILE = "events.out.tfevents.0.epochal"
METRICS = ("score", "spread", "seconds", "weights")
_TYPES = {
    bool: api_pb2.DATA_TYPE_BOOL,
    float: api_pb2.DATA_TYPE_FLOAT64,
    str: api_pb2.DATA_TYPE_STRING,
}
_FIELDS = {bool: "bool_value", float: "number_value", str: "string_value"}
_STATUSES = {
    FAILED: api_pb2.STATUS_FAILURE,
    RUNNING: api_pb2.STATUS_RUNNING,
    LOST: api_pb2.STATUS_UNKNOWN,
}
Step = tuple[int, float, list[Any]]
"""A step, its time and its summary values."""


def write_hparams(standings: Standings) -> None:
    """Write the space, and a session a trial with its values, figures and mean learning curve.

    The numbers of a trial's events stand for times, so that the same sweep gives the same files.
    """
    folder = standings.sweep.tensorboard
    _write_events(folder, [(0, 0.0, [_experiment(standings)])])
    for trial in standings.trials:
        _write_events(folder / trial.name, _session(standings, trial))


def _write_events(folder: Path, steps: Iterable[Step]) -> None:
    buffer = io.BytesIO()
    writer = RecordWriter(buffer)
    writer.write(event_pb2.Event(file_version="brain.Event:2").SerializeToString())
    for step, seconds, values in steps:
        summary = summary_pb2.Summary(value=values)
        event = event_pb2.Event(
            step=step,
            wall_time=seconds,
            summary=summary,
        )
        writer.write(event.SerializeToString())
    folder.mkdir(parents=True, exist_ok=True)
    files.write_bytes(folder / FILE, buffer.getvalue())


def _session(standings: Standings, trial: Trial) -> list[Step]:
    began = float(trial.created or 0)
    ended = float(trial.ended or began)
    monitor = standings.plan.monitor
    steps: list[Step] = []
    steps.append((0, began, [_session_start(standings, trial, began)]))
    curve = standings.mean_curve(trial, monitor)
    for epoch, value in curve.items():
        steps.append((epoch, ended, [_scalar(monitor, value)]))
    steps.append((0, ended, _figures(trial)))
    steps.append((0, ended, [_session_end(trial, ended)]))
    return steps


def _figures(trial: Trial) -> list[Any]:
    figures = []
    for name in METRICS:
        figure = getattr(trial, name)
        if figure is not None:
            figures.append(_scalar(name, float(figure)))
    return figures


def _experiment(standings: Standings) -> Any:
    metrics = []
    for name in METRICS:
        shown = name
        if name == "score":
            shown = standings.plan.monitor
        tag = api_pb2.MetricName(tag=name)
        metrics.append(api_pb2.MetricInfo(name=tag, display_name=shown))
    hparams = [_hparam_info(searched) for searched in standings.space]
    created = [trial.created for trial in standings.trials if trial.created]
    experiment = api_pb2.Experiment(
        description=f"{standings.plan.algorithm} search over {standings.plan.splits}",
        hparam_infos=hparams,
        metric_infos=metrics,
        time_created_secs=min(created, default=0),
    )
    content = plugin_data_pb2.HParamsPluginData(experiment=experiment)
    return _value(metadata.EXPERIMENT_TAG, content)


def _hparam_info(searched: Range) -> Any:
    name = searched.name
    value_type = _value_type(searched)
    info = api_pb2.HParamInfo(
        name=name,
        type=_TYPES[value_type],
        display_name=name,
    )
    if searched.kind == "choice":
        domain = struct_pb2.ListValue()
        for value in searched.values:
            domain.append(_convert(value, value_type))
        info.domain_discrete.CopyFrom(domain)
    else:
        interval = api_pb2.Interval(
            min_value=searched.low,
            max_value=searched.high,
        )
        info.domain_interval.CopyFrom(interval)
    return info


def _value_type(searched: Range) -> type:
    """Return the type that all values of a range can be written as: bool, float or str."""
    types = set(map(type, searched.values))
    if types == {bool}:
        return bool
    if types <= {int, float}:
        return float
    return str


def _convert(value: Any, value_type: type) -> Any:
    if value_type is str:
        return plain(value)
    return value_type(value)


def _session_start(standings: Standings, trial: Trial, began: float) -> Any:
    info = plugin_data_pb2.SessionStartInfo(
        group_name=trial.name,
        start_time_secs=began,
    )
    values = trial.active_values(standings.space)
    for searched in standings.space:
        name = searched.name
        if name in values:
            value_type = _value_type(searched)
            value = _convert(values[name], value_type)
            setattr(info.hparams[name], _FIELDS[value_type], value)
    content = plugin_data_pb2.HParamsPluginData(session_start_info=info)
    return _value(metadata.SESSION_START_INFO_TAG, content)


def _session_end(trial: Trial, ended: float) -> Any:
    status = _STATUSES.get(trial.status, api_pb2.STATUS_SUCCESS)
    info = plugin_data_pb2.SessionEndInfo(
        status=status,
        end_time_secs=ended,
    )
    content = plugin_data_pb2.HParamsPluginData(session_end_info=info)
    return _value(metadata.SESSION_END_INFO_TAG, content)


def _value(tag: str, content: Any) -> Any:
    return summary_pb2.Summary.Value(
        tag=tag,
        metadata=metadata.create_summary_metadata(content),
        tensor=metadata.NULL_TENSOR,
    )


def _scalar(tag: str, value: float) -> Any:
    content = scalar_metadata.create_summary_metadata(
        display_name="",
        description="",
    )
    tensor = tensor_util.make_tensor_proto(value, dtype="float32")
    return summary_pb2.Summary.Value(
        tag=tag,
        metadata=content,
        tensor=tensor,
    )
