"""Plugins: files and packages of a user that register components of their own.

A plugin is a Python file, given with ``--plugin`` or in ``LOCBENCH_PLUGINS``, or an installed
package's entry point in the group ``locbench.plugins``. Importing it registers what it has.
"""

from __future__ import annotations

import hashlib
import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from importlib.metadata import EntryPoint, entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import msgspec

import locbench
from locbench.errors import FailureError, LocbenchError, UsageError
from locbench.files import read_regular, user_path
from locbench.registry import RegistrationError, registered_by

VARIABLE = "LOCBENCH_PLUGINS"
"""Environment variable with the files of plugins, joined as those of ``PATH`` are."""

GROUP = "locbench.plugins"

MODULE = "locbench_plugin_"
"""How the modules of plugin files begin; other processes find what was pickled by these names."""


class Plugin(msgspec.Struct, frozen=True):
    """A plugin that is loaded.

    Attributes:
        name: of the file without its ending, or of the entry point.
        digest: SHA-256 of the file, or over all modules of the package, in hexadecimal digits.
        path: of the file or of the package's folder.
    """

    name: str
    digest: str
    path: str


LOADED: dict[str, Plugin] = {}
"""The plugins of this process by name."""

_REGISTRIES = ("METHODS", "MODIFIERS", "BRANCHES", "NETWORKS", "DATASETS")
"""Public names of what plugins add to.

They are imported before a plugin is: what the package registers itself then is none of a plugin.
"""

_tried: set[EntryPoint] = set()
"""Entry points that this process has loaded, or could not load."""


def load_plugins(files: Iterable[Path] = ()) -> list[str]:
    """Import the plugins of the environment, those of installed packages, and some files.

    What is loaded already stays as it is. The environment names all files afterwards, so that
    processes which are started from here load the same.

    Args:
        files: with plugins.

    Returns:
        A sentence for each package whose plugin cannot be used; the others are loaded.

    Raises:
        UsageError: there is no such file, or it registers what cannot be registered.
        FailureError: a file cannot be imported.
    """
    named = [each for each in os.environ.get(VARIABLE, "").split(os.pathsep) if each]
    paths = list(dict.fromkeys(_resolved(str(each)) for each in (*named, *files)))
    left_out = []
    found = {each for each in entry_points(group=GROUP) if each not in _tried}
    if found or paths:
        for registry in _REGISTRIES:
            getattr(locbench, registry)
    for entry_point in sorted(found, key=lambda each: each.name):
        _tried.add(entry_point)
        try:
            _load_package(entry_point)
        except LocbenchError as error:
            left_out.append(f"left out: {error.message}")
    for path in paths:
        _load_file(path)
    if paths:
        os.environ[VARIABLE] = os.pathsep.join(map(str, paths))
    return left_out


def blamed(error: BaseException) -> str:
    """Return the innermost place in a plugin that an error came through, as ``FILE:LINE``.

    Empty if it came through none.
    """
    sources = tuple(plugin.path for plugin in LOADED.values())
    return next(_places(error, sources), "")


def _resolved(file: str) -> Path:
    path = Path(os.path.realpath(user_path(file)))
    if os.pathsep in str(path):
        raise UsageError(
            f"the path of the plugin {path} has {os.pathsep!r} in it, which joins those in "
            f"{VARIABLE}",
            "Rename it.",
        )
    return path


def _load_file(path: Path) -> None:
    name = path.name.removesuffix(".py")
    loaded = LOADED.get(name)
    if loaded is not None and loaded.path == str(path):
        return
    if not path.is_file():
        raise UsageError(
            f"there is no plugin {path}",
            f"Give a Python file with --plugin FILE.py, or in {VARIABLE}.",
        )
    _refuse_second(name, str(path))
    try:
        digest = hashlib.sha256(read_regular(path)).hexdigest()
    except OSError as error:
        raise FailureError(
            f"the plugin {path} cannot be read: {error.strerror}", "Give another file."
        ) from None
    module_name = MODULE + name.replace(".", "_")
    spec = spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"the plugin {path} is no Python file", "Name it NAME.py.")
    module = module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        with registered_by(name):
            spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[module_name]
        if not isinstance(error, Exception | SystemExit):
            raise
        raise _explained(name, str(path), error) from error
    LOADED[name] = Plugin(name, digest, str(path))


def _load_package(entry_point: EntryPoint) -> None:
    name = entry_point.name
    _refuse_second(name, f"{GROUP}: {entry_point.value}")
    try:
        with registered_by(name):
            entry_point.load()
    except Exception as error:
        inner = traceback.extract_tb(error.__traceback__)[-1]
        raise _explained(name, inner.filename, error) from error
    source = _source_of(entry_point.module)
    LOADED[name] = Plugin(name, _digest_of(source), str(source))


def _refuse_second(name: str, where: str) -> None:
    if name in LOADED:
        raise UsageError(
            f"two plugins are named {name!r}: {LOADED[name].path} and {where}",
            "Rename one of them, since records name their plugins.",
        )


def _source_of(module: str) -> Path:
    """Return the file of a module, or the folder of the package that it is in."""
    file = Path(sys.modules[module.partition(".")[0]].__file__ or "")
    return file.parent if file.name == "__init__.py" else file


def _digest_of(source: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(source.rglob("*.py")) if source.is_dir() else [source]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _explained(name: str, where: str, error: BaseException) -> LocbenchError:
    """Return an error of a plugin's import in one message with its place."""
    if isinstance(error, SyntaxError) and error.filename:
        place, text = f"{error.filename}:{error.lineno}", error.msg
    else:
        place, text = next(_places(error, (where,)), where), str(error)
    if isinstance(error, RegistrationError):
        return UsageError(f"the plugin {place}: {text}", "Change that in the plugin.")
    what = f"{type(error).__name__}: {text}".removesuffix(": ")
    missing = isinstance(error, ModuleNotFoundError)
    return FailureError(
        f"the plugin {name!r} cannot be imported: {place}: {what}",
        "Install what it imports; a plugin of several files is a package."
        if missing
        else "Correct that line. LOCBENCH_DEBUG=1 shows the whole traceback.",
    )


def _places(error: BaseException, sources: tuple[str, ...]) -> Iterator[str]:
    """Yield the frames of an error that are in some files or folders, innermost first."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if any(
            frame.filename == each or frame.filename.startswith(each + os.sep) for each in sources
        ):
            yield f"{frame.filename}:{frame.lineno}"
