"""`epochal export`: a model that can be served, with its proof."""

import json

from epochal.app.commands.arguments import add_views
from epochal.app.commands.console import Parser, load_tensorflow, say
from epochal.app.errors import UsageError
from epochal.app.export.variants import PRECISIONS, choose_variant
from epochal.app.store import runs

_DESCRIPTION = """Write saved_models/NAME/VERSION/, proven equal to the run in a fresh process.

  epochal export runs/digits-resnet20
  epochal export digits-resnet20 --precision bfloat16
  epochal export digits-resnet20 --format litert --precision int8
                                              litert_models/NAME/VERSION/model.tflite
  epochal export digits-resnet20 --compare    every format and precision; keeps none
  epochal export run1 run2 run3               the average of their probabilities, as one model
"""


def make_parser() -> Parser:
    """Return the parser of `epochal export`."""
    parser = Parser("epochal export", description=_DESCRIPTION)
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="a run's folder, or its name under runs/; of several the average is exported",
    )
    add_views(parser)
    parser.add_argument(
        "--name",
        help="of the served model (default: the run's, with the precision if not the run's)",
    )
    parser.add_argument(
        "--format",
        choices=PRECISIONS,
        help="default: saved_model",
    )
    precisions = sorted({name for names in PRECISIONS.values() for name in names})
    parser.add_argument(
        "--precision", choices=precisions, help="default: the run's own, elsewhere float32"
    )
    parser.add_argument(
        "--compare", action="store_true", help="accuracy, size and latency of every variant"
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print the folder and the card, or the comparison, as JSON",
    )
    return parser


def run(words: list[str], verbosity: int) -> int:
    """Parse, call, print; return the exit code."""
    arguments = make_parser().parse_args(words)
    if arguments.compare and (arguments.name or arguments.format or arguments.precision):
        raise UsageError(
            "--compare exports every variant and keeps none; drop --name, --format and --precision"
        )
    chosen = choose_variant(arguments.format, arguments.precision)
    if arguments.compare and len(arguments.runs) > 1:
        raise UsageError("--compare exports one run; give it alone")
    finished = [runs.find(name) for name in arguments.runs]
    names = ", ".join(str(found.folder) for found in finished)
    say(f"epochal export: {names}; loading TensorFlow ...")
    load_tensorflow(verbosity)
    if arguments.compare:
        from epochal.app.export.compare import compare, format_table

        rows = compare(finished[0], arguments.views)
        if arguments.json:
            print(json.dumps(rows))
        else:
            print(format_table(rows))
        return 0
    from epochal.app.export.export import export, export_average

    if len(finished) > 1:
        exported = export_average(finished, arguments.name, chosen, views=arguments.views)
    else:
        exported = export(finished[0], arguments.name, chosen, views=arguments.views)
    if arguments.json:
        card = exported.read_card().to_dict()
        print(json.dumps({"folder": str(exported.folder), **card}))
    else:
        print(exported.folder)
    return 0
