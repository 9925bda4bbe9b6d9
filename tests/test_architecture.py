"""Which room may import which: data flows one way."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "archgauge"

ROOMS = {
    "graphs": 0,
    "formats": 0,
    "families": 1,
    "proxies": 1,
    "nn": 1,
    "encoders": 2,
    "pretraining": 3,
    "predictors": 3,
    "search": 4,
    "evaluation": 5,
    "ranking": 6,
}
"""Floor of each room: a module imports from its own room and from lower floors."""

DOORS = {
    "mlflow": {"tracking.py"},
    "skfuzzy": {"clustering.py"},
    "dgl": {"nn/message_passing.py"},
    "markdown_it": {"evaluation/pages.py"},
    "onnx": {"graphs/_onnx_file.py", "graphs/_onnx_protos.py", "graphs/_onnx_sequences.py", "graphs/_onnx_weights.py"},
    "requests": {"download.py"},
    "snakemake": set(),
    "tensorflow": set(),
    "analognasbench": set(),
}
"""The only modules that may import a library."""


def imports(folder: Path = PACKAGE) -> list[tuple[str, str]]:
    found = []
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found += [(str(path.relative_to(folder)), alias.name) for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                found += [(str(path.relative_to(folder)), f"{node.module}.{alias.name}") for alias in node.names]
    return found


def test_rooms_import_downwards_only():
    wrong = []
    for importer, imported in imports():
        room, parts = importer.split("/")[0], imported.split(".")
        other = parts[1] if parts[0] == "archgauge" and len(parts) > 1 else ""
        if room in ROOMS and other in ROOMS and other != room and ROOMS[other] >= ROOMS[room]:
            wrong.append(f"{importer} imports {imported}")
    assert wrong == []


def test_a_private_module_is_imported_by_its_own_package_only():
    """`a/_b.py` may be imported within `a`; scripts and other rooms use what is public."""
    wrong = []
    for importer, imported in [*imports(), *imports(PACKAGE.parent / "workflow_scripts")]:
        package, parts = importer.split("/")[:-1], imported.split(".")
        private = [at for at, part in enumerate(parts) if part.startswith("_")]
        if parts[0] == "archgauge" and private and parts[1 : private[0]] != package:
            wrong.append(f"{importer} imports {imported}")
    assert wrong == []


def test_every_room_has_a_floor():
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert rooms == set(ROOMS)


@pytest.mark.parametrize("library", DOORS)
def test_one_library_has_one_door(library):
    importers = {importer for importer, imported in imports() if imported.split(".")[0] == library}
    assert importers == DOORS[library]


def test_init_files_are_empty():
    assert [path for path in PACKAGE.rglob("__init__.py") if path.read_text()] == []
