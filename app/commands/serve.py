"""`epochal serve`: answers for an exported model over HTTP, as TensorFlow Serving does."""

import importlib.util
from pathlib import Path

from epochal.app.commands.console import Parser, load_tensorflow, say
from epochal.app.errors import UsageError
from epochal.app.store.export import served_versions

_DESCRIPTION = """Answer requests for saved_models/NAME over HTTP, in TensorFlow Serving's wire format.

  epochal serve saved_models/digits-resnet20
  epochal serve saved_models/digits-resnet20 --port 9000 --token-file secret.txt

New versions in the folder are loaded while it runs. http://127.0.0.1:8501/ is a page to try the model with.
"""
_NEEDED = ("fastapi", "uvicorn", "orjson", "prometheus_client")
_LOCAL = ("127.0.0.1", "::1", "localhost")


def run(words: list[str], verbosity: int) -> int:
    """Parses, calls; returns the exit code."""
    parser = Parser(prog="epochal serve", description=_DESCRIPTION)
    parser.add_argument("folder", type=Path, help="of a model: holds a folder for each version")
    parser.add_argument("--port", type=int, default=8501, help="(8501)")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen at (127.0.0.1: this machine alone)"
    )
    parser.add_argument(
        "--token-file",
        type=Path,
        help="whose first line requests must bear: Authorization: Bearer LINE",
    )
    parser.add_argument(
        "--trust", action="store_true", help="run a SavedModel that epochal did not make"
    )
    asked = parser.parse_args(words)
    _check(asked.port)
    token = None if asked.token_file is None else _token(asked.token_file)
    if not served_versions(asked.folder):
        meant = [
            path
            for path in (asked.folder.parent, Path("saved_models") / asked.folder.name)
            if served_versions(path)
        ]
        hint = f"did you mean {meant[0]}?" if meant else "epochal export makes one"
        raise UsageError(
            f"{asked.folder}: no version there (folders like 1, 2 with a saved_model.pb); {hint}"
        )
    if asked.host not in _LOCAL:
        say(
            f"{asked.host} is open to the network, without encryption{'' if token else ' or password'}: keep it inside"
        )
    say(f"epochal serve: {asked.folder}; loading TensorFlow ...")
    load_tensorflow(verbosity)
    from epochal.app.serving.limits import Limits
    from epochal.app.serving.server import serve

    limits = Limits(token=token, local=asked.host in _LOCAL)
    serve(asked.folder, (asked.host, asked.port), limits=limits, trust=asked.trust, say=say)
    return 0


def _check(port: int) -> None:
    if not 0 <= port <= 65535:
        raise UsageError(f"--port {port}: expected 0 to 65535 (0: any that is free)")
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"epochal serve needs {missing[0]}: pip install -e '.[serve]'")


def _token(file: Path) -> str:
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--token-file {file}: cannot be read: {error}") from error
    if not lines or len(lines[0].strip()) < 8:
        raise UsageError(
            f"--token-file {file}: expected a token of at least 8 characters in its first line"
        )
    return lines[0].strip()
