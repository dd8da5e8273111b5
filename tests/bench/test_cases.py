"""What is timed, and by which engines."""

from __future__ import annotations

import pytest
import torch
from bench_cases import cases

from locbench.bench.cases import (
    ENGINES,
    overhead_key,
    parse_engines,
    published_overheads,
    standard_cases,
    supported,
)
from locbench.errors import UsageError
from locbench.spec.table_files import load_table

CPU = torch.device("cpu")


def test_engines_by_name() -> None:
    assert parse_engines("eager, reference") == ("eager", "reference")
    with pytest.raises(UsageError, match="eger") as raised:
        parse_engines("eger")
    assert "eager" in raised.value.remedy


def test_what_cannot_run_is_left_out_with_its_reason() -> None:
    steps, skipped = supported(cases(), None, CPU)
    assert [engine for _, engine in steps] == ["reference", "eager"] * 2
    reasons = {each.what: each.why for each in skipped}
    assert list(reasons) == ["compiled", "graphed", "compiled+graphed"]
    assert "minute" in reasons["compiled"]
    assert "CUDA" in reasons["graphed"]
    assert "CUDA" in reasons["compiled+graphed"]
    steps, skipped = supported(cases(), ENGINES, CPU)
    assert [engine for _, engine in steps] == ["reference", "eager", "compiled"] * 2


def test_some_recipes_have_no_reference() -> None:
    steps, skipped = supported(cases("dgl", memory="lean"), ("reference", "eager"), CPU)
    assert len(steps) == 3
    assert skipped[0].what == "reference for resnet8 dgl"


def test_backpropagation_comes_first() -> None:
    assert [case.recipe.method for case in cases("dgl")] == ["bp", "dgl"]
    assert [case.recipe.method for case in cases("bp")] == ["bp"]


def test_the_standard_list_has_what_the_papers_compare() -> None:
    found = standard_cases({"dataset": "cifar10", "batch_size": 128, "precision": "fp32"})
    assert [case.recipe.method for case in found].count("bp") == 2
    assert {case.recipe.batch_size for case in found} == {128}
    assert [
        case.phase
        for case in found
        if case.recipe.composition.phases.__struct_config__.tag == "periodic"
    ]


def test_overheads_are_read_from_the_table() -> None:
    (case,) = [
        case
        for case in standard_cases({"dataset": "cifar10", "batch_size": 128})
        if "110" in case.recipe.network and case.recipe.method == "auglocal"
    ]
    table = load_table("auglocal-costs")
    printed = table.published["wall_clock_overhead"]["Wall-clock overhead"]
    expected = printed[[column.label for column in table.columns].index("AugLocal d=2")]
    assert published_overheads()[overhead_key(case.recipe)] == expected != ""
