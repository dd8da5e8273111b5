"""Table files, each read and validated by itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from small_table import MINI, Bench

from locbench.errors import FailureError, LocbenchError
from locbench.execution.job import published_backbones
from locbench.spec import table_files
from locbench.spec.arguments import published_settings
from locbench.spec.table_files import (
    load_table,
    load_tables,
    read_table,
    shipped_folder,
    table_ids,
)

DERIVED = """
[[derived]]
label = "drop"
metric = "test_acc"
unit = "pp"
formula = "difference"
against = { "Digits / DGL" = "Backprop" }
printed = { "Digits / DGL" = ["9.37", ""] }
"""
GOOD = MINI + DERIVED
SHIPPED = Path(__file__).parents[2] / "tables"


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    return Bench(tmp_path, monkeypatch, capsys)


FAULTS = [
    ("trials = 2", "trials = -1", ["$.trials", ">= 1"]),
    ("trials = 2", "trials = 0", ["$.trials"]),
    ("trials = 2", "trials = 100000000000", ["$.trials", "<= 1000"]),
    ("trials = 2", f"trials = {'9' * 400}", ["mini.toml"]),
    ("trials = 2", f"trials = {'9' * 5000}", ["not valid TOML"]),
    (
        'dataset = "digits"',
        'dataset = "digit"',
        ["unknown data set 'digit'", "Did you mean 'digits'?", "row "],
    ),
    ('dataset = "digits"', 'dataset = ""', ["unknown data set ''"]),
    ('dataset = "digits"', "dataset = 3", ["'dataset' is 3"]),
    (
        '["9.37", ""]',
        '["much", ""]',
        ["derived[0].printed.'Digits / DGL'", "'much' is not a number", "J=4"],
    ),
    ('["9.37", ""]', f'["{"9" * 400}", ""]', ["derived[0].printed", "out of range"]),
    ('unit = "%"', 'unit = "parsec"', ["metrics.test_acc.unit", "'parsec' is not its unit", "'%'"]),
    (
        'unit = "%"',
        'unit = "%"\nkind = "exact"',
        ["metrics.test_acc.kind", "'exact' is not how test_acc comes about"],
    ),
    ('"85.70 ± 0.12"', '"85.70 ± 120"', ["published.test_acc", "J=2", "out of range"]),
    ('unit = "%"', 'unit = ""', ["metrics.test_acc.unit"]),
    ('unit = "pp"', 'unit = "GB"', ["derived[0].unit", "'pp'"]),
    ('metric = "test_acc"\nunit', 'metric = "x"\nunit', ["derived[0].metric", "not declared"]),
    ('formula = "difference"', 'formula = "reduction"', ["derived[0].unit", "write '%'"]),
    (
        '"Digits / DGL" = "Backprop" }',
        '"Digits / DGL" = "Digits / DGL" }',
        ["derived[0].against", "its own reference"],
    ),
    (
        '{ "Digits / DGL" = "Backprop" }',
        '{ "Digits / DGL" = "Backprop", "Backprop" = "Digits / DGL" }',
        ["derived[0].against", "its own reference"],
    ),
    (
        '{ "Digits / DGL" = "Backprop" }',
        '{ "Digits / DGL" = "Backprop", "X" = "Backprop" }',
        ["against", "'X'"],
    ),
    (
        '["83.63"',
        '["500.0"',
        ["published.test_acc.'Digits / DGL'", "J=4", "'500.0' is out of range"],
    ),
    ('["83.63"', '["-1.0"', ["'-1.0' is out of range"]),
    ('["83.63"', '["nan"', ["'nan' is not a number"]),
    ("[metrics.test_acc]", "[metrics.test_ac]", ["metrics.test_ac", "Did you mean 'test_acc'"]),
    ('title = "A small', 'title = "\\u001b[2JA small', ["key title", "cannot be printed"]),
    ('label = "J=4"', 'label = ""', ["columns[0].label", "it is empty"]),
    ('source = "Nobody 2024, Table 9"', 'source = " "', ["key source", "it is empty"]),
    (
        '{ method = "dgl" }',
        '{ method = "later", options = 3 }\nblocked = "not yet"',
        ["options", "no table of names"],
    ),
    (
        '{ method = "dgl" }',
        f'{{ method = "dgl", batch_size = {10**30} }}',
        ["'batch_size' is too large"],
    ),
    (
        '{ method = "dgl" }',
        '{ method = "bp+checkpointed", options = { segments = 1e30 } }',
        ["segments"],
    ),
    ('{ method = "dgl" }', "{ method = 1979-05-27 }", ["'method'"]),
    (
        '["The paper contradicts itself."]',
        '[{ of = ["params"], text = "It is so." }]',
        ["notes[0].of", "'params' is no metric of the table"],
    ),
    ('["The paper contradicts itself."]', '[{ text = "It is so." }]', ["notes", "`of`"]),
]


@pytest.mark.parametrize(("old", "new", "words"), FAULTS, ids=[each[1][:30] for each in FAULTS])
def test_a_fault_is_told_with_file_and_key(
    tmp_path: Path, old: str, new: str, words: list[str]
) -> None:
    path = tmp_path / "mini.toml"
    path.write_text(GOOD, encoding="utf-8")
    assert len(read_table(path).cells) == 5
    assert GOOD.count(old) >= 1
    path.write_text(GOOD.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(FailureError) as caught:
        read_table(path)
    assert str(path) in caught.value.message
    missing = [word for word in words if word not in caught.value.message]
    assert not missing, caught.value.message
    assert caught.value.remedy


def test_a_table_that_is_its_own_calibration_is_refused(tmp_path: Path) -> None:
    for name in ("mini", "missing"):
        text = f'{GOOD}\n[calibration]\nhow = "by eye"\nof = "{name}"\n'
        (tmp_path / "mini.toml").write_text(text, encoding="utf-8")
        with pytest.raises(FailureError, match=r"key calibration\.of: '\w+' is no other table"):
            read_table(tmp_path / "mini.toml")


def test_a_windows_editor_may_have_saved_it(tmp_path: Path) -> None:
    (tmp_path / "mini.toml").write_bytes(
        b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode("utf-8")
    )
    assert len(read_table(tmp_path / "mini.toml").cells) == 5


def spoil(folder: Path) -> list[str]:
    """Put beside the small table what is none, and return the names that are told of."""
    (folder / "broken.toml").write_text(GOOD, encoding="utf-8")  # its id is another
    (folder / "deep.toml").write_text(f"a = {'[' * 5000}1{']' * 5000}", encoding="utf-8")
    (folder / "folder.toml").mkdir()
    os.mkfifo(folder / "pipe.toml")
    (folder / "zero.toml").symlink_to("/dev/zero")
    (folder / "nowhere.toml").symlink_to(folder / "missing")
    with (folder / "huge.toml").open("wb") as file:
        file.truncate(1 << 30)
    (folder / "binary.toml").write_bytes(bytes(range(256)))
    (folder / "._mini.toml").write_bytes(b"\x00\x05\x16\x07")  # macOS's, and nobody's fault
    return ["broken", "deep", "folder", "pipe", "zero", "nowhere", "huge", "binary"]


def test_a_broken_table_stops_no_command_about_others(bench: Bench) -> None:
    names = spoil(bench.tables)
    listed = bench.call("list")
    assert listed.code == 0
    assert "mini" in listed.out
    for name in names:
        assert f"left out: {bench.tables / name}.toml: " in listed.err
    assert "._mini" not in listed.err
    assert bench.call("list", "--json").json[0]["id"] == "mini"
    assert bench.call("show", "mini").code == 0
    assert bench.call("table", "mini", "--plan").code == 0
    for name in names:
        called = bench.call("show", name)
        assert called.code == 1
        assert f"{name}.toml" in called.err


def test_what_is_looked_up_in_all_tables_skips_broken_ones(bench: Bench) -> None:
    for name in ("swin-tiny-pretrained", "auglocal-coco"):
        (bench.tables / f"{name}.toml").write_bytes((SHIPPED / f"{name}.toml").read_bytes())
    backbones, settings = published_backbones(), published_settings("swin-tiny")
    assert backbones
    assert settings
    spoil(bench.tables)
    assert published_backbones() == backbones
    assert published_settings("swin-tiny") == settings


def test_only_files_that_name_a_word_are_parsed(bench: Bench) -> None:
    bench.write("id = 3", "other")
    (bench.tables / "auglocal-coco.toml").write_bytes((SHIPPED / "auglocal-coco.toml").read_bytes())
    faults: list[LocbenchError] = []
    assert [each.id for each in load_tables(faults, ["backbone"])] == ["auglocal-coco"]
    assert faults == []
    assert [each.id for each in load_tables(faults, ["resnet8"])] == ["mini"]
    assert load_tables(faults, ["nobody"]) == []


def test_faults_are_raised_unless_they_are_collected(bench: Bench) -> None:
    bench.write("id = 3", "other")
    faults: list[LocbenchError] = []
    assert [each.id for each in load_tables(faults)] == ["mini"]
    assert len(faults) == 1
    with pytest.raises(FailureError, match=r"other\.toml"):
        load_tables()


# Where the tables are


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the package lie in a folder of installed packages beside PyTables, and return that
    folder.
    """
    monkeypatch.delenv("LOCBENCH_TABLES", raising=False)
    (folder / "tables").mkdir()
    (folder / "tables" / "__init__.py").touch()
    (folder / "locbench").mkdir()
    monkeypatch.setattr(
        table_files, "__file__", str(folder / "locbench" / "spec" / "table_files.py")
    )
    return folder


def test_an_installed_package_has_its_own_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = install(tmp_path, monkeypatch)
    with pytest.raises(FailureError, match=r"has no tables: .*published is missing"):
        shipped_folder()
    (folder / "locbench" / "published").mkdir()
    with pytest.raises(FailureError, match=r"there are no tables in .*published"):
        table_ids()
    (folder / "locbench" / "published" / "mini.toml").write_text(MINI, encoding="utf-8")
    assert table_ids() == ["mini"]


def test_a_checkout_is_known_by_its_project_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = install(tmp_path, monkeypatch)
    (folder / "pyproject.toml").write_text('[project]\nname = "tables"\n', encoding="utf-8")
    with pytest.raises(FailureError, match="has no tables"):
        shipped_folder()
    (folder / "pyproject.toml").write_text('[project]\nname = "locbench"\n', encoding="utf-8")
    assert shipped_folder() == folder / "tables"


def own_folder(bench: Bench, name: str = "mine", table_id: str = "own") -> Path:
    """A further folder with one table."""
    folder = bench.folder / name
    folder.mkdir()
    text = MINI.replace('id = "mini"', f'id = "{table_id}"')
    (folder / f"{table_id}.toml").write_text(text, encoding="utf-8")
    return folder


def ids(bench: Bench, *options: str) -> list[str]:
    return [entry["id"] for entry in bench.call("list", "--json", *options).json]


def test_named_folders_add_to_the_shipped_tables(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = own_folder(bench), own_folder(bench, "more", "another")
    assert ids(bench) == ["mini"]
    assert ids(bench, "--tables", "mine") == ["mini", "own"]
    assert ids(bench) == ["mini"]  # a command has its own folders alone
    assert ids(bench, "--tables", "mine", "--tables", "more") == ["mini", "own", "another"]
    monkeypatch.setenv("LOCBENCH_TABLES", os.pathsep.join(map(str, (first, second))))
    assert ids(bench, "--tables", "mine", "--tables", str(bench.tables)) == [
        "mini",
        "own",
        "another",
    ]
    for command in (
        ("show", "another"),
        ("table", "another", "--plan"),
        ("campaign", "another", "--plan"),
        ("costs", "another"),
    ):
        monkeypatch.setenv("LOCBENCH_TABLES", "more")
        assert bench.call(*command).code == 0
        monkeypatch.delenv("LOCBENCH_TABLES")
        assert bench.call(*command, "--tables", "more").code == 0
        assert bench.call(*command).code == 2


def test_an_id_in_two_folders_names_both_files(bench: Bench) -> None:
    folder = own_folder(bench, "mine", "mini")
    own_folder(bench, "more", "another")
    folders = ("--tables", "mine", "--tables", "more")
    for command in (("show", "mini"), ("table", "mini", "--plan"), ("report", "mini")):
        called = bench.call(*command, *folders)
        assert called.code == 1
        both = f"{bench.tables / 'mini.toml'} and mine/mini.toml"
        assert f"table 'mini' is there twice: {both}" in called.err
    listed = bench.call("list", "--json", *folders)
    assert [entry["id"] for entry in listed.json] == ["another"]
    assert "left out: table 'mini' is there twice" in listed.err
    assert folder.is_dir()


def test_a_named_folder_without_tables_is_no_empty_list(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bench.folder / "empty").mkdir()
    called = bench.call("list", "--tables", "empty")
    assert (called.code, called.out) == (1, "")
    assert "there are no tables in empty" in called.err
    for name in ("nowhere", "tables/mini.toml"):
        called = bench.call("list", "--tables", name)
        assert (called.code, called.out) == (2, "")
        assert f"--tables names no folder: {name}" in called.err
    monkeypatch.setenv("LOCBENCH_TABLES", "~nosuchuser/tables")
    assert bench.call("list").code == 2


def test_the_description_of_the_format_is_no_table_and_its_example_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = table_ids()
    page = (Path(__file__).parents[2] / "tables" / "README.md").read_text(encoding="utf-8")
    (tmp_path / "README.md").write_text(page, encoding="utf-8")
    example = page.partition("```toml\n")[2].partition("```")[0]
    (tmp_path / "my-widths.toml").write_text(example, encoding="utf-8")
    monkeypatch.setenv("LOCBENCH_TABLES", str(tmp_path))
    assert table_ids() == [*shipped, "my-widths"]
    assert load_table("my-widths").values == 2
