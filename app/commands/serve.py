"""`epochal serve`: answers for an exported model over HTTP, as TensorFlow Serving does."""

import importlib.util
from pathlib import Path

from epochal.app.commands.console import Parser, load_tensorflow, say
from epochal.app.config.given_files import read_given_file
from epochal.app.errors import UsageError
from epochal.app.store.export import served_versions

_DESCRIPTION = """\
Answer requests for saved_models/NAME over HTTP, in TensorFlow Serving's wire format.

  epochal serve saved_models/digits-resnet20
  epochal serve saved_models/digits-resnet20 --port 9000 --token-file secret.txt

New versions in the folder are loaded while it runs. http://127.0.0.1:8501/ is a page to try the
model with.
"""
_NEEDED = ("fastapi", "uvicorn", "orjson", "prometheus_client")
_LONGEST_TOKEN_FILE = 10_000  # bytes
_LOCAL = ("127.0.0.1", "::1", "localhost")


def make_parser() -> Parser:
    """Return the parser of `epochal serve`."""
    parser = Parser("epochal serve", description=_DESCRIPTION)
    parser.add_argument(
        "folder",
        type=Path,
        help="of a model: holds a folder for each version",
    )
    parser.add_argument(
        "--port",
        type=int,
        default=8501,
        help="(8501)",
    )
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
    return parser


def run(words: list[str], verbosity: int) -> int:
    """Parse, call; return the exit code."""
    arguments = make_parser().parse_args(words)
    _check_port(arguments.port)
    if not arguments.host.strip():
        # The system would listen at every address.
        raise UsageError("--host: expected an address such as 127.0.0.1 or 0.0.0.0, got none")
    _check_packages()
    token = None
    if arguments.token_file is not None:
        token = _read_token(arguments.token_file)
    _check_folder(arguments.folder)
    if arguments.host not in _LOCAL:
        lacks = "encryption" if token else "encryption or password"
        say(f"{arguments.host} is open to the network, without {lacks}: keep it inside")
    say(f"epochal serve: {arguments.folder}; loading TensorFlow ...")
    load_tensorflow(verbosity)
    from epochal.app.serving.limits import Limits
    from epochal.app.serving.server import serve

    limits = Limits(token=token, local=arguments.host in _LOCAL)
    address = (arguments.host, arguments.port)
    serve(arguments.folder, address, limits=limits, trust=arguments.trust)
    return 0


def _check_folder(folder: Path) -> None:
    """Refuse a folder without versions, and name a likely other one."""
    if served_versions(folder):
        return
    hint = "epochal export makes one"
    for other in (folder.parent, Path("saved_models") / folder.name):
        if served_versions(other):
            hint = f"did you mean {other}?"
            break
    raise UsageError(
        f"{folder}: no version there (folders like 1, 2 with a saved_model.pb); {hint}"
    )


def _check_port(port: int) -> None:
    if not 0 <= port <= 65535:
        raise UsageError(f"--port {port}: expected 0 to 65535 (0: any that is free)")


def _check_packages() -> None:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"epochal serve needs {missing[0]}: pip install -e '.[serve]'")


def _read_token(file: Path) -> str:
    """Return the first line of a file."""
    try:
        lines = read_given_file(file, _LONGEST_TOKEN_FILE).decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--token-file {file}: cannot be read: {error}") from error
    if not lines or len(lines[0].strip()) < 8 or not lines[0].isprintable():
        raise UsageError(
            f"--token-file {file}: expected a token of at least 8 characters in its first line"
        )
    return lines[0].strip()
