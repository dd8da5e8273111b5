"""The loader of tables: every fault is one message with file and place."""

from __future__ import annotations

from pathlib import Path

import pytest

from locbench.errors import FailureError, LocbenchError, UsageError
from locbench.spec import table_files
from locbench.spec.table_files import load_table, load_tables, read_table, table_ids
from locbench.spec.tables import merge, parse_published

GOOD = """\
id = "sample"
paper = "pgl"
number = "Table 9"
title = "A sample"
source = "nowhere"

[recipe]
network = "resnet32"
dataset = "cifar10"
epochs = 160
batch_size = 1024
lr = 0.8

[metrics.test_acc]
unit = "%"

[[rows]]
label = "DGL"
recipe = { method = "dgl" }

[[rows]]
label = "Backprop"
recipe = { method = "bp" }
alone = true

[[columns]]
label = "J=16"
recipe = { modules = 16 }

[[columns]]
label = "J=8"
recipe = { modules = 8 }

[published.test_acc]
"DGL" = ["83.63", "85.70 ± 0.12"]
"Backprop" = ["93.0", ""]

[[derived]]
label = "gain"
metric = "test_acc"
unit = "pp"
formula = "difference"

[derived.against]
"DGL" = "Backprop"

[derived.printed]
"DGL" = ["9.37", ""]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(table_files, "shipped_folder", lambda: tmp_path)
    (tmp_path / "sample.toml").write_text(GOOD, encoding="utf-8")
    return tmp_path


def spoil(folder: Path, old: str, new: str) -> FailureError:
    """Change the sample, read it, and return the error after checking that it names the file."""
    assert old in GOOD
    path = folder / "sample.toml"
    path.write_text(GOOD.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(LocbenchError) as caught:
        read_table(path)
    error = caught.value
    assert isinstance(error, FailureError)
    assert str(path) in error.message
    assert error.remedy
    assert "Traceback" not in str(error)
    return error


def test_reads_cells_row_by_row(folder: Path) -> None:
    table = load_table("sample")
    assert [(each.row, each.column) for each in table.cells] == [
        ("DGL", "J=16"),
        ("DGL", "J=8"),
        ("Backprop", "J=16"),
    ]
    assert table.values == 3
    first, second, last = (each.published["test_acc"] for each in table.cells)
    assert (first.value, first.std, first.decimals) == (83.63, None, 2)
    assert (second.value, second.std) == (85.70, 0.12)
    assert (last.value, last.decimals) == (93.0, 1)


def test_a_row_that_stands_alone_takes_nothing_from_the_columns(folder: Path) -> None:
    alone = load_table("sample").cells[-1]
    assert alone.recipe is not None
    assert alone.recipe.modules is None


def test_settings_of_a_cell_make_its_recipe(folder: Path) -> None:
    table = load_table("sample")
    assert table.settings(table.cells[1]) == table.recipe | {"method": "dgl", "modules": 8}


def test_computed_tables_have_every_cell(folder: Path) -> None:
    (folder / "sample.toml").write_text(
        GOOD.replace("[recipe]", "computed = true\n\n[recipe]", 1), encoding="utf-8"
    )
    table = load_table("sample")
    assert len(table.cells) == 4
    assert table.values == 3


def test_blocked_rows_have_no_recipe_and_are_not_checked(folder: Path) -> None:
    text = GOOD.replace(
        'recipe = { method = "dgl" }', 'recipe = { method = "later" }\nblocked = "not yet"'
    )
    (folder / "sample.toml").write_text(text, encoding="utf-8")
    cells = load_table("sample").cells
    assert [each.recipe is None for each in cells] == [True, True, False]
    assert [each.blocked for each in cells] == ["not yet", "not yet", ""]


def test_malformed_toml_names_line(folder: Path) -> None:
    error = spoil(folder, 'unit = "%"', 'unit = "%')
    assert "not valid TOML" in error.message
    assert "line 15" in error.message


def test_a_file_that_is_not_text(folder: Path) -> None:
    path = folder / "sample.toml"
    path.write_bytes(b"id = \xff")
    with pytest.raises(FailureError, match="not valid TOML"):
        read_table(path)


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ('title = "A sample"', 'titel = "A sample"', "titel"),
        ('number = "Table 9"', 'number = "Table 9"\nvolume = 3', "volume"),
        ("alone = true", "alon = true", "$.rows[1]"),
        ('number = "Table 9"', "number = 9", "$.number"),
        ('paper = "pgl"', 'paper = "pgp"', "$.paper"),
        ("alone = true", 'alone = "yes"', "$.rows[1].alone"),
        ('["83.63", "85.70 ± 0.12"]', '[83.63, "85.70"]', "$.published.test_acc.'DGL'[0]"),
        ('unit = "%"', 'unit = "%"\nkind = "guessed"', "$.metrics[...].kind"),
        ('formula = "difference"', 'formula = "ratio"', "$.derived[0].formula"),
    ],
)
def test_unknown_keys_and_wrong_types_name_the_key(
    folder: Path, old: str, new: str, place: str
) -> None:
    assert place in spoil(folder, old, new).message


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('id = "sample"', 'id = "other"', ["key id", "'other'"]),
        ('["93.0", ""]', '["93.0"]', ["published.test_acc.'Backprop'", "1 values for 2 columns"]),
        (
            '["93.0", ""]',
            '["93.0", "", ""]',
            ["published.test_acc.'Backprop'", "3 values for 2 columns"],
        ),
        ('["9.37", ""]', '["9.37"]', ["derived[0].printed.'DGL'", "1 values for 2 columns"]),
        ('label = "Backprop"', 'label = "DGL"', ["rows", "'DGL' is there twice"]),
        ('label = "J=8"', 'label = "J=16"', ["columns", "'J=16' is there twice"]),
        ("[published.test_acc]", "[published.test_err]", ["test_err", "not declared", "test_acc"]),
        ('metric = "test_acc"', 'metric = "params"', ["params", "not declared"]),
        ('"Backprop" = ["93.0"', '"Backprob" = ["93.0"', ["'Backprob'", "no such row", "Backprop"]),
        ('"DGL" = "Backprop"', '"DGL" = "BP"', ["derived[0].against", "'BP'"]),
        ('"DGL" = "Backprop"', '"Backprop" = "DGL"', ["derived[0].against", "'DGL'"]),
        ('"85.70 ± 0.12"', '"85.70.12"', ["row 'DGL', column 'J=8'", "'85.70.12' is not a number"]),
        ('"83.63"', '"83.63%"', ["'83.63%' is not a number"]),
    ],
)
def test_faults_of_the_grid(folder: Path, old: str, new: str, words: list[str]) -> None:
    message = spoil(folder, old, new).message
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('method = "dgl"', 'method = "dlg"', ["unknown method 'dlg'", "dgl"]),
        ('method = "dgl"', 'method = "hpff+dgl+infopro"', ["exactly one base method"]),
        ('method = "dgl"', 'method = "dgl", options = { depth = 2 }', ["no option 'depth'"]),
        ('method = "dgl"', 'method = "dgl", options = { variant = "huge" }', ["huge"]),
        ('method = "dgl"', 'method = "dgl", options = 3', []),
        (
            'method = "dgl"',
            'method = "dgl", epoch = 3',
            ["unknown recipe setting 'epoch'", "epochs"],
        ),
        (
            'network = "resnet32"',
            'network = "resnet33"',
            ["unknown network 'resnet33'", "resnet32"],
        ),
        ("modules = 16", "modules = 17", ["cannot be cut into 17 modules"]),
        ("modules = 16", 'modules = "many"', []),
        ("epochs = 160", "epochs = 0", ["epochs is 0"]),
        ("lr = 0.8", 'lr = "fast"', ["lr"]),
        ("lr = 0.8\n", "", ["'lr' is missing"]),
    ],
)
def test_faults_of_a_recipe(folder: Path, old: str, new: str, words: list[str]) -> None:
    message = spoil(folder, old, new).message
    assert "row 'DGL', column 'J=16': " in message
    assert all(word in message for word in words), message


def test_unknown_table_has_a_suggestion(folder: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_table("smaple")
    assert "unknown table 'smaple'" in caught.value.message
    assert "Did you mean 'sample'?" in caught.value.remedy
    assert caught.value.exit_code == 2


def test_every_shipped_table_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCBENCH_TABLES", raising=False)
    assert [table.id for table in load_tables()] == table_ids()
    assert "pgl-period" in table_ids()


def test_merge_joins_options_key_by_key() -> None:
    merged = merge({"lr": 1, "options": {"a": 1, "b": 1}}, {}, {"lr": 2, "options": {"b": 2}})
    assert merged == {"lr": 2, "options": {"a": 1, "b": 2}}


@pytest.mark.parametrize(
    ("text", "value", "std", "decimals"),
    [
        ("93.73 ± 0.04", 93.73, 0.04, 2),
        ("93.73 +- 0.04", 93.73, 0.04, 2),
        ("-1.5", -1.5, None, 1),
        ("7", 7.0, None, 0),
    ],
)
def test_parse_published(text: str, value: float, std: float | None, decimals: int) -> None:
    published = parse_published(text, "trained")
    assert (published.value, published.std, published.decimals) == (value, std, decimals)


def test_text_cells_stay_text() -> None:
    published = parse_published("AP-10FC / 16C3", "text")
    assert (published.text, published.value) == ("AP-10FC / 16C3", None)
