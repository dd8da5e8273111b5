"""Plugins in files, loaded for one test and forgotten after it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from locbench import plugins, registry

PLUGINS = Path(__file__).parents[1] / "plugins"
"""The examples of CONTRIBUTING.md, in whole files."""


@contextmanager
def loaded(*files: Path) -> Iterator[None]:
    """Load files of plugins, and leave the process as it was before."""
    before, known = os.environ.get(plugins.VARIABLE), dict(plugins.LOADED)
    try:
        plugins.load_plugins(files)
        yield
    finally:
        for name in plugins.LOADED.keys() - known.keys():
            forget(name)
        os.environ.pop(plugins.VARIABLE, None)
        if before is not None:
            os.environ[plugins.VARIABLE] = before


def forget(name: str) -> None:
    del plugins.LOADED[name]
    sys.modules.pop(plugins.MODULE + name, None)
    for each in registry._REGISTRIES:
        for component in each.names_of(name):
            each.remove(component)


def writer(folder: Path) -> Callable[..., Path]:
    """Return a function that writes a plugin of some lines and returns its file."""

    def write(text: str, name: str = "own.py") -> Path:
        path = folder / name
        path.write_text(text, encoding="utf-8")
        return path

    return write
