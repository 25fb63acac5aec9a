"""The state of a training as arrays and plain values: model, optimizer, metrics, callbacks."""

from typing import Any

import numpy as np

CALLBACKS = "callback/"  # begins the names of the arrays of callbacks
METRICS = "metrics/"

Arrays = dict[str, np.ndarray]
States = dict[str, dict[str, Any]]


def variables_of(model: Any) -> dict[str, Any]:
    """Return every variable of a compiled, built model, by a name that is stable between processes.

    `model.variables` includes the seed generators, which no Keras format saves. Of metrics, every
    device has variables of its own.
    """
    metrics: list[Any] = []
    for metric in model.metrics:
        metrics += metric.variables
    named = model_variables(model)
    named |= _by_name("optimizer", model.optimizer.variables)
    for name, variable in _by_name("metrics", metrics).items():
        shares = model.distribute_strategy.experimental_local_results(variable.value)
        for device, share in enumerate(shares):
            named[name_of_share(name, device, len(shares))] = share
    return named


def name_of_share(name: str, device: int, devices: int) -> str:
    """Return the name of a device's share of a metric's variable.

    Each device sums up what it saw. Their sum alone would not do: how an epoch's sum rounds depends
    on what each has of it.
    """
    if devices == 1:
        return name
    return f"{name}/device-{device}"


def model_variables(model: Any) -> dict[str, Any]:
    """Return those of them that belong to the model itself, which need not be compiled."""
    of_metrics = set()
    for metric in model.metrics:
        of_metrics |= {id(variable) for variable in metric.variables}
    variables = [variable for variable in model.variables if id(variable) not in of_metrics]
    return _by_name("model", variables)


def metric_variables(model: Any) -> dict[str, Any]:
    """Return those of them that hold the metrics of the epoch so far."""
    named = variables_of(model)
    return {name: variable for name, variable in named.items() if name.startswith(METRICS)}


def _by_name(group: str, variables: list[Any]) -> dict[str, Any]:
    return {f"{group}/{place:04d}/{v.path}": v for place, v in enumerate(variables)}


def split_states(states: States) -> tuple[Arrays, States]:
    """Split the states of callbacks into arrays for the archive and plain values for JSON."""
    arrays: Arrays = {}
    values: States = {}
    for key, state in states.items():
        values[key] = {}
        for name, value in state.items():
            place = f"{CALLBACKS}{key}/{name}"
            if isinstance(value, np.ndarray):
                arrays[place] = value
            elif _has_arrays(value):
                for number, item in enumerate(value):
                    arrays[f"{place}/{number:04d}"] = item
                values[key][name] = {"arrays": len(value)}
            else:
                values[key][name] = value
    return arrays, values


def join_states(arrays: Arrays, values: States) -> States:
    """Return the states that `split_states` split; other arrays are ignored."""
    states: States = {}
    for key, plain in values.items():
        states[key] = {}
        for name, value in plain.items():
            if isinstance(value, dict) and set(value) == {"arrays"}:
                items = []
                for number in range(value["arrays"]):
                    place = f"{CALLBACKS}{key}/{name}/{number:04d}"
                    items.append(arrays[place])
                value = items
            states[key][name] = value
    for place, array in arrays.items():
        if place.startswith(CALLBACKS) and place.count("/") == 2:
            _, key, name = place.split("/")
            states[key][name] = array
    return states


def _has_arrays(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(item, np.ndarray) for item in value)
