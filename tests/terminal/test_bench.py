"""Results of a benchmark as CSV and on a terminal."""

from __future__ import annotations

import csv
import io

import msgspec
import pytest
from rich.console import Console

from locbench.bench.results import (
    BenchmarkResult,
    Bound,
    Comparison,
    Prepared,
    Profile,
    Result,
    Spread,
)
from locbench.results.record import Provenance
from locbench.terminal.bench import csv_text, print_profiles, print_result

HEADER = (
    "network,method,phase,engine,ran,batch_size,milliseconds,fastest,slowest,images_per_second,"
    "speedup,speedup_least,speedup_most,official_milliseconds,official_speedup,"
    "official_speedup_least,official_speedup_most,over_bp_percent,published_percent,roofline_percent,"
    "roofline_ms,moved_bytes,flops,peak_bytes,predicted_peak_bytes,meter,prepare_seconds,"
    "compile_seconds,epoch_seconds,epoch_speedup,rounds,steps,precision,threads,device,torch,"
    "commit,dirty,started,error"
)

RESULT = BenchmarkResult(
    device="a device",
    precision="tf32",
    threads=3,
    provenance=Provenance("a device", {"torch": "2.0"}, "abc", True, "1999", 0.0),
    lines=[
        Result(
            network="resnet8",
            method="dgl",
            phase="local",
            engine="graphed",
            ran="eager",
            batch_size=16,
            steps=7,
            rounds=[9.0, 11.0],
            milliseconds=Spread(10.0, 9.0, 11.0),
            images_per_second=1600.0,
            speedup=Spread(2.0, 1.0, 3.0),
            official=Comparison(Spread(25.0, 24.0, 26.0), Spread(2.5, 2.25, 2.75)),
            over_bp=Spread(1.5, 1.0, 2.0),
            published_overhead="=45",
            bound=Bound(1, 20, 30, 4.0, 50),
            roofline_share=0.25,
            prepared=Prepared("eager", 5.0, 6.0, 7.0, 80_000_000),
            meter="cuda allocator",
            epoch_seconds=12.0,
            epoch_speedup=1.25,
        ),
        Result(network="resnet8", method="bp", phase="", engine="eager", batch_size=16, error="no"),
    ],
)


def test_the_csv_has_a_column_for_every_figure() -> None:
    text = csv_text(RESULT)
    assert text.splitlines()[0] == HEADER
    full, failed = csv.DictReader(text.splitlines())
    assert list(full.values()) == [
        *("resnet8", "dgl", "local", "graphed", "eager", "16", "10.0", "9.0", "11.0", "1600.0"),
        *(
            "2.0",
            "1.0",
            "3.0",
            "25.0",
            "2.5",
            "2.25",
            "2.75",
            "50.0",
            "'=45",
            "25.0",
            "4.0",
            "20",
            "30",
            "80000000",
            "50",
        ),
        *("cuda allocator", "5.0", "6.0", "12.0", "1.25", "2", "7", "tf32", "3", "a device"),
        *("2.0", "abc", "True", "1999", ""),
    ]
    assert failed["milliseconds"] == failed["peak_bytes"] == failed["roofline_percent"] == ""
    assert failed["error"] == "no"


def printed(width: int = 100) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)


@pytest.mark.parametrize("width", [60, 140])
def test_a_terminal_shows_every_figure_however_narrow(width: int) -> None:
    console = printed(width)
    print_result(console, RESULT)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    figures = ("10.00", "9.00 to 11.00", "1,600", "+50.0", "=45", "25.0", "0.080", "12.0", "1.25")
    assert [figure for figure in figures if figure not in text] == []
    words = ("resnet8, batch 16, tf32", "dgl (local)", "graphed (ran", "eager)", "bp, eager: no")
    assert [word for word in words if word not in text] == []


def test_beside_the_official_code_a_terminal_shows_one_table_of_both() -> None:
    official = Result(
        network="resnet8", method="dgl", phase="local", engine="official", batch_size=16
    )
    lines = [official, RESULT.lines[0]]
    console = printed()
    print_result(console, msgspec.structs.replace(RESULT, lines=lines, official_commit="def"))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    (row,) = [line for line in text.splitlines() if "25.00" in line]
    places = [row.index(figure) for figure in ("10.00", "25.00", "2.50", "2.25 to 2.75")]
    assert places == sorted(places)
    assert "official code def" in text
    assert "roofline" not in text


def test_a_terminal_shows_shares_of_a_profile() -> None:
    console = printed()
    print_profiles(console, {"resnet8 bp": Profile(8.0, {"convolution": 6.0, "overhead": 2.0})})
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert [word for word in ("resnet8 bp", "8.00", "75.0", "25.0") if word not in text] == []
