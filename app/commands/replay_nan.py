"""`epochal replay-nan`: where a run left the finite numbers."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from epochal.app.commands.console import Parser, load_tensorflow, say
from epochal.app.store import runs

if TYPE_CHECKING:
    from epochal.app.training.failures.failed_step import FailedStep
    from epochal.app.training.failures.replay import Finding

_DESCRIPTION = """\
Takes the step again in which a run left the finite numbers, from what the run kept of it (nan/),
and names the first place that is not finite: a pixel, a layer, the loss, or the layer that made the
gradient so. Epochs and steps count from 1, images and pixels from 0.
"""


def make_parser() -> Parser:
    """Return the parser of `epochal replay-nan`."""
    parser = Parser("epochal replay-nan", description=_DESCRIPTION)
    parser.add_argument("run", help="a run's folder, or its name under runs/")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def run(words: list[str], verbosity: int) -> int:
    """Parse, call, print; return the exit code."""
    arguments = make_parser().parse_args(words)
    finished = runs.find(arguments.run)
    say(f"epochal replay-nan: {finished.folder}; loading TensorFlow ...")
    load_tensorflow(verbosity)
    from epochal.app.training.failures.replay import replay

    evidence, finding = replay(finished)
    if arguments.json:
        print(json.dumps(_values(evidence, finding)))
    else:
        print(_text(evidence, finding))
    return 0


def _values(evidence: "FailedStep", finding: "Finding") -> dict[str, object]:
    """Return evidence and finding as plain values; epochs and steps from 1 as in the log."""
    epoch, step = evidence.found
    return {
        "epoch": evidence.epoch + 1,
        "step": evidence.step + 1,
        "found_in_epoch": epoch + 1,
        "found_at_step": step + 1,
        "split": evidence.split,
        "learning_rate": evidence.learning_rate,
        "quantity": evidence.quantity,
        "spoilt": evidence.spoilt,
        **asdict(finding),
        "data_index": _data_index(evidence, finding),
    }


def _data_index(evidence: "FailedStep", finding: "Finding") -> int | None:
    """Return the image's index in the data set."""
    if finding.image is None:
        return None
    return int(evidence.indices[finding.image])


def _text(evidence: "FailedStep", finding: "Finding") -> str:
    place = _step(evidence.epoch, evidence.step)
    if evidence.split == "train":
        place = f"{place} (learning rate {evidence.learning_rate:g})"
    lines = [
        f"{evidence.quantity} was found not to be finite at {_step(*evidence.found)}; "
        f"{evidence.split} {place}, the last to begin with finite numbers, taken again:",
        f"first: {_first_place(evidence, finding)}",
    ]
    if finding.largest_in:
        lines.append(f"largest activation before it: {finding.largest:.6g} in {finding.largest_in}")
    if evidence.spoilt:
        count = len(evidence.spoilt)
        lines.append(
            f"when it was found, {count} variable(s) were not finite, first {evidence.spoilt[0]}"
        )
    return "\n".join(lines)


def _step(epoch: int, step: int) -> str:
    return f"step {step + 1} of epoch {epoch + 1}"


def _first_place(evidence: "FailedStep", finding: "Finding") -> str:
    """Return the first place that is not finite, and the value there."""
    if finding.place == "update":
        return (
            "the optimizer's update: every output, the loss and every gradient are finite; the "
            f"largest gradient is {finding.value}, of {finding.name}"
        )
    if finding.place == "nothing":
        return (
            f"nothing: all is finite here, the loss {finding.value}; a sum of many such losses may "
            "not be"
        )
    place = {
        "weight": f"weight {finding.name}, before the step",
        "input": f"the input {finding.name}",
        "layer": f"the output of layer {finding.name}, whose inputs are finite",
        "loss": f"the loss ({finding.name})",
        "gradient": f"the gradient by the {finding.of} of layer {finding.name}; all outputs and "
        "the loss are finite",
    }[finding.place]
    where = _position(evidence, finding)
    return f"{place}\n  {finding.value}{where}; {finding.count:,} such value(s) there"


def _position(evidence: "FailedStep", finding: "Finding") -> str:
    """Return ` at [y, x, channel] of image 3 of the batch (7 of the data set)`."""
    position = ""
    if finding.index:
        position = f" at {list(finding.index)}"
    if finding.image is None:
        return position
    if len(finding.index) == 3:
        position += " (y, x, channel)"
    index = _data_index(evidence, finding)
    return f"{position} of image {finding.image} of the batch ({index} of the data set)"
