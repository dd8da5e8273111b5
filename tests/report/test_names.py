"""Names from outside in reports, on terminals and in files: shown as they are, and taken for
nothing else.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from pathlib import Path

import msgspec
import pandas as pd
import pytest
from report_builders import make_record, make_table, recipe_at, reduced
from small_table import Bench

from locbench.console import Terminal
from locbench.execution.events import JobDone, JobStarted
from locbench.execution.job import Job, place_of
from locbench.printable import printable
from locbench.report.compare import compare
from locbench.report.latex_text import escaped as in_latex
from locbench.report.machine_formats import as_cell
from locbench.report.markdown import escaped as in_markdown
from locbench.report.model import Comparison
from locbench.report.render import render, render_all
from locbench.spec.table_files import load_table
from locbench.spec.tables import Axis, Table
from locbench.terminal.progress import SweepProgress, summary

ESCAPE = "\x1b[31mred\x1b]0;title\x07"
TURNED = "a\u202eb\u2066c\u200bd\u2028e\x9b1mf\udcffg"
MARKUP = "[bold red]x[/bold red] :warning: [link=http://a.b]y[/link]"
FORMULA = '=HYPERLINK("http://a.b","x")'
LINK = "![p](http://a.b/p.png) <img src=x> [l](javascript:1) &lt; $x$ `c`"


def named(name: str) -> tuple[Table, list[Comparison]]:
    """A table whose row, data set, failure and device are called so."""
    rows = [Axis(name, {"method": "dgl"}), Axis("BP", {"method": "bp"})]
    published = {"test_acc": {name: ["90", "80"], "BP": ["91", ""]}}
    table = msgspec.structs.replace(make_table(rows=rows), published=published)
    recipe = reduced(recipe_at(table, name), "quick")
    records = [
        make_record(recipe, 50.0, label=name, fingerprint=name, provenance={"device": name}),
        make_record(recipe, None, 1, error=name),
    ]
    return table, compare(table, records)


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    return Bench(tmp_path, monkeypatch, capsys)


def test_signs_stand_in_the_place_of_what_has_none() -> None:
    assert printable("a\x1b[1m\n\x7f\t") == "a␛[1m␊␡␉"
    assert printable("a\nb\x1b", keep="\n") == "a\nb␛"
    assert printable(TURNED) == "a�b�c�d�e�1mf�g"
    assert printable("ü 猫 é 👩\u200d🔬 ±—†") == "ü 猫 é 👩\u200d🔬 ±—†"


def test_a_terminal_takes_every_text_literally(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.table import Table as Grid
    from rich.text import Text

    for shown in (ESCAPE, Text(ESCAPE), Text.assemble(("x", "bold"), ESCAPE)):
        Terminal().print(shown, markup=False)
        said = capsys.readouterr().out
        assert "␛[31mred␛]0;title" in said
        assert "\x1b" not in said
    grid = Grid("head")
    grid.add_row(Text(f"{ESCAPE} {TURNED}"))
    Terminal().print(grid)
    assert not set(capsys.readouterr().out) & set("\x1b\x07\x9b\u202e\u2066")
    Terminal().print(MARKUP)
    assert capsys.readouterr().out.strip() == MARKUP
    grid = Grid("head")
    grid.add_row(MARKUP)
    Terminal().print(grid)
    assert MARKUP in capsys.readouterr().out


def test_progress_takes_names_literally(capsys: pytest.CaptureFixture[str]) -> None:
    recipe = recipe_at(make_table(), "DGL")
    job = Job(recipe, ((f"{MARKUP} {ESCAPE}", "K=1\n2"),), "to do")
    assert place_of(job) == f"{MARKUP} {printable(ESCAPE)}, K=1␊2, seed 0"
    display = SweepProgress(Terminal())
    display.on(JobStarted(job, 1, 1))
    descriptions = [str(display.bars.columns[0].render(task)) for task in display.bars.tasks]
    assert place_of(job) in descriptions
    display.on(JobDone(make_record(recipe, None, error=f"a\nb {ESCAPE} {TURNED}")))
    said = capsys.readouterr().out
    assert "failed: dgl on cifar10, seed 0: a b ␛[31m" in said
    assert not set(said) & set("\x1b\x07\x9b\u202e")


def test_a_run_is_told_by_accuracy_and_error() -> None:
    assert "45.05 % test accuracy (54.95 % error)" in summary(
        make_record(recipe_at(make_table(), "DGL"), 45.05)
    )


def test_errors_send_no_escape_codes(bench: Bench) -> None:
    called = bench.call("show", ESCAPE)
    assert called.code == 2
    assert "\x1b" not in called.err
    bench.write('id = "x\\u001b[31m"')
    called = bench.call("show", "mini", "--json")
    assert called.code == 1
    assert "\x1b" not in called.err


def test_markdown_has_no_links_pictures_formulas_or_lists() -> None:
    assert (
        in_markdown("![p](x) [l](y) <b> &lt; A & B $x$")
        == r"!\[p\](x) \[l\](y) \<b> \&lt; A & B \$x\$"
    )
    assert (
        in_markdown("https://a.b www.a.b x@a.b arXiv:2208.1")
        == r"https\://a.b www\.a.b x\@a.b arXiv:2208.1"
    )
    starts = {
        "# x": r"\# x",
        "- x": r"\- x",
        "> x": r"\> x",
        "12. x": r"12\. x",
        "+3.00": "+3.00",
        "-1.5": "-1.5",
    }
    assert {text: in_markdown(text) for text in starts} == starts
    table, comparisons = named(LINK)
    text = render(table, comparisons, "md")
    for raw in ("![", "](", " <img", "&lt;", " $x$", " `c`"):
        assert raw not in text.replace("\\[", "").replace("\\]", "").replace("\\<", "").replace(
            "\\&", ""
        )
    assert text.count("!\\[p\\](http\\://a.b/p.png)") >= 4  # row, data, device, failure


@pytest.mark.parametrize(
    "name", [FORMULA, "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", " =1", "＝1"]
)
def test_a_spreadsheet_sees_no_formula(name: str) -> None:
    assert as_cell(name).startswith("'")
    table, comparisons = named(name)
    frame = pd.read_csv(
        io.StringIO(render(table, comparisons, "csv")), dtype=str, keep_default_na=False
    )
    assert frame["row"][0] == as_cell(name)
    for column in (
        "table",
        "row",
        "column",
        "metric",
        "unit",
        "kind",
        "how",
        "dataset",
        "data_label",
        "detail",
    ):
        assert not frame[column].str.match(r"\s*[=+\-@＝]").any()


def test_numbers_and_other_text_stay_as_they_are_in_csv() -> None:
    assert as_cell("\t=1\r") == "␉=1␍"  # shown, which no spreadsheet evaluates
    kept = ["-0.39", "+3", "93.7 ± 0.1", 'a "b", c | d', "50% & a_b", "x=1", "", 1.5, None]
    assert [as_cell(each) for each in kept] == kept


@pytest.mark.parametrize("name", [ESCAPE, TURNED, "a\nb\r\nc"])
def test_no_report_carries_control_characters(name: str) -> None:
    table, comparisons = named(name)
    for ending in ("md", "tex", "csv"):
        text = render(table, comparisons, ending)
        assert not set(text) & set("\x1b\x07\x9b\u202e\u2066\u2028\r\udcff"), ending


def test_latex_prints_hyphens_ticks_and_long_words() -> None:
    assert in_latex("a--b `c` ¿ ¡") == r"a-{}-b \textasciigrave{}c\textasciigrave{} ?` !`"
    broken = ["folder:", "/", "some/", "long/", r"path\_", "x/", "y"]
    assert in_latex("folder:/some/long/path_x/y") == r"\allowbreak{}".join(broken)
    assert in_latex("k" * 45) == r"\allowbreak{}".join(["k" * 14, "k" * 14, "k" * 14, "kkk"])


def test_a_dollar_in_a_name_begins_no_formula(tmp_path: Path) -> None:
    from locbench.figures import figure_file

    with figure_file(tmp_path / "plot.png", size=(2, 2)) as (figure, axes):
        axes.set_title(r"a $\frac$ b_c")
        figure.suptitle("$")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_several_tables_are_one_document() -> None:
    found = [named("a"), named("b, c")]
    frame = pd.read_csv(io.StringIO(render_all(found, "csv")))
    assert len(frame) == sum(len(each.entries) for _, comparisons in found for each in comparisons)
    assert not (frame["table"] == "table").any()
    assert [each["table"] for each in json.loads(render_all(found, "json"))] == [
        "example",
        "example",
    ]
    assert json.loads(render_all(found[:1], "json"))["table"] == "example"  # one table as ever


def test_the_report_command_prints_one_document(bench: Bench) -> None:
    from small_table import MINI

    from locbench.results.store import Store

    bench.write(MINI.replace('"mini"', '"second"'), "second")
    recipe = load_table("mini").cells[0].recipe
    assert recipe is not None
    Store(bench.results).save(make_record(recipe, 85.0))
    assert [each["table"] for each in bench.call("report", "mini", "second", "--json").json] == [
        "mini",
        "second",
    ]
    assert (
        bench.call("report", "mini", "--json").json
        == bench.call("report", "mini", "--format", "json").json
    )
    text = bench.call("report", "second", "mini", "--format", "csv").out
    assert text.count("table,row,column") == 1
    assert list(pd.read_csv(io.StringIO(text))["table"].unique()) == ["second", "mini"]
    refused = bench.call("report", "mini", "--json", "--format", "csv")
    assert (refused.code, refused.out) == (2, "")
    assert "--out" in refused.err


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles_with_every_character_of_latin_1_and_every_command(tmp_path: Path) -> None:
    name = (
        "".join(map(chr, (*range(0x20, 0x7F), *range(0xA0, 0x100))))
        + r" \input{x} \end{table} 猫 👩 "
        + TURNED
    )
    table, comparisons = named(name)
    (tmp_path / "t.tex").write_text(render(table, comparisons, "tex"), encoding="utf-8")
    (tmp_path / "m.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\\input{t.tex}\\end{document}"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "m.tex"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False
    )
    assert done.returncode == 0, done.stdout[-2000:]
