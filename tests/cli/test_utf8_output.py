"""Documents on standard output are UTF-8 in every locale."""

from __future__ import annotations

import io
import json
import sys

import pytest

from locbench.console import print_document, print_json


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "ascii", "utf-8"])
def test_json_is_utf8_in_every_locale(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(
        sys, "stdout", io.TextIOWrapper(written, encoding=encoding, errors="replace")
    )
    sys.stdout.write("before\n")
    print_json({"printed": "93.1 ± 0.2 †"})
    print_document("| τ | 0.11 |")
    sys.stdout.flush()
    first, *rest, last = written.getvalue().decode("utf-8").splitlines()
    assert (first, last) == ("before", "| τ | 0.11 |")
    assert json.loads("\n".join(rest)) == {"printed": "93.1 ± 0.2 †"}


def test_paths_of_other_bytes_are_written_so_that_json_can_hold_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_json({"where": ["caf\udce9", {"x\udcff": 1}], "n": 2, "ü": None})
    assert json.loads(capsys.readouterr().out) == {
        "where": [r"caf\udce9", {r"x\udcff": 1}],
        "n": 2,
        "ü": None,
    }
