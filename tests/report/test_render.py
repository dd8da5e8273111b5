"""What the reports show: marks, layout, escaping, and that the numbers survive."""

from __future__ import annotations

import io
import json
import re

import pandas as pd
import pytest
from report_builders import make_record, make_table, recipe_at, reduced
from rich.console import Console

from locbench.errors import UsageError
from locbench.report import markdown as in_markdown
from locbench.report.compare import compare
from locbench.report.formatting import ours_text
from locbench.report.latex_text import escaped
from locbench.report.render import FORMATS, render, write_reports
from locbench.report.sections import comparison_blocks, title_blocks, value_grids
from locbench.spec.tables import Axis, Derived, Metric
from locbench.terminal.comparison import print_blocks

HOW = "12 of 160 epochs, 5,000 training images, batch 64, learning rate 0.05"


def example():
    printed = {
        "DGL": ["90.00", "80.00"],
        "BP": ["90.00", ""],
        "PredSim": ["70.00", ""],
        "Head": ["90.00", "79.00"],
    }
    table = make_table({"test_acc": printed}, noted=["A 5 % note & more."])
    recipe = recipe_at(table, "DGL")
    records = [
        make_record(recipe, 90.0 + shift, seed) for seed, shift in enumerate((-0.1, 0.0, 0.1))
    ]
    records += [make_record(recipe_at(table, "Head"), 85.0 + seed, seed) for seed in range(3)]
    records += [
        make_record(recipe_at(table, "PredSim"), None),
        make_record(recipe_at(table, "BP"), 93.0),
    ]
    quick = {"DGL": 50.0, "Head": 45.5, "PredSim": 40.25}
    records += [
        make_record(reduced(recipe_at(table, row), "quick"), acc) for row, acc in quick.items()
    ]
    return table, compare(table, records, fewest=3)


def sections(text: str) -> dict[str, str]:
    return dict(part.split("\n", 1) for part in text.split("\n## ")[1:])


def test_cells_in_words():
    _, (full, quick) = example()
    cells = {(e.row.split()[-1], e.column): ours_text(e) for e in full.entries}
    assert cells["DGL", "K=16"] == "90.00 ± 0.10 (3) match"
    assert cells["Head", "K=16"] == "86.00 ± 1.00 (3) off by -4.00"
    assert cells["BP", "K=16"] == "93.00 (1) unconfirmed, +3.00"
    assert cells["PredSim", "K=16"] == "failed"
    assert cells["DGL", "K=8"] == "—"
    assert ours_text(quick.entries[0]) == "50.00 (1)†"


def test_markdown_shows_ours_above_the_papers():
    table, comparisons = example()
    text = sections(render(table, comparisons, "md"))["Full runs: the published schedule"]
    lines = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    assert lines[0] == ["CIFAR-10", "", "K=16", "K=8"]
    assert lines[2] == ["DGL", "ours", "90.00 ± 0.10 (3) match", "—"]
    assert lines[3] == ["", "paper", "90.00", "80.00"]
    assert "†" not in text
    assert "seed 0 failed: loss is nan" in text
    assert "6 values: 1 match, 1 off, 1 unconfirmed, 2 missing, 1 failed" in text


def test_markdown_marks_every_reduced_number():
    table, comparisons = example()
    text = sections(render(table, comparisons, "md"))[f"Reduced run: {HOW}"]
    assert render(table, comparisons, "md").count(HOW) == 1  # in the heading alone
    assert "| 50.00 (1)† |" in text
    ours = [line for line in text.splitlines() if "| ours " in line]
    for number in re.findall(r"\d+\.\d+ \(\d\)[^|]*", " ".join(ours)):
        assert number.rstrip().endswith("†")
    assert "the whole table: 0.82† (" in text  # one tie among the printed: 2 / sqrt(2 * 3)
    assert ") over 3 cells" in text


def test_markdown_names_the_sources():
    table, comparisons = example()
    text = render(table, comparisons, "md")
    assert text.startswith("# PGL, Table 9: An example\n")
    for fact in (
        "a processor",
        "torch 2.6",
        "0123456789ab",
        "fingerprint f00",
        "seeds: 0, 1, 2",
        "A 5 % note & more.",
    ):
        assert fact in text


def test_markdown_escapes_what_would_change_the_table():
    assert in_markdown.escaped("DGL* | a_b\n<x>") == r"DGL\* \| a\_b \<x>"


def test_row_groups_get_a_heading_each():
    rows = [
        Axis("CIFAR-10 / DGL", {"method": "dgl"}),
        Axis("SVHN / DGL", {"method": "dgl", "dataset": "svhn"}),
    ]
    table = _published(
        make_table(rows=rows),
        {"test_acc": {"CIFAR-10 / DGL": ["1", "2"], "SVHN / DGL": ["3", "4"]}},
    )
    (comparison,) = compare(table, [make_record(recipe_at(table, "CIFAR-10 / DGL"), 1.0)])
    (grid,) = value_grids(table, comparison, "example-1")
    assert [(row.kind, row.cells[0].text) for row in grid.rows] == [
        ("group", "CIFAR-10"),
        ("ours", "DGL"),
        ("paper", ""),
        ("group", "SVHN"),
        ("ours", "DGL"),
        ("paper", ""),
    ]


def costs():
    metrics = {
        "test_acc": Metric(unit="%"),
        "params": Metric(unit="M", kind="exact", better="lower"),
    }
    published = {"test_acc": {"DGL": ["90.00", ""]}, "params": {"DGL": ["0.86", ""]}}
    table = make_table(published, metrics=metrics)
    record = make_record(reduced(recipe_at(table, "DGL"), "quick"), 40.0)
    return table, compare(table, [record], {("CIFAR-10 / DGL", "K=16"): {"params": 0.861}})


def test_one_column_of_several_metrics_is_one_grid_and_exact_numbers_are_not_marked():
    table, (comparison,) = costs()
    (grid,) = value_grids(table, comparison, "example-1")
    assert grid.header == ("CIFAR-10", "", "Test accuracy (%)", "Parameters (M)")
    texts = [cell.text for cell in grid.rows[0].cells]
    assert texts == ["DGL", "ours", "40.00 (1)†", "0.86 match"]
    assert [entry.metric for entry in grid.entries] == ["test_acc", "params"]
    assert grid.rows[0].cells[2].verdict == "reduced"


def test_latex_text():
    assert escaped("a & b_c 5 % #1 {x} ~ ^ $") == (
        r"a \& b\_c 5 \% \#1 \{x\} \textasciitilde{} \textasciicircum{} \$"
    )
    assert escaped("1 ± 2 × 3 → ↑ ↓ — †") == (
        r"1 $\pm$ 2 $\times$ 3 $\rightarrow$ $\uparrow$ $\downarrow$ --- $^\dagger$"
    )
    assert escaped("off by -0.67, ResNet-32") == "off by $-$0.67, ResNet-32"
    assert escaped("τ=0.5, λ, Δ, Λ") == r"$\tau$=0.5, $\lambda$, $\Delta$, $\Lambda$"
    assert escaped("[x]* \\ ✓") == r"{[}x{]}{*} \textbackslash{} (check mark)"


@pytest.mark.parametrize("make", [example, costs])
def test_latex_is_well_formed(make):
    table, comparisons = make()
    text = render(table, comparisons, "tex")
    assert text.isascii()
    bare = re.sub(r"\\[\\{}%&$#_]", "", text)
    depth = 0
    for character in re.sub(r"(?m)^%.*$", "", bare):
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    for environment in ("table", "tabular"):
        assert (
            text.count(f"\\begin{{{environment}}}")
            == text.count(f"\\end{{{environment}}}")
            == len(comparisons)
        )
    for rule in ("toprule", "midrule", "bottomrule", "caption{", "label{tab:"):
        assert text.count(f"\\{rule}") == len(comparisons)
    assert "\\hline" not in text
    assert not re.search(r"(?m)^[^%\n]+%", bare)


def test_latex_rows_have_as_many_cells_as_the_header():
    table, comparisons = example()
    for body in re.findall(r"\\toprule(.*?)\\bottomrule", render(table, comparisons, "tex"), re.S):
        rows = [row for row in body.split("\\\\") if row.strip() and "multicolumn" not in row]
        assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {3}


def test_latex_marks_reduced_runs_in_caption_and_on_numbers():
    table, comparisons = example()
    full, quick = re.findall(
        r"\\begin\{table\}.*?\\end\{table\}", render(table, comparisons, "tex"), re.S
    )
    assert "dagger" not in full
    assert f"Reduced run: {HOW}" in quick
    assert r"50.00$^\dagger$" in quick
    assert "one seed" in quick
    assert r"90.00 $\pm$ 0.10 (3)$^=$" in full
    assert not any(
        word in full.split("\\midrule")[1].split("\\bottomrule")[0]
        for word in ("match", "off", "missing")
    )


def test_latex_group_rows_span_the_table():
    table = _grouped()
    text = render(table, [], "tex")
    assert r"\multicolumn{4}{@{}l@{}}{\textbf{CIFAR-10 \& more}} \\" in text


def _grouped():
    rows = [Axis("CIFAR-10 & more / DGL", {"method": "dgl"}), Axis("BP", {"method": "bp"})]
    return _published(
        make_table(rows=rows), {"test_acc": {"CIFAR-10 & more / DGL": ["1", "2"], "BP": ["3", "4"]}}
    )


def _published(table, published):
    names = table.__struct_fields__
    return type(table)(**{name: getattr(table, name) for name in names} | {"published": published})


def test_csv_comes_back_as_it_was():
    table, comparisons = example()
    frame = pd.read_csv(io.StringIO(render(table, comparisons, "csv")), keep_default_na=True)
    entries = [entry for comparison in comparisons for entry in comparison.entries]
    assert len(frame) == len(entries) == 12
    assert list(frame["verdict"]) == [entry.verdict for entry in entries]
    assert list(frame["row"]) == [entry.row for entry in entries]
    first = frame.iloc[0]
    assert (first["measured"], first["std"], first["n"]) == (entries[0].measured, entries[0].std, 3)
    assert (first["published"], first["published_text"], first["unit"]) == (90.0, 90.0, "%")
    assert list(frame["reduced"]) == [False] * 6 + [True] * 6
    assert set(frame["how"][6:]) == {HOW}
    assert frame["difference"][6:].isna().all()
    assert (frame["epochs"][6], frame["published_epochs"][6]) == (12, 160)


OLD_COLUMNS = [
    "table",
    "row",
    "column",
    "metric",
    "unit",
    "kind",
    "published",
    "published_text",
    "published_std",
    "measured",
    "std",
    "n",
    "difference",
    "verdict",
    "reduced",
    "how",
    "epochs",
    "published_epochs",
    "dataset",
    "data_label",
    "best",
    "detail",
    "device",
    "engine",
    "benchmark",
    "predicted",
]


def test_csv_opens_in_pandas_with_numbers_as_numbers():
    rows = [
        Axis("CIFAR-10 / PGL", {"method": "pgl+head", "options": {"period": 10, "duration": 2}}),
        Axis("CIFAR-10 / Head", {"method": "head", "modules": 8}, alone=True),
        Axis("CIFAR-10 / BP", {"method": "bp"}, blocked="nobody knows how"),
    ]
    columns = [Axis("K=16", {"modules": 16})]
    metrics = {"test_acc": Metric(unit="%"), "nets": Metric(unit="", kind="text", better="none")}
    table = make_table(rows=rows, columns=columns, metrics=metrics)
    table = _published(
        table,
        {
            "test_acc": {
                "CIFAR-10 / PGL": ["90.50 ± 0.20"],
                "CIFAR-10 / Head": ["88"],
                "CIFAR-10 / BP": ["93.00"],
            },
            "nets": {"CIFAR-10 / PGL": ["3C-2F"]},
        },
    )
    recipe = recipe_at(table, "PGL")
    records = [make_record(recipe, 90.0 + seed, seed) for seed in (0, 3, 7)]
    values = {("CIFAR-10 / PGL", "K=16"): {"nets": "3C-2F"}}
    text = render(table, compare(table, records, values), "csv")
    frame = pd.read_csv(io.StringIO(text))
    assert list(frame.columns) == [
        *OLD_COLUMNS,
        *("paper", "network", "modules", "published_dataset", "method", "options", "seeds"),
        *("mean", "published_mean", "own"),
    ]
    for name in ("modules", "std", "mean", "published_mean", "published_std", "difference", "n"):
        assert pd.api.types.is_numeric_dtype(frame[name]), name
    pgl, nets, head, bp = (frame.iloc[index] for index in range(4))
    assert (pgl["paper"], pgl["network"], pgl["modules"]) == ("PGL", "resnet32", 16)
    assert (pgl["published_dataset"], pgl["method"]) == ("cifar10", "pgl+head")
    assert pgl["options"] == "period=10, duration=2"
    assert (pgl["seeds"], pgl["n"]) == ("0 3 7", 3)
    assert pgl["mean"] == pytest.approx(280 / 3)
    assert pgl["std"] == pytest.approx((sum((x - 280 / 3) ** 2 for x in (90, 93, 97)) / 2) ** 0.5)
    assert (pgl["published_mean"], pgl["published_std"]) == (90.5, 0.2)
    assert (nets["measured"], nets["published"]) == ("3C-2F", "3C-2F")
    assert pd.isna(nets["mean"])
    assert pd.isna(nets["published_mean"])
    assert (head["modules"], head["published_mean"], head["verdict"]) == (8, 88.0, "missing")
    assert pd.isna(head["options"])
    assert (bp["method"], bp["verdict"]) == ("bp", "blocked")
    means = frame[frame.kind == "trained"].groupby("method")["published_mean"].mean()
    assert means.to_dict() == {"pgl+head": 90.5, "head": 88.0, "bp": 93.0}


def test_json_holds_everything():
    table, comparisons = example()
    read = json.loads(render(table, comparisons, "json"))
    assert read["table"] == "example"
    assert read["notes"] == ["A 5 % note & more."]
    full, quick = read["comparisons"]
    assert full["counts"] == {"match": 1, "off": 1, "unconfirmed": 1, "missing": 2, "failed": 1}
    assert full["entries"][0]["published"] == {
        "text": "90.00",
        "value": 90.0,
        "std": None,
        "decimals": 2,
    }
    assert quick["reduced"]
    assert quick["how"] == HOW
    assert quick["ranks"][0] == {
        "metric": "test_acc",
        "scope": "table",
        "label": "",
        "tau": pytest.approx(2 / 6**0.5),
        "n": 3,
        "low": pytest.approx(2 / 6**0.5, abs=2),
        "high": 1.0,
        "at_chance": 0,
        "why": "",
    }


def test_a_table_without_runs_shows_the_published_numbers(tmp_path):
    table = make_table()
    text = render(table, [], "md")
    assert "No full run yet" in text
    assert "8 values: 8 missing" in text
    assert "90.00" in text
    assert len(pd.read_csv(io.StringIO(render(table, [], "csv")))) == 8


def test_files_are_written_by_format(tmp_path):
    table, comparisons = example()
    paths = write_reports(table, comparisons, tmp_path / "new", ["md", "csv"])
    assert paths == [tmp_path / "new" / "example.md", tmp_path / "new" / "example.csv"]
    assert paths[0].read_text(encoding="utf-8") == render(table, comparisons, "md")
    assert sorted(path.suffix for path in write_reports(table, comparisons, tmp_path)) == sorted(
        f".{ending}" for ending in FORMATS
    )


def test_an_unknown_format_is_refused_before_anything_is_written(tmp_path):
    table, comparisons = example()
    with pytest.raises(UsageError, match="unknown report format 'mdd'"):
        write_reports(table, comparisons, tmp_path, ["md", "mdd"])
    assert list(tmp_path.iterdir()) == []


def printed(comparison, table, width=110):
    console = Console(file=io.StringIO(), width=width)
    print_blocks(console, [*title_blocks(table), *comparison_blocks(table, comparison)])
    return console.file.getvalue()


def test_terminal_shows_both_sides_and_explains_itself():
    table, (full, quick) = example()
    text = printed(full, table)
    assert "\x1b" not in text
    row = next(line.split() for line in text.splitlines() if line.strip().startswith("DGL"))
    assert row == ["DGL", "K=16", "90.00", "±", "0.10", "(3)", "90.00", "90.50", "+0.00", "match"]
    assert "off: not so" in text
    text = printed(quick, table)
    assert f"Reduced run: {HOW}" in text
    assert "50.00 (1)†" in text
    assert "ours - paper" not in text


@pytest.mark.parametrize("width", [80, 100, 120])
def test_terminal_lines_fit_and_no_number_is_cut(width):
    table, (full, _) = example()
    text = printed(full, table, width)
    assert max(map(len, text.splitlines())) <= width
    assert "90.00 ± 0.10 (3)" in text
    assert "…" not in text


def test_terminal_leaves_out_rows_that_were_not_started():
    table = make_table()
    (comparison,) = compare(table, [make_record(recipe_at(table, "DGL"), 90.0)])
    text = printed(comparison, table)
    assert "PredSim" not in text
    assert "6 values in rows of which nothing was measured" in text


def test_terminal_takes_brackets_literally():
    rows = [Axis("[bold]DGL[/x]", {"method": "dgl"})]
    table = _published(make_table(rows=rows), {"test_acc": {"[bold]DGL[/x]": ["1", "2"]}})
    (comparison,) = compare(table, [make_record(recipe_at(table, "DGL[/x]"), 1.0)])
    assert "[bold]DGL[/x]" in printed(comparison, table)


def test_derived_values_in_every_format():
    derived = Derived(
        "drop", "test_acc", "pp", "difference", {"CIFAR-10 / DGL": "CIFAR-10 / BP"}, {}
    )
    table = make_table(derived=[derived])
    rows = {"DGL": 40.0, "BP": 50.0}
    records = [
        make_record(reduced(recipe_at(table, row), "quick"), acc) for row, acc in rows.items()
    ]
    comparisons = compare(table, records)
    assert "10.00†" in render(table, comparisons, "md")
    assert r"10.00$^\dagger$" in render(table, comparisons, "tex")
    assert "10.00†" in printed(comparisons[0], table)
    assert (
        json.loads(render(table, comparisons, "json"))["comparisons"][0]["derived"][0][
            "from_measured"
        ]
        == 10.0
    )
