"""Records of plugins: what they keep, and what is said where a plugin is not loaded or changed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest
from plugin_files import PLUGINS, loaded, writer
from report_builders import make_record, make_table, recipe_at
from specimens import recipe, recipe_of

from locbench.report.compare import compare
from locbench.results.plugin_use import changed_lines, changed_plugins, plugins_of
from locbench.results.record import Record
from locbench.results.store import Store
from locbench.spec.recipe import Recipe

SMOOTHED, BARS = PLUGINS / "smoothed.py", PLUGINS / "bars.py"
DIGESTS = {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in (SMOOTHED, BARS)}


def of_bars(method: str = "dgl") -> Recipe:
    return recipe_of(method, {}, network="convnet3", dataset="bars")


def save(store: Store, of: Recipe) -> Path:
    """Record a run of a recipe with the plugins that are loaded."""
    plugins = plugins_of(of) or msgspec.UNSET
    return store.save(make_record(of, 50.0, provenance={"plugins": plugins}))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "results")
    made.prepare()
    return made


def reasons(store: Store) -> list[str]:
    """Return why files are set aside, read by a process that has met none of them."""
    again = Store(store.folder)
    assert [record.recipe.method for record in again.all()] == ["dgl"]
    return list(again.set_aside.why.values())


def test_a_recipe_uses_the_plugins_of_its_network_data_set_method_and_branches() -> None:
    with loaded(SMOOTHED, BARS):
        assert plugins_of(recipe("dgl")) == {}
        assert plugins_of(recipe("smoothed")) == {"smoothed": DIGESTS["smoothed"]}
        assert plugins_of(recipe("pgl+smoothed")) == {"smoothed": DIGESTS["smoothed"]}
        assert plugins_of(of_bars()) == {"bars": DIGESTS["bars"]}
        assert plugins_of(of_bars("smoothed")) == DIGESTS
        renamed = msgspec.structs.replace(recipe("smoothed"), method="as I call it")
        assert plugins_of(renamed) == {"smoothed": DIGESTS["smoothed"]}


def test_a_record_names_its_plugins_and_one_without_has_no_such_field(store: Store) -> None:
    with loaded(SMOOTHED):
        made = save(store, recipe("smoothed")).read_bytes()
        plain = save(store, recipe("dgl")).read_bytes()
        again = msgspec.json.decode(made, type=Record)
        assert again.provenance.plugin_digests == {"smoothed": DIGESTS["smoothed"]}
    assert msgspec.json.decode(made)["provenance"]["plugins"] == {"smoothed": DIGESTS["smoothed"]}
    assert "plugins" not in msgspec.json.decode(plain)["provenance"]
    assert msgspec.json.decode(plain, type=Record).provenance.plugin_digests == {}


@pytest.mark.parametrize(
    ("method", "network", "dataset", "reason"),
    [
        ("smoothed", "resnet8", "digits", "its method 'smoothed' is of the plugin 'smoothed'"),
        ("pgl+smoothed", "resnet8", "digits", "its method 'smoothed' is of the plugin 'smoothed'"),
        ("head", "convnet3", "digits", "its network 'convnet3' is of the plugin 'bars'"),
        ("head", "resnet8", "bars", "its data set 'bars' is of the plugin 'bars'"),
        ("smoothed", "convnet3", "bars", "is of the plugin 'bars' or 'smoothed'"),
    ],
)
def test_a_record_of_a_plugin_that_is_not_loaded_is_set_aside_with_the_reason(
    store: Store, method: str, network: str, dataset: str, reason: str
) -> None:
    with loaded(SMOOTHED, BARS):
        path = save(store, recipe_of(method, {}, network=network, dataset=dataset))
        save(store, recipe("dgl"))
    (said,) = reasons(store)
    assert reason in said
    assert said.endswith("which is not loaded (--plugin FILE.py)")
    assert path.is_file()
    with loaded(SMOOTHED, BARS):
        assert len(list(Store(store.folder).all())) == 2


def test_a_record_of_another_version_of_a_plugin_is_there_and_marked(
    store: Store, tmp_path: Path
) -> None:
    text = SMOOTHED.read_text(encoding="utf-8")
    with loaded(SMOOTHED):
        save(store, recipe("smoothed"))
        (record,) = store.all()
        assert changed_plugins(record) == []
        assert changed_lines([record]) == []
    with loaded(writer(tmp_path)(text + "\n# mended\n", "smoothed.py")):
        (record,) = store.all()
        assert changed_plugins(record) == ["smoothed"]
        assert changed_lines([record, record]) == [
            "1 record was made with another version of the plugin 'smoothed' than the one that is "
            "loaded."
        ]


def test_a_plugin_that_decides_another_key_since_is_named(store: Store, tmp_path: Path) -> None:
    text = SMOOTHED.read_text(encoding="utf-8")
    with loaded(SMOOTHED):
        save(store, recipe("smoothed", smoothing=0.3))
        save(store, recipe("dgl"))
    with loaded(writer(tmp_path)(text.replace("0.1", "0.3"), "smoothed.py")):
        (said,) = reasons(store)
    assert "its recipe has the key" in said
    assert said.endswith("its plugin 'smoothed' has changed since it was made")
    with loaded(writer(tmp_path)(text.replace("smoothing: float", "share: float"), "smoothed.py")):
        (said,) = reasons(store)
    assert "unknown field `smoothing`" in said
    assert said.endswith("its plugin 'smoothed' has changed since it was made")


def test_what_is_wrong_otherwise_is_said_as_ever(store: Store) -> None:
    path = save(store, recipe("head"))
    save(store, recipe("dgl"))
    path.write_bytes(path.read_bytes().replace(b'"resnet8"', b'"resnet9"'))
    assert reasons(store) == ["recipe: unknown network 'resnet9'"]


def test_a_report_says_of_which_plugin_a_run_is(tmp_path: Path) -> None:
    table = make_table()
    record = make_record(
        recipe_at(table, "DGL"), 90.0, provenance={"plugins": {"smoothed": "0" * 64}}
    )
    (comparison,) = compare(table, [record])
    assert comparison.sources.versions == ("torch 2.6, plugin smoothed 000000000000",)
    assert comparison.notes == ()
    with loaded(SMOOTHED):
        (comparison,) = compare(table, [record])
    assert comparison.notes == (
        "1 record was made with another version of the plugin 'smoothed' than the one that is "
        "loaded.",
    )
