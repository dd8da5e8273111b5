"""The site: what its pages say, that links hold, and that nothing is loaded from elsewhere."""

from __future__ import annotations

import shlex
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from report_builders import BASE, make_record, make_table, recipe_at, reduced
from site_pages import Page, broken_links, pages_of

from locbench.errors import FailureError, UsageError
from locbench.report.compare import compare
from locbench.report.render import with_published
from locbench.report.site.pages import Site
from locbench.report.site.write import MARKER, write_site
from locbench.results.record import Record
from locbench.spec.table_files import load_tables
from locbench.spec.tables import Axis, Metric, Table

HOSTILE = "<script>alert(1)</script> \"'><img src=x onerror=alert(2)> {{ 7 * 7 }}\u202e"


def curve(*losses: float) -> list[dict[str, float | None]]:
    return [
        {"epoch": epoch, "train_loss": loss, "test_acc": 10.0 * epoch}
        for epoch, loss in enumerate(losses, 1)
    ]


def records_of(table: Table) -> list[Record]:
    """DGL has 90.2 ± 0.4 at K=16 over three seeds, Head failed, BP was run on a few images."""
    dgl, head = recipe_at(table, "DGL"), recipe_at(table, "Head")
    history = {"history": curve(2.0, 1.5, 1.0)}
    records = [
        make_record(dgl, acc, seed, **history) for seed, acc in enumerate((89.8, 90.2, 90.6))
    ]
    records += [make_record(head, error=HOSTILE)]
    records += [make_record(reduced(recipe_at(table, "BP"), "quick"), 55.5, **history)]
    return records


def hostile_table() -> Table:
    """Whoever writes a table of their own chooses its labels."""
    return make_table(
        {"test_acc": {HOSTILE: ["90.00", "80.00"]}},
        id="hostile & more",
        title=HOSTILE,
        rows=[Axis(f"CIFAR-10 / {HOSTILE}", {"method": "dgl"}, note=HOSTILE)],
    )


def site_of(tables: list[Table], records: list[Record]) -> Site:
    found = with_published([(table, compare(table, records)) for table in tables])
    return Site(found, records, lambda record: Path("my results") / f"{record.key}.json")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Record]]:
    """A site of two tables, and of a run of no table."""
    out = tmp_path_factory.mktemp("all") / "site"
    printed = {
        "DGL": ["91.3 ± 0.2", "80.0"],
        "BP": ["94.1", ""],
        "PredSim": ["70.0", "80.0"],
        "Head": ["94.1", "79.0"],
    }
    table = make_table({"test_acc": printed})
    records = records_of(table)
    apart = msgspec.structs.replace(recipe_at(table, "DGL"), modules=3, epochs=2)
    records += [make_record(apart, 12.25, label="CIFAR-10"), make_record(apart, 12.75, seed=1)]
    assert write_site(site_of([table, hostile_table()], records), out) == out / "index.html"
    return out, records


@pytest.fixture(scope="module")
def pages(written: tuple[Path, list[Record]]) -> dict[str, Page]:
    return pages_of(written[0])


def test_there_is_a_page_for_every_table_and_record(
    written: tuple[Path, list[Record]], pages: dict[str, Page]
) -> None:
    names = {f"records/{record.recipe.name}.html" for record in written[1]}
    tables = {"tables/example.html", "tables/hostile & more.html"}
    assert set(pages) == {"index.html", "methods.html", "records.html"} | tables | names


def test_every_link_leads_to_a_file_of_the_site(
    written: tuple[Path, list[Record]], pages: dict[str, Page]
) -> None:
    assert list(broken_links(written[0], pages)) == []


def test_nothing_is_loaded_from_elsewhere(
    written: tuple[Path, list[Record]], pages: dict[str, Page]
) -> None:
    loaded = {url for page in pages.values() for url in page.resources}
    assert {url for url in loaded if ":" in url or url.startswith("/")} == {"data:,"}
    for path in (written[0] / "static").iterdir():
        text = path.read_text(encoding="utf-8")
        if path.suffix in (".js", ".css"):
            words = ("http:", "https:", "url(", "@import", "fetch(", "XMLHttpRequest", "import(")
            assert [word for word in words if word in text] == []


def test_labels_are_shown_and_never_run(pages: dict[str, Page]) -> None:
    page = pages["tables/hostile & more.html"]
    shown = HOSTILE.replace("\u202e", "\ufffd")  # it turns the direction of writing round
    assert page.text.count(shown) >= 3
    assert "<title>hostile &amp; more" in page.path.read_text(encoding="utf-8")
    for each in pages.values():
        assert each.handlers == []
        assert each.tags.count("script") == 3
        assert "\u202e" not in each.text


def test_a_cell_has_both_numbers_and_the_colour_of_its_verdict(pages: dict[str, Page]) -> None:
    _, sixteen, eight = pages["tables/example.html"].rows[1]
    # 90.2 - 91.3 is -1.1; the deviation of 89.8, 90.2 and 90.6 is 0.4.
    assert sixteen.text == "90.20 ± 0.40 (3) ✗ off -1.10 paper 91.3 ± 0.2"
    assert "off" in sixteen.classes
    assert "seeds 0, 1, 2" in sixteen.attributes["title"]
    assert (eight.text, eight.classes) == ("— paper 80.0", ["value", "missing"])


def test_a_reduced_run_is_marked_and_has_the_papers_decimals(pages: dict[str, Page]) -> None:
    cells = [
        cell.text
        for row in pages["tables/example.html"].rows
        for cell in row
        if "reduced" in cell.classes
    ]
    assert cells == ["55.5 (1) † reduced paper 94.1"]


def test_a_table_page_leads_to_the_runs_behind_a_cell(
    written: tuple[Path, list[Record]], pages: dict[str, Page]
) -> None:
    page = pages["tables/example.html"]
    assert "#runs-1-0" in page.links
    seeds = [f"../records/{record.recipe.name}.html" for record in written[1][:3]]
    assert [link for link in page.links if link in seeds] == seeds
    assert "Head, K=16: seed 0 (failed)" in " ".join(page.text.split())


def test_curves_are_pictures_of_letters(written: tuple[Path, list[Record]]) -> None:
    files = list((written[0] / "curves").iterdir())
    # DGL's three seeds are one picture, the reduced run another; that of no table has no losses,
    # and the failed one has nothing.
    assert len(files) == 3
    texts = ["".join(ElementTree.parse(path).getroot().itertext()) for path in files]
    assert sum("training loss of the output" in text for text in texts) == 2
    assert sum("test accuracy (%)" in text for text in texts) == 3
    assert sum("seed 2" in text for text in texts) == 1


def test_a_record_says_its_recipe_and_how_it_is_run_again(
    written: tuple[Path, list[Record]], pages: dict[str, Page]
) -> None:
    record = written[1][0]
    page = pages[f"records/{record.recipe.name}.html"]
    command = shlex.join(["locbench", "rerun", f"my results/{record.key}.json"])
    assert command in page.text
    settings = {row[0].text: row[1].text for row in page.rows if len(row) == 2}
    assert settings["epochs"] == str(BASE["epochs"])
    assert settings["lr"] == str(BASE["lr"])
    assert settings["test_acc"] == "89.8"
    assert settings["commit"] == "0123456789ab"
    assert "../tables/example.html#runs-1-0" in page.links


def test_the_index_counts_numbers(pages: dict[str, Page]) -> None:
    row = [cell.text for cell in pages["index.html"].row("example")]
    # table, bar, full, reduced, counted, predicted, all, exact, match
    assert row[2:9] == ["1", "1", "—", "—", "7", "", "0 of 1"]
    text = " ".join(pages["index.html"].text.split())
    assert "2 tables with 9 numbers: 2 full, 1 reduced, 1 failed, 5 not run." in text


def test_methods_are_ranked_across_tables_with_runs_of_none(pages: dict[str, Page]) -> None:
    rows = [[cell.text for cell in row] for row in pages["methods.html"].rows]
    assert rows[0][:5] == ["Method", "Ours", "Paper", "Options", "K"]
    methods = [row[0] for row in rows if row[0] != "Method"]
    # The published 94.1 of BP and Head, DGL's 91.3, 90.00 and 80.0s, PredSim's 70.0; ours at last.
    assert methods[:3] == ["bp", "head", "dgl"]
    last = next(row for row in rows if row[5].startswith("no table"))
    assert last[1] == "12.50 ± 0.35 (2)"  # the deviation of 12.25 and 12.75 is 0.3536
    assert last[5] == "no table: seed 0 seed 1"


def test_a_row_of_ones_own_is_ranked_beside_the_papers(tmp_path: Path) -> None:
    rows = [
        Axis("CIFAR-10 / DGL", {"method": "dgl"}),
        Axis("CIFAR-10 / Mine", {"method": "head"}, own=True),
    ]
    table = make_table({"test_acc": {"DGL": ["90.00", ""]}}, rows=rows)
    write_site(site_of([table], [make_record(recipe_at(table, "Mine"), 91.0)]), tmp_path)
    found = pages_of(tmp_path)
    lines = [[cell.text for cell in row[:3]] for row in found["methods.html"].rows[1:]]
    assert lines == [["head", "91.00 (1)", ""], ["dgl", "—", "90.00"]]
    row = found["tables/example.html"].row("Mine")
    assert (row[1].text, row[1].classes) == ("91.00 (1)", ["value", "own"])


def test_only_trained_numbers_lead_to_runs(tmp_path: Path) -> None:
    metrics = {"test_acc": Metric(unit="%"), "params": Metric(unit="M", kind="exact")}
    printed = {
        name: {"DGL": [text, ""]} for name, text in (("test_acc", "90.0"), ("params", "0.47"))
    }
    table = make_table(printed, metrics=metrics)
    record = make_record(recipe_at(table, "DGL"), 90.0)
    computed = {("CIFAR-10 / DGL", "K=16"): {"params": 0.4669}}
    found = [(table, compare(table, [record], computed))]
    write_site(Site(found, [record], lambda record: Path(f"{record.key}.json")), tmp_path)
    page = pages_of(tmp_path)["tables/example.html"]
    assert page.links.count("#runs-1-0") == 1
    texts = [cell.text for row in page.rows for cell in row if "value" in cell.classes]
    assert "0.47 ✓ match paper 0.47" in texts


def test_records_name_the_cells_that_they_count_in(
    written: tuple[Path, list[Record]], pages: dict[str, Page]
) -> None:
    rows = {row[0].text.split()[-1]: row for row in pages["records.html"].rows[1:]}
    assert len(rows) == len(written[1])
    first = rows[written[1][0].key]
    assert [cell.text for cell in first[1:8]] == [
        *("ResNet-32", "16", "CIFAR-10", "160", "50000", "0", "89.80")
    ]
    assert first[8].text.startswith("example : CIFAR-10 / DGL, K=16")
    assert rows[written[1][3].key][7].text == "failed"


def test_all_shipped_tables_have_pages_without_records(tmp_path: Path) -> None:
    tables = load_tables()
    write_site(site_of(tables, []), tmp_path)
    found = pages_of(tmp_path)
    assert {f"tables/{table.id}.html" for table in tables} <= set(found)
    assert list(broken_links(tmp_path, found)) == []


def test_a_site_is_written_again_over_itself(tmp_path: Path) -> None:
    table = make_table()
    records = records_of(table)
    write_site(site_of([table], records), tmp_path)
    curves = {path: path.stat().st_mtime_ns for path in (tmp_path / "curves").iterdir()}
    (tmp_path / "notes.txt").write_text("mine")
    outside = tmp_path.parent / "outside.txt"
    outside.write_text("not of the site")
    with (tmp_path / MARKER).open("a") as marker:
        marker.write("../outside.txt\n")
    write_site(site_of([table], records[:3]), tmp_path)
    gone = f"{records[3].recipe.name}.html"
    assert gone not in {path.name for path in (tmp_path / "records").iterdir()}
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert outside.read_text() == "not of the site"
    (kept,) = (tmp_path / "curves").iterdir()
    assert kept.stat().st_mtime_ns == curves[kept]  # the same runs are drawn once


def test_a_folder_that_is_no_site_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("somebody's page")
    with pytest.raises(UsageError, match="is no site that locbench wrote"):
        write_site(site_of([make_table()], []), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]
    with pytest.raises(UsageError, match="is no site"):
        write_site(site_of([make_table()], []), tmp_path / "index.html")


def test_a_folder_that_cannot_be_written_to_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(FailureError, match="cannot write"):
        write_site(site_of([make_table()], []), tmp_path / "file" / "site")
