"""LaTeX that fits a page: widths, blocks, marks and captions."""

from __future__ import annotations

import random
import re
from pathlib import Path

import msgspec
import pytest
from latex_pages import compiled, shown, tabulars
from report_builders import make_record, make_table, recipe_at, reduced

from locbench.report.compare import compare
from locbench.report.latex_layout import Line, Sheet, cell, floats
from locbench.report.latex_text import text_width
from locbench.report.render import render
from locbench.spec.tables import Axis, Metric, Table

RESULTS = Path(__file__).parents[2] / "results"
WIDTH = 345.0  # \textwidth of article at 10 pt


def test_widths_are_computer_moderns() -> None:
    # \wd of boxes set by pdflatex at 10 pt
    for text, width in (
        ("0123456789", 50.0),
        ("abcdefghijklmnopqrstuvwxyz", 127.6),
        ("W", 10.28),
        ("88.52 ± 0.10", 50.6),
    ):
        assert width <= text_width(text) <= 1.12 * width + 1


@pytest.mark.parametrize("columns", [1, 4, 9, 30])
@pytest.mark.parametrize(
    "label", ["DGL", "a rather long label of a row that nobody would print / so long", "k" * 90]
)
def test_wide_tables_are_split_and_lose_nothing(columns: int, label: str) -> None:
    header = tuple(map(cell, ("", "", *(f"ResNet-110 K={index}" for index in range(columns)))))
    numbers = tuple(cell(f"{index}.00 ± 0.10 (3)", "$^=$") for index in range(columns))
    sheet = Sheet(header, 2, (Line((cell(label), cell("ours"), *numbers)),))
    found = [each for body in floats(sheet) for each in tabulars(body)]
    values = [shown(text) for rows in found for text in rows[1][2:]]
    assert [value.split(".")[0] for value in values] == [str(index) for index in range(columns)]
    for rows in found:
        widths = [max(len(shown(text)) for text in column) for column in zip(*rows, strict=True)]
        assert sum(widths) * 4.5 * 0.85 + 8 * (len(widths) - 1) <= WIDTH


def test_long_tables_are_split_between_rows_and_groups_named_again() -> None:
    header = tuple(map(cell, ("", "", "Value")))
    lines = [Line((cell("Group"),), heading=True)]
    for index in range(60):
        lines.append(Line((cell(f"R{index}"), cell("ours"), cell("1"))))
        lines.append(Line((cell(""), cell("paper"), cell("2")), begins=False))
    pages = floats(Sheet(header, 2, tuple(lines)))
    assert len(pages) > 1
    assert [page.count("\\textbf{Group}") for page in pages] == [1] * len(pages)
    for page in pages:
        # 44 lines of 11 pt are less than a page of 550.
        assert page.count("ours") == page.count("paper") <= 22
        assert page.index("ours") < page.index("paper")
    assert sum(page.count("ours") for page in pages) == 60


def test_rows_without_a_number_in_a_block_are_left_out() -> None:
    header = tuple(map(cell, ("", "", *(f"a long head of column {index}" for index in range(8)))))
    only_last = (*(cell("") for _ in range(7)), cell("93.00 ± 0.10"))
    every = tuple(cell("88.00 ± 0.10 (3)") for _ in range(8))
    lines = (
        Line((cell("DGL"), cell("ours"), *every)),
        Line((cell("BP"), cell("ours"), *only_last)),
    )
    found = [each for body in floats(Sheet(header, 2, lines)) for each in tabulars(body)]
    assert len(found) > 1
    assert ["BP" in str(rows) for rows in found] == [False] * (len(found) - 1) + [True]


def mixed() -> tuple[Table, str]:
    metrics = {
        "test_acc": Metric(unit="%"),
        "params": Metric(unit="M", kind="exact"),
        "gpu_memory": Metric(unit="GB", kind="predicted", better="lower"),
    }
    rows = {"DGL": ["90.00", "80.00"], "BP": ["90.00", "91.00"]}
    published = {
        "test_acc": rows,
        "params": {"DGL": ["0.86", "0.90"]},
        "gpu_memory": {"DGL": ["1.62", "1.87"]},
    }
    table = make_table(published, metrics=metrics)
    recipe = recipe_at(table, "DGL")
    records = [make_record(recipe, 90.0 + seed, seed) for seed in range(3)]
    records += [
        make_record(reduced(recipe, "quick"), 50.0),
        make_record(reduced(recipe_at(table, "BP"), "quick"), None),
    ]
    values = {("CIFAR-10 / DGL", "K=16"): {"params": 0.861, "gpu_memory": 0.51}}
    return table, render(table, compare(table, records, values), "tex")


def test_captions_fit_their_numbers() -> None:
    _, text = mixed()
    captions = re.findall(r"\\caption\{(.*)\}\n", text)
    assert len(captions) == 4  # costs stand once, though there are two comparisons
    full, params, memory, quick = captions
    assert "Full runs: the published schedule, on CIFAR-10." in full
    assert "standard deviation over 3 seeds" in full
    assert "Reduced" not in full + params + memory
    assert "counted" in params
    assert "seed" not in params + memory
    assert "predicted without a device" in memory
    assert "Reduced run: 12 of 160 epochs" in quick
    assert "one seed" in quick
    assert r"$\times$ ended in an error" in quick
    assert r"$\times$" not in full


def test_number_cells_hold_numbers_and_marks_alone() -> None:
    _, text = mixed()
    cells = [
        shown(text)
        for rows in tabulars(text)
        for row in rows[1:]
        if len(row) > 2
        for text in row[2:]
    ]
    assert "91.00 + 1.00=" in cells or "91.00 +1.00=" in cells
    for each in cells:
        assert re.fullmatch(r"[-\d. +]*(=|neq|\?|dagger)?|---|times|", each), each


def test_a_long_name_neither_widens_the_caption_nor_the_table(tmp_path: Path) -> None:
    name = f"imagefolder:/{'deep/' * 30}{'x' * 120}"
    rows = [Axis(name, {"method": "dgl"})]
    table = msgspec.structs.replace(
        make_table(rows=rows), published={"test_acc": {name: ["90", "80"]}}
    )
    record = make_record(reduced(recipe_at(table, name), "quick"), 50.0, label=name)
    text = render(table, compare(table, [record]), "tex")
    compiled(tmp_path, text)


def test_a_sheet_without_values_is_nothing() -> None:
    sheet = Sheet(
        (cell(""), cell("a")), 1, (Line((cell("G"),), heading=True), Line((cell("x"), cell(""))))
    )
    assert floats(sheet) == []


def test_names_drawn_at_random_compile_and_stay_on_the_page(tmp_path: Path) -> None:
    draw = random.Random(3)
    alphabet = [
        *map(chr, range(0x20, 0x7F)),
        *map(chr, range(0xA0, 0x180)),
        *"猫αΔ👩…→±\x1b\u202e\n",
    ]
    names = [
        "".join(draw.choices(alphabet, k=length)).strip() or "x" for length in (3, 10, 40, 150)
    ]
    rows = [Axis(f"{name}{index}", {"method": "dgl"}) for index, name in enumerate(names)]
    published = {"test_acc": {row.label: ["90", "80"] for row in rows}}
    table = msgspec.structs.replace(
        make_table(rows=rows, title=names[2], noted=[names[3]]), published=published
    )
    records = [
        make_record(reduced(cell.recipe, "quick"), 50.0, label=names[2])
        for cell in table.cells
        if cell.recipe
    ]
    compiled(tmp_path, render(table, compare(table, records), "tex"))


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.tex")), ids=lambda path: path.stem)
def test_the_committed_tables_are_no_wider_than_a_page(path: Path) -> None:
    for rows in tabulars(path.read_text(encoding="utf-8")):
        rows = [row for row in rows if "multicolumn" not in row[0]]
        widths = [max(len(shown(text)) for text in column) for column in zip(*rows, strict=True)]
        assert sum(widths) * 4.5 * 0.85 + 8 * (len(widths) - 1) <= 1.05 * WIDTH


def test_all_committed_tables_compile(tmp_path: Path) -> None:
    compiled(
        tmp_path,
        "\n".join(f"\\input{{{path}}}\\clearpage" for path in sorted(RESULTS.glob("*.tex"))),
    )
