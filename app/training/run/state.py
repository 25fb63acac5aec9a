"""Everything that training is, as arrays and plain values: weights, optimizer, random state, metrics, callbacks."""

from typing import Any

import numpy as np

CALLBACKS = "callback/"  # what the names of their arrays begin with


def variables_of(model: Any) -> dict[str, Any]:
    """Every variable of a compiled, built model, under a name that is stable between processes.

    `model.variables` includes the seed generators, which no Keras format saves.
    """
    metrics = [v for metric in model.metrics for v in metric.variables]
    return (
        model_variables(model)
        | _named("optimizer", model.optimizer.variables)
        | _named("metrics", metrics)
    )


def model_variables(model: Any) -> dict[str, Any]:
    """Those of them that are the model's own, which need not be compiled."""
    return _named("model", [v for v in model.variables if not _within(v, model.metrics)])


def _named(group: str, variables: list[Any]) -> dict[str, Any]:
    return {f"{group}/{i:04d}/{v.path}": v for i, v in enumerate(variables)}


def _within(variable: Any, metrics: list[Any]) -> bool:
    return any(variable is own for metric in metrics for own in metric.variables)


def split_states(
    states: dict[str, dict[str, Any]],
) -> tuple[dict[str, np.ndarray], dict[str, dict[str, Any]]]:
    """Callback states as arrays (for the archive) and plain values (for JSON)."""
    arrays: dict[str, np.ndarray] = {}
    values: dict[str, dict[str, Any]] = {name: {} for name in states}
    for name, state in states.items():
        for key, value in state.items():
            place = f"{CALLBACKS}{name}/{key}"
            if isinstance(value, np.ndarray):
                arrays[place] = value
            elif isinstance(value, list) and any(isinstance(item, np.ndarray) for item in value):
                arrays |= {f"{place}/{i:04d}": item for i, item in enumerate(value)}
                values[name][key] = {"arrays": len(value)}
            else:
                values[name][key] = value
    return arrays, values


def join_states(
    arrays: dict[str, np.ndarray], values: dict[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """The inverse of `split_states`."""
    states: dict[str, dict[str, Any]] = {}
    for name, plain in values.items():
        states[name] = {
            key: [arrays[f"{CALLBACKS}{name}/{key}/{i:04d}"] for i in range(value["arrays"])]
            if isinstance(value, dict) and set(value) == {"arrays"}
            else value
            for key, value in plain.items()
        }
        prefix = f"{CALLBACKS}{name}/"
        singles = {
            key[len(prefix) :]: array for key, array in arrays.items() if key.startswith(prefix)
        }
        states[name] |= {key: array for key, array in singles.items() if "/" not in key}
    return states
