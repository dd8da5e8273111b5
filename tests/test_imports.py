"""The four storeys: imports run down only, without circles, and data needs no torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import locbench

PACKAGE = Path(locbench.__file__).parent

STOREYS = (
    (
        *("__init__", "errors", "registry", "files", "printable"),
        *("console", "figures", "plugins", "processes", "torchrun"),
    ),
    ("datasets",),
    ("spec",),
    ("data",),
    ("networks",),
    ("learning",),
    ("training",),
    ("detection",),
    ("contract",),
    ("results",),
    ("costs",),
    ("bench",),
    ("execution",),
    ("analysis",),
    ("report",),
    ("terminal",),
    ("commands",),
    ("api",),
    ("cli", "__main__"),
)
"""Rooms, lowest first.

Files of one line are the ground. A file imports its own room and what is below.
"""

RANK = {room: rank for rank, rooms in enumerate(STOREYS) for room in rooms}


def module_name(path: Path) -> str:
    name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    return name.removesuffix(".__init__")


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def imported(path: Path) -> set[str]:
    """Every module of the package that a file imports, in functions and for type checkers too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in names}
    return {name for name in found if name in MODULES}


IMPORTS = {module: imported(path) - {module} for module, path in MODULES.items()}


def test_every_room_has_its_storey() -> None:
    assert {room(module) for module in MODULES} == set(RANK)


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_down(module: str) -> None:
    assert [name for name in IMPORTS[module] if RANK[room(name)] > RANK[room(module)]] == []


def test_no_files_import_each_other() -> None:
    """Take away files that import nothing that is left, again and again, until a circle stays."""
    left = dict(IMPORTS)
    while free := [module for module, names in left.items() if not names & left.keys()]:
        for module in free:
            del left[module]
    assert sorted(left) == []


def test_data_needs_neither_torch_nor_numpy() -> None:
    """The whole storey of data, and the ground below it, imported in a fresh process."""
    light = [module for module in MODULES if RANK[room(module)] <= RANK["spec"]]
    light.remove("locbench.figures")  # the plots' own file
    script = f"import importlib, sys\nfor name in {light}: importlib.import_module(name)\n"
    script += "print([name for name in ('torch', 'numpy') if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
