"""Architecture: which way imports point, who may read argv or draw random numbers, and sizes."""

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.support.paths import ROOT

# What each room may import besides itself. A new room needs a line here.
BASE = {"app.errors", "app.units", "app.streams", "app.characters"}
ALLOWED = {
    "models": set(),
    "callbacks": set(),
    "app/config": BASE,
    "app/process": BASE,
    "app/store": BASE | {"app.config", "app.process"},
    "app/data": BASE | {"app.config", "app.process", "app.store"},
    "app/evaluation": BASE | {"app.config", "app.process", "app.store", "app.data", "models"},
    "app/training": BASE
    | {"app.config", "app.process", "app.store", "app.data", "app.evaluation"}
    | {"models", "callbacks"},
    "app/tuning": BASE
    | {"app.config", "app.process", "app.store", "app.data", "app.evaluation", "app.training"}
    | {"models", "callbacks"},
    "app/doctor": BASE
    | {"app.config", "app.process", "app.store", "app.data", "app.evaluation", "app.training"}
    | {"models"},
    "app/export": BASE
    | {"app.config", "app.process", "app.store", "app.data", "app.evaluation", "models"},
    "app/serving": BASE | {"app.config", "app.process", "app.store", "app.data"},
    "app/commands": BASE
    | {"app.config", "app.process", "app.store", "app.data", "app.evaluation", "app.training"}
    | {"app.tuning", "app.doctor", "app.export", "app.serving", "models"},
}
READS_ARGV = {
    "app/store/environment.py": "the command line is part of a run's record",
    "app/export/parity_program.py": "a program of its own, which the export starts",
}
DRAWS = {
    "app/streams.py": "makes the streams",
    "app/training/run/setup.py": "weight norm's first images: other numbers are other runs",
    "app/training/probes/curvature.py": "the first direction: stored figures depend on it",
    "app/tuning/report/scores.py": "jitter of a plot, which has no run and no seed",
    "app/tuning/report/importance.py": "shuffles for a report, which has no run and no seed",
}
HEAVY = {"tensorflow", "keras", "keras_tuner", "numpy", "matplotlib"}
HEAVY_FILES = {"app/store/arrays.py"}
LIGHT_FILES = [
    "app/errors.py",
    "app/evaluation/cost_tables.py",
    "app/export/variants.py",
    "app/serving/limits.py",
    "app/tuning/ranges.py",
    "app/tuning/selection.py",
    "app/tuning/space.py",
    "app/units.py",
]


def list_files(room: str) -> list[str]:
    paths = sorted((ROOT / room).rglob("*.py"))
    assert paths, room
    return [path.relative_to(ROOT).as_posix() for path in paths]


@cache
def parse(file: str) -> ast.Module:
    return ast.parse((ROOT / file).read_text())


def list_imports(nodes: list[ast.AST]) -> list[str]:
    """Return the modules and names that are imported, those of the project without `epochal.`."""
    names = []
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the room"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return [name.removeprefix("epochal.") for name in names]


def room_of(name: str) -> str | None:
    """Return the room of an imported name, `app.data` or `models`; None outside of the project."""
    parts = name.split(".")
    if parts[0] == "app":
        return ".".join(parts[:2])
    if parts[0] in ("models", "callbacks"):
        return parts[0]
    return None


def test_every_room_has_its_arrows() -> None:
    rooms = {file.rsplit("/", 1)[0] for file in list_files("app")}
    rooms = {"/".join(room.split("/")[:2]) for room in rooms} - {"app"}
    assert rooms | {"models", "callbacks"} == set(ALLOWED)


@pytest.mark.parametrize("room", ALLOWED)
def test_imports_follow_the_arrows(room: str) -> None:
    allowed = ALLOWED[room] | {None, room.replace("/", ".")}
    for file in list_files(room):
        for name in list_imports(ast.walk(parse(file))):
            assert room_of(name) in allowed, f"{file} imports {name}"


def test_the_base_imports_no_room() -> None:
    for name in BASE:
        imports = list_imports(ast.walk(parse(name.replace(".", "/") + ".py")))
        assert {room_of(name) for name in imports} <= {None}


def test_the_tables_of_tunings_report_are_drawn_without_keras() -> None:
    for file in list_files("app/tuning/report"):
        for name in list_imports(ast.walk(parse(file))):
            assert name.split(".")[0] not in {"keras_tuner", "tensorflow", "keras"}, file
            assert room_of(name) not in {"callbacks", "models", "app.training"}, file


def test_only_commands_know_of_argv() -> None:
    readers = set()
    for file in list_files("app"):
        imported = list_imports(ast.walk(parse(file)))
        reads = [
            node
            for node in ast.walk(parse(file))
            if isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.argv"
        ]
        if reads or {"argparse", "sys.argv"} & set(imported):
            readers.add(file)
    assert {file for file in readers if not file.startswith("app/commands/")} == set(READS_ARGV)


def test_random_streams_have_a_purpose() -> None:
    draws = {file for file in list_files("app") if "default_rng" in (ROOT / file).read_text()}
    assert draws == set(DRAWS), "use app.streams.generator(seed, purpose)"


def list_light_files() -> list[str]:
    files = list(LIGHT_FILES)
    for room in ("commands", "config", "process", "store"):
        files += list_files(f"app/{room}")
    return [file for file in files if file not in HEAVY_FILES]


def find_file(name: str) -> str | None:
    """Return the file of an imported module, or of the module that an imported name is from."""
    parts = name.split(".")
    while parts:
        path = Path(*parts)
        for candidate in (path.with_suffix(".py"), path / "__init__.py"):
            if (ROOT / candidate).is_file():
                return candidate.as_posix()
        parts.pop()
    return None


def list_loaded(file: str) -> list[str]:
    """Return what is imported when a file is, by itself or by what it imports."""
    pending = [file]
    seen = {file}
    loaded = []
    while pending:
        top = parse(pending.pop()).body
        for name in list_imports(top):
            loaded.append(name)
            if room_of(name) is None:
                continue
            imported = find_file(name)
            if imported is not None and imported not in seen:
                seen.add(imported)
                pending.append(imported)
    return loaded


@pytest.mark.parametrize("file", list_light_files())
def test_no_tensorflow_at_the_start(file: str) -> None:
    packages = {name.split(".")[0] for name in list_loaded(file)}
    assert not packages & (HEAVY | {"models", "callbacks"})


@pytest.mark.parametrize("room", ["app", "models", "callbacks"])
def test_sizes(room: str) -> None:
    limit = 160 if room == "callbacks" else 400
    for file in list_files(room):
        assert len((ROOT / file).read_text().splitlines()) <= limit, file
        for node in ast.walk(parse(file)):
            if isinstance(node, ast.FunctionDef):
                check_function(node, file)


def check_function(node: ast.FunctionDef, file: str) -> None:
    body = node.body
    if ast.get_docstring(node) and len(body) > 1:
        body = body[1:]
    assert body[-1].end_lineno - body[0].lineno < 60, f"{file}: {node.name} is long"
    arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
    names = {argument.arg for argument in arguments} - {"self", "cls"}
    # A callback's settings are the user's, each with a default.
    is_callback = file.startswith("callbacks/") and node.name == "__init__"
    limit = 7 if is_callback else 6
    assert len(names) <= limit, f"{file}: {node.name} has {len(names)} arguments"
