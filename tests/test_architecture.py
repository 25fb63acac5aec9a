"""The rules that keep the tree readable: which way imports point, and how large things may get."""

import ast

import pytest

from tests.support.paths import ROOT

FORBIDDEN = {
    "models": {"app", "callbacks"},
    "callbacks": {"app", "models"},
    "app/config": {
        "models",
        "callbacks",
        "app.data",
        "app.training",
        "app.evaluation",
        "app.export",
    },
    "app/data": {
        "callbacks",
        "models",
        "app.training",
        "app.evaluation",
        "app.export",
        "app.tuning",
    },
    "app/training": {"app.doctor", "app.tuning"},
    "app/evaluation": {"callbacks", "app.training", "app.export", "app.tuning"},
    "app/export": {"callbacks", "app.training", "app.tuning", "app.serving"},
    "app/serving": {"callbacks", "models", "app.training", "app.tuning", "app.evaluation"},
    "app/tuning/report": {
        "callbacks",
        "models",
        "app.training",
        "keras_tuner",
        "tensorflow",
        "keras",
    },
}
LIGHT = [
    *(
        str(path.relative_to(ROOT))
        for room in ("commands", "config", "store", "process")
        for path in sorted((ROOT / "app" / room).glob("*.py"))
        if path.name != "arrays.py"
    ),
    "app/evaluation/cost_tables.py",
    *(f"app/tuning/{name}.py" for name in ("ranges", "selection", "space")),
    "app/serving/limits.py",
    "app/export/variants.py",
    "app/units.py",
    "app/errors.py",
]


def trees(room: str):
    return [(path, ast.parse(path.read_text())) for path in sorted((ROOT / room).rglob("*.py"))]


def imports(tree: ast.AST) -> list[str]:
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return [name.removeprefix("epochal.") for name in names]


@pytest.mark.parametrize("room", FORBIDDEN)
def test_imports_follow_the_arrows(room: str) -> None:
    found = trees(room)
    assert found
    for path, tree in found:
        for name in imports(tree):
            crossed = [
                other for other in FORBIDDEN[room] if name == other or name.startswith(f"{other}.")
            ]
            assert not crossed, f"{path} imports {name}"


@pytest.mark.parametrize("name", LIGHT)
def test_no_tensorflow_at_the_start(name: str) -> None:
    tree = ast.parse((ROOT / name).read_text())
    top = ast.Module(
        [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)], []
    )
    assert not {word.split(".")[0] for word in imports(top)} & {
        "tensorflow",
        "keras",
        "models",
        "callbacks",
        "numpy",
    }


@pytest.mark.parametrize("room", ["app", "models", "callbacks"])
def test_sizes(room: str) -> None:
    for path, tree in trees(room):
        assert len(path.read_text().splitlines()) <= (160 if room == "callbacks" else 400), path
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                body = (
                    node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
                )
                assert body[-1].end_lineno - body[0].lineno < 60, f"{path}: {node.name} is long"
                arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
                count = len([a for a in arguments if a.arg not in ("self", "cls")])
                # A callback's settings are the user's, each with a default.
                is_callback = room == "callbacks" and node.name == "__init__"
                most = 7 if is_callback else 6
                assert count <= most, f"{path}: {node.name} has {count} arguments"
