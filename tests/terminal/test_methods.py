"""What ``locbench list --methods`` prints."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from locbench.cli.app import app
from locbench.errors import UsageError


def listed(*words: str, columns: int = 80) -> Any:
    return CliRunner(env={"COLUMNS": str(columns)}).invoke(
        app, ["list", *words], catch_exceptions=False
    )


@pytest.mark.parametrize("columns", [60, 80, 132])
def test_lines_fit_the_terminal(columns: int) -> None:
    assert max(map(len, listed("--methods", columns=columns).output.splitlines())) <= columns


def test_every_option_has_its_values_and_default() -> None:
    words = " ".join(listed("--methods").output.split())
    assert "decay number from 0 to 1 (default 0.5). Tau of the pyramidal depth" in words
    assert "official_edges true, false (default false)." in words
    assert "reconstruction_weight first,last. Alpha" in words
    assert "hpff (alone: hpff+dgl)" in words


def test_json() -> None:
    methods = {
        method["name"]: method for method in json.loads(listed("--methods", "--json").output)
    }
    assert len(methods) == 16
    assert methods["pgl"]["options"][0] == {
        "name": "period",
        "values": "whole number",
        "default": 10,
        "meaning": "P, in epochs of the published schedule.",
    }
    assert methods["infopro"]["options"][0]["default"] is None


def test_one_list_at_a_time() -> None:
    with pytest.raises(UsageError, match="two lists"):
        listed("--methods", "--runs")
