"""`epochal replay-nan`: where a run left the finite numbers."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from epochal.app.commands.console import Parser, load_tensorflow, say
from epochal.app.store import run as runs

if TYPE_CHECKING:
    from epochal.app.training.failures.failed_step import Evidence
    from epochal.app.training.failures.replay import Finding

_DESCRIPTION = """\
Takes the step again in which a run left the finite numbers, from what the run kept of it (nan/), and names the first
place that is not finite: a pixel, a layer, the loss, or the layer that made the gradient so. Epochs and steps count
from 1, images and pixels from 0.
"""


def run(words: list[str], verbosity: int) -> int:
    """Parse, call, print; return the exit code."""
    parser = Parser("epochal replay-nan", description=_DESCRIPTION)
    parser.add_argument("run", help="a run's folder, or its name under runs/")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(words)
    run = runs.find(arguments.run)
    say(f"epochal replay-nan: {run.folder}; loading TensorFlow ...")
    load_tensorflow(verbosity)
    from epochal.app.training.failures.replay import replay

    evidence, finding = replay(run)
    print(json.dumps(_values(evidence, finding)) if arguments.json else _text(evidence, finding))
    return 0


def _values(evidence: "Evidence", finding: "Finding") -> dict[str, object]:
    """All that was found, as plain values; epochs and steps from 1 as in the log."""
    step = {key: getattr(evidence, key) for key in ("split", "learning_rate", "quantity", "spoilt")}
    place = {"epoch": evidence.epoch + 1, "step": evidence.step + 1}
    place |= dict(
        zip(
            ("found_in_epoch", "found_at_step"),
            (number + 1 for number in evidence.found),
            strict=True,
        )
    )
    return {**place, **step, **asdict(finding), "data_index": _number(evidence, finding)}


def _number(evidence: "Evidence", finding: "Finding") -> int | None:
    """The image's index in the data set."""
    return None if finding.image is None else int(evidence.indices[finding.image])


def _text(evidence: "Evidence", finding: "Finding") -> str:
    rate = f" (learning rate {evidence.learning_rate:g})" if evidence.split == "train" else ""
    lines = [
        f"{evidence.quantity} was found not to be finite at {_step(*evidence.found)}; {evidence.split} "
        f"{_step(evidence.epoch, evidence.step)}{rate}, the last to begin with finite numbers, taken again:",
        f"first: {_place(evidence, finding)}",
    ]
    if finding.largest_in:
        lines.append(f"largest activation before it: {finding.largest:.6g} in {finding.largest_in}")
    if evidence.spoilt:
        first = evidence.spoilt[0]
        lines.append(
            f"when it was found, {len(evidence.spoilt)} variable(s) were not finite, first {first}"
        )
    return "\n".join(lines)


def _step(epoch: int, step: int) -> str:
    return f"step {step + 1} of epoch {epoch + 1}"


def _place(evidence: "Evidence", finding: "Finding") -> str:
    what = {
        "weight": f"weight {finding.name}, before the step",
        "input": f"the input {finding.name}",
        "layer": f"the output of layer {finding.name}, whose inputs are finite",
        "loss": f"the loss ({finding.name})",
        "gradient": f"the gradient by the {finding.of} of layer {finding.name}; all outputs and the loss are finite",
        "update": f"the optimizer's update: every output, the loss and every gradient are finite; the largest gradient "
        f"is {finding.value}, of {finding.name}",
        "nothing": f"nothing: all is finite here, the loss {finding.value}; a sum of many such losses may not be",
    }[finding.place]
    if finding.place in ("update", "nothing"):
        return what
    return f"{what}\n  {finding.value}{_where(evidence, finding)}; {finding.count:,} such value(s) there"


def _where(evidence: "Evidence", finding: "Finding") -> str:
    """` at (y, x, channel) of image 3 of the batch (7 of the data set)`."""
    axes = " (y, x, channel)" if finding.image is not None and len(finding.index) == 3 else ""
    place = f" at {list(finding.index)}{axes}" if finding.index else ""
    if finding.image is None:
        return place
    return f"{place} of image {finding.image} of the batch ({_number(evidence, finding)} of the data set)"
