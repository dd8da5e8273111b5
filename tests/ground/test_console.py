"""Results on standard output: JSON, or a view, with all else beside JSON on standard error."""

from __future__ import annotations

import json

import pytest

from locbench.console import Output


def test_json_stands_alone_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(True)
    output.console.print("tracing")
    output.show(lambda: {"cells": [1, 2]}, lambda console: console.print("two cells"))
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"cells": [1, 2]}
    assert printed.err == "tracing\n"


def test_a_view_is_printed_and_its_entry_never_made(capsys: pytest.CaptureFixture[str]) -> None:
    Output(False).show(lambda: 1 / 0, lambda console: console.print("two [cells]"))
    assert capsys.readouterr().out == "two [cells]\n"


def test_a_quiet_process_prints_no_view(capsys: pytest.CaptureFixture[str]) -> None:
    Output(False, quiet=True).show(lambda: 0, lambda console: console.print("two cells"))
    assert capsys.readouterr().out == ""
