"""Tables that extend others, tables of which nothing is published, and papers in a table's file."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from small_table import MINI, Bench

from locbench.costs.calibration import calibrated_values
from locbench.costs.memory.store import PredictionStore
from locbench.report.claims import published_agreement
from locbench.spec.selection import chosen, narrow, trains
from locbench.spec.table_files import load_table
from locbench.spec.tables import Cell, Table

MINE = """\
id = "mine"
extends = "mini"

[[rows]]
label = "Digits / Mine"
recipe = { method = "predsim" }
"""
OWN = """\
id = "mine"
title = "A grid of my own"

[recipe]
network = "resnet8"
dataset = "digits"
epochs = 1
batch_size = 32
lr = 0.05
train_limit = 64

[metrics.test_acc]
unit = "%"

[metrics.params]
unit = "M"
kind = "exact"

[[rows]]
label = "DGL"
recipe = { method = "dgl" }

[[columns]]
label = "J=4"
recipe = { modules = 4 }
"""


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    made = Bench(tmp_path, monkeypatch, capsys)
    (tmp_path / "own").mkdir()
    return made


def extend(bench: Bench, text: str = MINE, name: str = "mine") -> tuple[str, str]:
    """Write a table into a further folder, and return the options that name it."""
    (bench.folder / "own" / f"{name}.toml").write_text(text, encoding="utf-8")
    return ("--tables", "own")


def loaded(bench: Bench, text: str, monkeypatch: pytest.MonkeyPatch) -> Table:
    extend(bench, text)
    monkeypatch.setenv("LOCBENCH_TABLES", "own")
    return load_table("mine")


def by_place(table: Table) -> dict[tuple[str, str], Cell]:
    return {(cell.row, cell.column): cell for cell in table.cells}


# What is taken, and what is added


def test_the_cells_of_the_other_table_stay_and_own_ones_are_added(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    column = '\n[[columns]]\nlabel = "J=1"\nrecipe = { modules = 1 }\n'
    table, base = loaded(bench, MINE + column, monkeypatch), by_place(load_table("mini"))
    cells = by_place(table)
    assert {place: cell for place, cell in cells.items() if not cell.own} == base
    own = {place: cell for place, cell in cells.items() if cell.own}
    # The row of backpropagation takes nothing from columns, and so has no place in a further one.
    assert list(own) == [
        ("Digits / DGL", "J=1"),
        ("Digits / DGL*", "J=1"),
        ("Digits / Mine", "J=4"),
        ("Digits / Mine", "J=2"),
        ("Digits / Mine", "J=1"),
    ]
    mine = own["Digits / Mine", "J=2"]
    assert mine.recipe is not None
    assert (mine.recipe.method, mine.recipe.modules, mine.published) == ("predsim", 2, {})
    assert mine.metrics == ("test_acc",)
    assert all(trains(table, cell) for cell in own.values())
    assert (table.values, table.trials, table.paper, table.extends) == (5, 2, "pgl", "mini")
    assert table.title == load_table("mini").title


def test_a_row_of_ones_own_that_stands_alone_is_one_cell(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = loaded(bench, MINE + "alone = true\n", monkeypatch)
    assert [cell.column for cell in table.cells if cell.own] == ["J=4"]


def test_own_places_show_what_their_column_prints(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One column of accuracies and one of parameters: a row of one's own trains in the first."""
    metrics = '[metrics.params]\nunit = "M"\nkind = "exact"\n\n[[rows]]'
    published = '[published.params]\n"Digits / DGL" = ["", "0.08"]\n"Backprop" = ["", "0.07"]\n\n'
    text = MINI.replace("[[rows]]", metrics, 1).replace("[published", published + "[published", 1)
    for old, new in (('"85.70 ± 0.12"', '""'), ('"86.70"', '""')):
        text = text.replace(old, new, 1)
    bench.write(text)
    table = loaded(bench, MINE, monkeypatch)
    assert {cell.column: cell.metrics for cell in table.cells if cell.own} == {
        "J=4": ("test_acc",),
        "J=2": ("params",),
    }


PART = """\
id = "mine"
title = "A part"
notes = ["Mine."]

[extends]
table = "auglocal-depth"
rows = ["ResNet-32 / BP", "*AugLocal d=2"]
datasets = ["svhn", "stl10"]

[[rows]]
label = "ResNet-32 / DGL"
recipe = { network = "resnet32", method = "dgl" }
"""


def test_a_part_of_a_published_table(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.ship()
    table, base = loaded(bench, PART, monkeypatch), load_table("auglocal-depth")
    assert [row.label for row in table.rows] == [
        "ResNet-32 / BP",
        "ResNet-32 / AugLocal d=2",
        "ResNet-110 / AugLocal d=2",
        "ResNet-32 / DGL",
    ]
    assert [column.label for column in table.columns] == ["SVHN", "STL-10"]
    assert table.notes == [*base.notes, "Mine."]
    whole, cells = by_place(base), by_place(table)
    for place, cell in cells.items():
        assert cell.recipe == whole[place].recipe
        assert cell.own == (place[0] == "ResNet-32 / DGL")
        assert cell.published == ({} if cell.own else whole[place].published)


def test_claims_stay_the_papers(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row of one's own takes no part in them, whatever its label."""
    bench.ship()
    text = """\
id = "mine"
extends = "pgl-period"
[[rows]]
label = "CIFAR-10 / ResNet-32 J=16 / PGL (Aux-Adapt) Q=4"
recipe = { method = "pgl+head", options = { net = "adapt", duration = 4 } }
[[columns]]
label = "P=40"
recipe = { options = { period = 40 } }
"""
    table, base = loaded(bench, text, monkeypatch), load_table("pgl-period")
    assert table.claims == base.claims
    assert [published_agreement(table, claim) for claim in table.claims] == [
        published_agreement(base, claim) for claim in base.claims
    ]


@pytest.mark.parametrize("name", ["pgl-costs", "hpff-memory", "auglocal-memory", "swin-losses"])
def test_every_kind_of_table_can_be_extended(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    bench.ship()
    base = load_table(name)
    (cell, *_) = (cell for cell in base.cells if cell.recipe)
    text = f"id = 'mine'\nextends = '{name}'\n[[columns]]\nlabel = 'Mine'\n"
    text += "recipe = { batch_size = 16 }\n" if not base.calibration else ""
    table = loaded(bench, text, monkeypatch)
    own = [each for each in table.cells if each.own]
    assert own
    assert {each.row for each in own} <= {row.label for row in base.rows}
    assert by_place(table)[cell.row, cell.column].recipe == cell.recipe
    committed = PredictionStore(Path(__file__).parents[2] / "results")
    kept = [each.calibrated for each in calibrated_values(base, committed)]
    assert [each.calibrated for each in calibrated_values(table, committed)] == kept
    rows = {row for derived in base.derived for row in derived.printed}
    assert {row for derived in table.derived for row in derived.printed} == rows


def test_an_extension_can_be_extended(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    text = MINE.replace('id = "mine"', 'id = "more"').replace('"mini"', '"mine"')
    extend(bench, text.replace("Digits / Mine", "Digits / More"), "more")
    loaded(bench, MINE, monkeypatch)
    rows = [(row.label, row.own) for row in load_table("more").rows]
    assert rows[-2:] == [("Digits / Mine", True), ("Digits / More", True)]
    assert not any(own for _, own in rows[:-2])


def test_a_part_of_an_extended_table_keeps_its_own_places(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    column = '\n[[columns]]\nlabel = "J=1"\nrecipe = { modules = 1 }\n'
    alone = '\n[[rows]]\nlabel = "Digits / Alone"\nrecipe = { method = "bp" }\nalone = true\n'
    table = loaded(bench, MINE + alone + column, monkeypatch)
    for rows, columns in (
        (("Mine",), ()),
        (("Mine",), ("J=2",)),
        (("Alone", "Mine"), ("J=4", "J=1")),
        ((), ("J=1",)),
        (("DGL", "Mine"), ()),
    ):
        cells = chosen(table, rows, columns)
        assert narrow(table, cells).cells == tuple(cells)
    own = loaded(bench, OWN, monkeypatch)
    assert narrow(own, own.cells).cells == own.cells
    some = [cell for cell in table.cells if cell.own and cell.column == "J=2"]
    assert narrow(table, some).cells == tuple(some)


# What may be wrong

ROW = '[[rows]]\nlabel = "X"\nrecipe = { method = "dgl" }\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (MINE.replace('"mini"', '"minni"'), ["key extends", "unknown table 'minni'", "'mini'"]),
        (MINE.replace("Digits / Mine", "Digits / DGL"), ["rows", "'Digits / DGL' is there twice"]),
        (MINE + MINE[MINE.index("[[rows]]") :], ["'Digits / Mine' is there twice"]),
        (
            MINE.replace('"predsim"', '"predsin"'),
            ["row 'Digits / Mine'", "unknown method 'predsin'", "--plugin FILE.py"],
        ),
        (MINE.replace('"mini"', '"mine"'), ["it leads back: mine extends mine"]),
        (MINE.partition("[[rows]]")[0], ["neither rows nor columns are added"]),
        (MINE + "[published.test_acc]\n", ["unknown field `published`"]),
        (MINE + "at = { 'J=3' = {} }\n", ["rows.'Digits / Mine'.at", "it meets no 'J=3'"]),
        (MINE + "note = '\\u001b'\n".replace("'", '"'), ["cannot be printed"]),
        ('id = "x"\nextends = "mini"\n' + ROW, ["key id", "'x' is not the file's name"]),
        ('id = "mine"\nextends = 3\n' + ROW, ["$.extends"]),
        ('id = "mine"\nextends = { rows = [] }\n' + ROW, ["table", "$.extends"]),
        (
            'id = "mine"\nextends = { table = "mini", rows = ["DLG"] }\n' + ROW,
            ["key extends", "no row 'DLG'"],
        ),
        (
            'id = "mine"\nextends = { table = "mini", datasets = ["digit"] }\n' + ROW,
            ["key extends", "no cell is on the data set 'digit'"],
        ),
    ],
)
def test_a_fault_of_an_extension_names_file_and_key(
    bench: Bench, text: str, words: list[str]
) -> None:
    options = extend(bench, text)
    called = bench.call("show", "mine", *options)
    assert called.code == 1
    assert [word for word in ["own/mine.toml", *words] if word not in called.err] == []
    listed = bench.call("list", "--json", *options)
    assert [entry["id"] for entry in listed.json] == ["mini"]
    assert "left out: own/mine.toml" in listed.err


def test_tables_that_extend_each_other(bench: Bench) -> None:
    extend(bench, MINE.replace('"mini"', '"other"'))
    options = extend(
        bench, MINE.replace('"mini"', '"mine"').replace('"mine"', '"other"', 1), "other"
    )
    called = bench.call("show", "mine", *options)
    assert called.code == 1
    assert (
        "own/other.toml: key extends: it leads back: mine extends other extends mine" in called.err
    )


# What is seen of it


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_own_rows_are_marked_in_every_format(bench: Bench) -> None:
    options = extend(bench)
    cells = ("--seeds", "1", "--epochs", "1", "--device", "cpu")
    bench.call("table", "mini", *cells)
    before = bench.files()
    called = bench.call("table", "mine", *options, *cells)
    assert called.code == 0
    assert len(bench.files()) == len(before) + 2
    # The cells of the other table were not run again.
    assert before.items() <= bench.files().items()
    assert "7 runs, 5 recorded" in called.out
    lines = [line for line in called.out.splitlines() if "Mine" in line and "J=4" in line]
    assert ["Mine‡" in line for line in lines] == [False, True]  # its progress, its result
    assert "‡ not of the paper: nothing is published to compare it with." in called.out
    assert "Report: locbench report mine --tables own --results results" in called.out
    report = ("report", "mine", *options)
    page = bench.call(*report).out
    assert "# PGL, Table 9, extended: " in page
    assert [line.split("|")[1].strip() for line in page.splitlines() if "Mine" in line] == ["Mine‡"]
    latex = bench.call(*report, "--format", "latex").out
    assert latex.count(r"Mine$^\ddagger$ & ours") == 1
    ours = bench.call(*report, "--format", "latex", "--layout", "ours").out
    assert ours.count(r"Mine$^\ddagger$ & ") == 1
    assert "Mine" not in bench.call(*report, "--format", "latex", "--layout", "paper").out
    table = rows_of(bench.call(*report, "--format", "csv").out)
    assert {(row["row"], row["own"]) for row in table} == {
        ("Digits / DGL", "False"),
        ("Digits / DGL*", "False"),
        ("Backprop", "False"),
        ("Digits / Mine", "True"),
    }
    plain = bench.call(*report, "--json").json
    assert plain["extends"] == "mini"
    entries = plain["comparisons"][0]["entries"]
    assert {entry["row"] for entry in entries if entry["own"]} == {"Digits / Mine"}
    assert all(entry["published"] is None for entry in entries if entry["own"])
    shown = bench.call("show", "mine", *options, "--json").json
    assert [(cell["column"], cell["published"]) for cell in shown["cells"] if cell["own"]] == [
        ("J=4", None),
        ("J=2", None),
    ]
    assert "Mine‡" in bench.call("show", "mine", *options).out
    alone = bench.call("table", "mine", *options, *cells, "--rows", "Mine").out
    assert [line.split()[-1] for line in alone.splitlines() if "J=4" in line] == ["reduced"]


def test_a_table_of_ones_own_needs_neither_paper_nor_numbers(bench: Bench) -> None:
    options = extend(bench, OWN)
    called = bench.call("table", "mine", *options, "--device", "cpu")
    assert called.code == 0
    assert called.out.count("‡") == 0
    report = bench.call("report", "mine", *options).out
    assert report.startswith("# A grid of my own\n\nNothing is published of this table.\n")
    entries: dict[str, Any] = {
        entry["metric"]: entry
        for entry in bench.call("report", "mine", *options, "--json").json["comparisons"][0][
            "entries"
        ]
    }
    assert {(entry["verdict"], entry["own"]) for entry in entries.values()} == {("own", True)}
    assert entries["test_acc"]["n"] == 1
    (listed,) = [e for e in bench.call("list", "--json", *options).json if e["id"] == "mine"]
    assert (listed["paper"], listed["values"], listed["recorded"]) == ("own", 0, 1)
    assert bench.call("report", "mine", *options, "--format", "latex").code == 0
    assert bench.call("costs", "mine", *options).code == 0


def test_a_paper_in_the_tables_file(bench: Bench) -> None:
    text = MINI.replace('id = "mini"', 'id = "mine"').replace('paper = "pgl"\n', "")
    paper = """
[paper]
name = "FooBar"
authors = "A. Foo and B. Bar"
venue = "NeurIPS"
year = 2025
link = "https://example.org/foo"
"""
    options = extend(bench, text + paper)
    shown = bench.call("show", "mine", *options).out
    assert shown.startswith("FooBar, Table 9: ")
    cited = "A. Foo and B. Bar. NeurIPS 2025. https://example.org/foo. Nobody 2024, Table 9."
    assert cited in " ".join(shown.split())
    assert bench.call("show", "mine", *options, "--json").json["paper"]["year"] == 2025
    entry = next(e for e in bench.call("list", "--json", *options).json if e["id"] == "mine")
    assert entry["paper"] == "FooBar"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('paper = "pgl"', 'paper = "pgk"', ["$.paper"]),
        ('paper = "pgl"', 'paper = { name = "" }', ["key paper.name", "it is empty"]),
        ('paper = "pgl"', "paper = { title = 'x' }", ["$.paper"]),
        ('paper = "pgl"\n', "", ["key paper", "numbers are published"]),
        ('number = "Table 9"\n', "", ["key number", "numbers are published"]),
        ('{ method = "bp" }', '{ method = "bp" }\nown = true', ["rows.'Backprop'.own"]),
    ],
)
def test_a_fault_of_a_paper_names_file_and_key(
    bench: Bench, old: str, new: str, words: list[str]
) -> None:
    bench.write(MINI.replace(old, new, 1))
    called = bench.call("show", "mini")
    assert called.code == 1
    assert [word for word in ["mini.toml", *words] if word not in called.err] == []
