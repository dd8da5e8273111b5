"""Files of plugins: what they register, and what is said of one that cannot be used."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from plugin_files import PLUGINS, forget, loaded, writer

import locbench
from locbench import plugins
from locbench.errors import FailureError, LocbenchError, UsageError
from locbench.spec.components import BRANCHES
from locbench.spec.methods import METHODS
from locbench.spec.networks import NETWORKS

SMOOTHED = PLUGINS / "smoothed.py"


def refusal(path: Path) -> LocbenchError:
    """Return the error of loading a plugin, after which nothing of it is left."""
    names = [list(each) for each in (METHODS, BRANCHES, NETWORKS)]
    with pytest.raises(LocbenchError) as caught, loaded(path):
        pass
    assert [list(each) for each in (METHODS, BRANCHES, NETWORKS)] == names
    assert path.name.removesuffix(".py") not in plugins.LOADED
    return caught.value


def test_public_names_and_their_types_are_the_same_list() -> None:
    stub = Path(locbench.__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    typed = {line.split()[-1] for line in stub.splitlines() if line.startswith("from")}
    assert typed | {"__version__"} == set(dir(locbench)) == set(locbench.__all__)
    assert all(hasattr(locbench, name) for name in locbench.__all__)
    with pytest.raises(AttributeError, match="Methods"):
        _ = locbench.Methods  # type: ignore[attr-defined]


def test_a_file_registers_its_components_under_its_name() -> None:
    with loaded(SMOOTHED):
        assert METHODS.plugin_of("smoothed") == BRANCHES.plugin_of("smoothed") == "smoothed"
        assert METHODS.plugin_of("dgl") == ""
        assert METHODS.names_of("smoothed") == ["smoothed"]
        digest = hashlib.sha256(SMOOTHED.read_bytes()).hexdigest()
        assert plugins.LOADED["smoothed"] == plugins.Plugin("smoothed", digest, str(SMOOTHED))
        assert os.environ["LOCBENCH_PLUGINS"] == str(SMOOTHED)
        plugins.load_plugins([SMOOTHED])  # a second time is no fault
    assert "smoothed" not in METHODS


def test_what_a_plugin_made_can_be_pickled() -> None:
    with loaded(SMOOTHED):
        branch = BRANCHES["smoothed"].options()
        assert pickle.loads(pickle.dumps(branch)) == branch


def test_several_files_of_the_environment_and_of_the_options_are_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LOCBENCH_PLUGINS", str(SMOOTHED))
    with loaded(PLUGINS / "bars.py"):
        assert {"smoothed"} <= set(METHODS)
        assert {"convnet3"} <= set(NETWORKS)
        assert os.environ["LOCBENCH_PLUGINS"].split(os.pathsep) == [
            str(SMOOTHED),
            str(PLUGINS / "bars.py"),
        ]


BAD: dict[str, tuple[str, type[LocbenchError], str]] = {
    "syntax": ("x = 1\nif True print(x)\n", FailureError, ":2: SyntaxError: "),
    "import": ("\nimport not_there\n", FailureError, ":2: ModuleNotFoundError: No module named"),
    "name": (
        "from locbench import Methods\n",
        FailureError,
        ":1: ImportError: cannot import name 'Methods'",
    ),
    "exit": ("raise SystemExit(3)\n", FailureError, ":1: SystemExit: 3"),
    "any error": ("\n\n1 / 0\n", FailureError, ":3: ZeroDivisionError: division by zero"),
    "twice": (
        "from locbench import METHODS, Method\n"
        "class Own(Method, frozen=True): pass\n"
        "METHODS.add('own', Own)\n"
        "METHODS.add('own', Own)\n",
        UsageError,
        ":4: the method 'own' is registered twice: the plugin 'own' has one",
    ),
    "one of ours": (
        "from locbench import METHODS, Method\n"
        "@METHODS.register('dgl')\nclass Own(Method, frozen=True): pass\n",
        UsageError,
        "the method 'dgl' is registered twice: locbench has one",
    ),
    "no default": (
        "from locbench import METHODS, Method\n"
        "@METHODS.register('own')\nclass Own(Method, frozen=True):\n    depth: int\n",
        UsageError,
        "the method 'own': its option 'depth' has no default",
    ),
    "no struct": (
        "from locbench import METHODS\n@METHODS.register('own')\nclass Own: pass\n",
        UsageError,
        "the method 'own': it is no subclass of locbench.Method",
    ),
    "branch that is no struct": (
        "from locbench import BRANCHES\n@BRANCHES.built_by(print)\nclass Own: pass\n",
        UsageError,
        "the auxiliary branch 'Own': it is no subclass of locbench.Branch",
    ),
    "branch without a net": (
        "from locbench import BRANCHES, Branch\n"
        "@BRANCHES.built_by(None)\nclass Own(Branch, frozen=True, tag='own'): pass\n",
        UsageError,
        "the auxiliary branch 'own': what builds its net is no function and no class: None",
    ),
    "plus": (
        "from locbench import METHODS, Method\n"
        "@METHODS.register('my+own')\nclass Own(Method, frozen=True): pass\n",
        UsageError,
        "the method 'my+own': its name has '+' in it",
    ),
    "network": (
        "from locbench import NETWORKS\nNETWORKS.add('own', print)\n",
        UsageError,
        ":2: the network 'own': it is no locbench.NetworkInfo",
    ),
    "network of another name": (
        "from locbench import NETWORKS, NetworkInfo\n"
        "NETWORKS.add('own', NetworkInfo('other', 'Own', 3, print))\n",
        UsageError,
        ":2: the network 'own': its NetworkInfo is named 'other'",
    ),
    "data set": (
        "from locbench import DATASETS, DatasetInfo\n"
        "DATASETS.add('a:b', DatasetInfo('a:b', 'Own', 3, 8, 9, 9))\n",
        UsageError,
        ":2: the data set 'a:b': its name has ':' in it",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_plugin_is_one_message_with_file_and_line(tmp_path: Path, name: str) -> None:
    text, kind, words = BAD[name]
    path = writer(tmp_path)(text)
    error = refusal(path)
    assert type(error) is kind
    assert str(path) in error.message
    assert words in error.message
    assert error.remedy


def test_what_a_broken_plugin_had_registered_is_gone(tmp_path: Path) -> None:
    refusal(writer(tmp_path)(SMOOTHED.read_text(encoding="utf-8") + "\n1 / 0\n"))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    error = refusal(tmp_path / "gone.py")
    assert isinstance(error, UsageError)
    assert f"there is no plugin {tmp_path / 'gone.py'}" in error.message


def test_two_files_of_one_name(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    first, second = (writer(folder)("") for folder in (tmp_path, tmp_path / "other"))
    with loaded(first), pytest.raises(UsageError, match="two plugins are named 'own'"):
        plugins.load_plugins([second])


class Package(SimpleNamespace):
    """An entry point as `importlib.metadata` gives it."""

    def load(self) -> Any:
        return __import__(self.module)

    def __hash__(self) -> int:
        return hash(self.name)


def test_packages_are_found_by_their_entry_points_and_a_broken_one_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = SMOOTHED.read_text(encoding="utf-8")
    (tmp_path / "sound_package").mkdir()
    (tmp_path / "sound_package" / "__init__.py").write_text("from . import own\n")
    (tmp_path / "sound_package" / "own.py").write_text(text)
    (tmp_path / "broken_module.py").write_text("\n1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = [
        Package(name=name, module=module, value=module)
        for name, module in (("sound", "sound_package"), ("broken", "broken_module"))
    ]
    monkeypatch.setattr(plugins, "entry_points", lambda group: found * (group == plugins.GROUP))
    monkeypatch.setattr(plugins, "_tried", set())
    known = dict(plugins.LOADED)
    try:
        (line,) = plugins.load_plugins()
        assert line.startswith("left out: the plugin 'broken' cannot be imported")
        assert "broken_module.py:2: ZeroDivisionError" in line
        assert METHODS.plugin_of("smoothed") == "sound"
        content = b"from . import own\n" + text.encode()  # __init__.py, own.py
        assert plugins.LOADED["sound"].digest == hashlib.sha256(content).hexdigest()
        assert plugins.load_plugins() == []
    finally:
        for name in plugins.LOADED.keys() - known.keys():
            forget(name)


def test_without_plugins_listing_imports_no_torch(tmp_path: Path) -> None:
    script = (
        "import sys; from locbench.cli.app import app\n"
        "try: app(['list'])\nexcept SystemExit: pass\n"
        "print([name for name in ('torch', 'numpy') if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stderr.strip().endswith("[]")


def test_what_the_package_registers_is_none_of_a_plugin_that_imports_it() -> None:
    script = (
        "from pathlib import Path; from locbench.plugins import load_plugins\n"
        f"load_plugins([Path({str(SMOOTHED)!r}), Path({str(PLUGINS / 'bars.py')!r})])\n"
        "import locbench\n"
        "for kind in ('METHODS', 'MODIFIERS', 'BRANCHES', 'NETWORKS', 'DATASETS'):\n"
        "    of = getattr(locbench, kind)\n"
        "    print(kind, [name for name in of if of.plugin_of(name)])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "METHODS ['smoothed']",
        "MODIFIERS []",
        "BRANCHES ['smoothed']",
        "NETWORKS ['convnet3']",
        "DATASETS ['bars']",
    ], done.stderr
