"""Tables for a paper: layouts, decimals, bold numbers, captions and labels, by hand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from latex_pages import compiled, shown, tabulars
from report_builders import make_record, make_table, recipe_at, reduced

from locbench.report.compare import compare
from locbench.report.latex_text import fault_of_fragment
from locbench.report.model import TableComparisons
from locbench.report.render import PaperStyle, render_paper, write_reports
from locbench.spec.choices import Layout
from locbench.spec.table_files import load_tables
from locbench.spec.tables import Axis, Metric


def example() -> TableComparisons:
    """DGL has 90.2 ± 0.4 at K=16 over three seeds, Head 90.04 in one; K=8 was not run."""
    printed = {
        "DGL": ["91.3 ± 0.2", "80.0"],
        "BP": ["94.1", ""],
        "PredSim": ["70.0", "80.0"],
        "Head": ["94.1", "79.0"],
    }
    table = make_table({"test_acc": printed})
    dgl, head = recipe_at(table, "DGL"), recipe_at(table, "Head")
    records = [make_record(dgl, acc, seed) for seed, acc in enumerate((89.8, 90.2, 90.6))]
    records += [make_record(head, 90.04)]
    return table, compare(table, records)


def rows(found: TableComparisons, layout: Layout) -> list[list[str]]:
    """Return the cells of the one tabular of a layout, as LaTeX, without its head."""
    (tabular,) = tabulars(render_paper(PaperStyle(layout), [found], "tex"))
    return [[cell.strip() for cell in row] for row in tabular[1:]]


def test_the_papers_numbers_as_printed_with_the_best_in_bold() -> None:
    assert rows(example(), "paper") == [
        ["DGL", r"91.3 $\pm$ 0.2", r"\textbf{80.0}"],
        ["BP", r"\textbf{94.1}", ""],
        ["PredSim", "70.0", r"\textbf{80.0}"],
        ["Head", r"\textbf{94.1}", "79.0"],
    ]


def test_our_numbers_with_the_papers_decimals() -> None:
    # The deviation of 89.8, 90.2 and 90.6 is 0.4.
    assert rows(example(), "ours") == [
        ["DGL", r"\textbf{90.2 $\pm$ 0.4}", "---"],
        ["BP", "---", ""],
        ["PredSim", "---", "---"],
        ["Head", "90.0", "---"],
    ]


def test_both_numbers_in_a_cell_each_column_with_its_own_best() -> None:
    assert rows(example(), "both") == [
        ["DGL", r"\textbf{90.2 $\pm$ 0.4} (91.3 $\pm$ 0.2)", r"--- (\textbf{80.0})"],
        ["BP", r"--- (\textbf{94.1})", ""],
        ["PredSim", "--- (70.0)", r"--- (\textbf{80.0})"],
        ["Head", r"90.0 (\textbf{94.1})", "--- (79.0)"],
    ]


def test_what_looks_equal_is_equally_good() -> None:
    table = make_table({"test_acc": {"DGL": ["91.3", ""], "Head": ["92.1", ""]}})
    records = [
        make_record(recipe_at(table, row), acc) for row, acc in (("DGL", 90.04), ("Head", 89.96))
    ]
    found = table, compare(table, records)
    assert [row[1] for row in rows(found, "ours")] == [r"\textbf{90.0}"] * 2


def test_lower_is_better_where_the_metric_says_so_within_each_group() -> None:
    labels = {
        "CIFAR-10 / A": "8.1",
        "CIFAR-10 / B": "7.9",
        "SVHN / A": "3.1",
        "SVHN / B": "3.9",
        "STL-10 / A": "1.0",
    }
    table = make_table(
        rows=[Axis(label, {"method": "dgl"}) for label in labels],
        columns=[Axis("K=16", {"modules": 16})],
        metrics={"test_err": Metric(unit="%", better="lower")},
    )
    names = table.__struct_fields__
    published = {"test_err": {label: [text] for label, text in labels.items()}}
    table = type(table)(
        **{name: getattr(table, name) for name in names if name != "published"},
        published=published,
    )
    found = [row for row in rows((table, []), "paper") if len(row) == 2]
    assert [row[1] for row in found if "multicolumn" not in row[0]] == [
        "8.1",
        r"\textbf{7.9}",
        r"\textbf{3.1}",
        "3.9",
        "1.0",  # alone in its group
    ]


def test_words_and_metrics_without_a_direction_are_never_best() -> None:
    metrics = {"nets": Metric(unit="", kind="text", better="none")}
    table = make_table({"nets": {"DGL": ["2C-1F", ""], "BP": ["9C-1F", ""]}}, metrics=metrics)
    assert "textbf" not in render_paper(PaperStyle("paper"), [(table, [])], "tex")


def test_rows_of_several_metrics_are_one_table_with_units() -> None:
    metrics = {
        "gpu_memory": Metric(unit="GB", kind="predicted", better="lower"),
        "test_acc": Metric(unit="%"),
    }
    table = make_table(
        {"gpu_memory": {"DGL": ["1.62", "1.87"]}, "test_acc": {"Head": ["90.0", "80.0"]}},
        metrics=metrics,
    )
    values = {("CIFAR-10 / DGL", "K=16"): {"gpu_memory": 0.514}}
    comparisons = compare(table, [make_record(recipe_at(table, "Head"), 91.0)], values)
    text = render_paper(PaperStyle("ours"), [(table, comparisons)], "tex")
    (tabular,) = tabulars(text)
    assert [[cell.strip() for cell in row] for row in tabular] == [
        ["CIFAR-10", "K=16", "K=8"],
        ["DGL (GB)", "0.51", "---"],
        [r"Head (\%)", "91.0", "---"],
    ]
    assert "GPU memory (GB): predicted without a device" in text
    assert r"Test accuracy (\%): one seed." in text
    assert r"\label{tab:example-ours}" in text


def test_reduced_numbers_are_marked_and_explained_whatever_the_caption() -> None:
    table = make_table()
    record = make_record(reduced(recipe_at(table, "DGL"), "quick"), 50.0)
    found = table, compare(table, [record])
    for caption in ("", r"My $\tau$."):
        text = render_paper(PaperStyle("both", caption), [found], "tex")
        assert r"50.00$^\dagger$ (" in text
        (words,) = re.findall(r"\\caption\{(.*)\}\n", text)
        assert r"$^\dagger$ Reduced run: 12 of 160 epochs, 5,000 training images" in words
    assert words.startswith(r"My $\tau$. $^\dagger$")


def test_rows_of_ones_own_are_marked_whatever_the_caption() -> None:
    rows = [
        Axis("CIFAR-10 / DGL", {"method": "dgl"}),
        Axis("CIFAR-10 / Mine", {"method": "head"}, own=True),
    ]
    table = make_table({"test_acc": {"DGL": ["90.0", "80.0"]}}, rows=rows)
    found = table, compare(table, [make_record(recipe_at(table, "Mine"), 91.26)])
    text = render_paper(PaperStyle("both", "Mine."), [found], "tex")
    (tabular,) = tabulars(text)
    assert [cell.strip() for cell in tabular[2]] == [r"Mine$^\ddagger$", "91.3", "---"]
    assert r"\caption{Mine. $^\ddagger$ not of the paper: " in text


def test_caption_and_label_are_the_users() -> None:
    metrics = {"test_acc": Metric(unit="%"), "params": Metric(unit="M", kind="exact")}
    grid = {"DGL": ["90.00", "80.00"]}
    table = make_table({"test_acc": grid, "params": grid}, metrics=metrics)
    style = PaperStyle("paper", r"Numbers of \emph{theirs}.", "tab:theirs")
    text = render_paper(style, [(table, [])], "tex")
    assert re.findall(r"\\caption\{(.*)\}\n", text) == [
        r"Numbers of \emph{theirs}. Test accuracy (\%).",
        r"Numbers of \emph{theirs}. Parameters (M).",
    ]
    assert re.findall(r"\\label\{(.*?)\}", text) == ["tab:theirs", "tab:theirs-2"]


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("", ""),
        (r"5\,\% of $x_{1}$ \& more\\\\", ""),
        ("5 % more", "% needs a backslash"),
        (r"5 \\% more", "% needs a backslash"),
        ("a & b", "& needs a backslash"),
        ("{a", "braces"),
        ("a}{", "braces"),
        (r"\{a", ""),
        ("$x", "partner"),
        (r"\$x", ""),
        ("a\\", "backslash"),
    ],
)
def test_captions_that_would_break_the_table(caption: str, words: str) -> None:
    fault = fault_of_fragment(caption)
    assert (words in fault) if words else fault == ""


def test_markdown_has_the_same_numbers() -> None:
    text = render_paper(PaperStyle("both"), [example()], "md")
    lines = [line for line in text.splitlines() if line.startswith("| DGL")]
    assert [cell.strip() for cell in lines[0].split("|")[1:-1]] == [
        "DGL",
        "**90.2 ± 0.4** (91.3 ± 0.2)",
        "— (**80.0**)",
    ]
    assert "The paper's numbers in brackets. Ours: mean ± sample standard deviation" in text


def test_files_do_not_replace_the_reports(tmp_path: Path) -> None:
    (path,) = write_reports(*example(), tmp_path, ["tex"], PaperStyle("both"))
    assert path.name == "example-both.tex"


def test_all_published_tables_compile_and_keep_every_number(tmp_path: Path) -> None:
    tables = load_tables()
    text = render_paper(PaperStyle("paper"), [(table, []) for table in tables], "tex")
    cells = " ".join(shown(cell) for tabular in tabulars(text) for row in tabular for cell in row)
    for table in tables:
        for cell in table.cells:
            for printed in cell.published.values():
                if printed.value is not None:
                    assert printed.text.replace("±", "+") in cells, (table.id, printed.text)
    both = render_paper(PaperStyle("both"), [(table, []) for table in tables], "tex")
    compiled(tmp_path, (text + both).replace("\\end{table}", "\\end{table}\\clearpage"))
