"""`epochal export`: a SavedModel with its proof."""

from app import runs
from app.commands.common import Parser, load_tensorflow, say


def run(words: list[str], verbosity: int) -> int:
    """Parses, calls, prints; returns the exit code."""
    parser = Parser(prog="epochal export", description="Write saved_models/NAME/VERSION/, proven equal to the run.")
    parser.add_argument("run", help="a run's folder, or its name under runs/")
    parser.add_argument("--name", help="of the served model (default: the run's name)")
    asked = parser.parse_args(words)
    run = runs.find(asked.run)
    say(f"epochal export: {run.folder}; loading TensorFlow ...")
    load_tensorflow(verbosity)
    from app.export.export import export

    print(export(run, asked.name, say))
    return 0
