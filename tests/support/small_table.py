"""A table of a few seconds on the embedded digits, and the command line called from within the
tests.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from locbench.cli import main
from locbench.results.record import Record
from locbench.results.store import Store
from locbench.spec import table_files

MINI = """\
id = "mini"
paper = "pgl"
number = "Table 9"
title = "A small one whose title is so long that no terminal of eighty columns has room for it"
source = "Nobody 2024, Table 9"
trials = 2
notes = ["The paper contradicts itself."]

[recipe]
network = "resnet8"
dataset = "digits"
epochs = 3
batch_size = 32
lr = 0.05
train_limit = 64
test_limit = 50

[metrics.test_acc]
unit = "%"

[[rows]]
label = "Digits / DGL"
recipe = { method = "dgl" }

[[rows]]
label = "Digits / DGL*"
recipe = { method = "hpff+dgl", options = { pff = 0 } }

[[rows]]
label = "Backprop"
recipe = { method = "bp" }
alone = true

[[columns]]
label = "J=4"
recipe = { modules = 4 }

[[columns]]
label = "J=2"
recipe = { modules = 2 }

[published.test_acc]
"Digits / DGL" = ["83.63", "85.70 ± 0.12"]
"Digits / DGL*" = ["84.63", "86.70"]
"Backprop" = ["93.0", ""]
"""

CELLS = 5
ONE_CELL = ("--rows", "DGL", "--columns", "J=2", "--seeds", "1")

SHIPPED_FOLDER = table_files.shipped_folder


@dataclass
class Called:
    """What a command did: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Bench:
    """A folder with the small table as the only shipped one, a results folder, and the command
    line.
    """

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.folder, self.results, self._monkeypatch, self._capsys = (
            folder,
            folder / "results",
            monkeypatch,
            capsys,
        )
        self.tables = folder / "tables"
        self.tables.mkdir()
        self.write(MINI)
        # For processes that are started; here it is the same folder once more.
        monkeypatch.setenv("LOCBENCH_TABLES", str(self.tables))
        monkeypatch.setattr(table_files, "_added", ())
        monkeypatch.setattr(table_files, "shipped_folder", lambda: self.tables)
        monkeypatch.setenv("LOCBENCH_DATA", str(folder / "data"))
        monkeypatch.delenv("LOCBENCH_RESULTS", raising=False)
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.chdir(folder)

    def ship(self) -> None:
        """Let the published tables be there, in the place of the small one."""
        self._monkeypatch.delenv("LOCBENCH_TABLES", raising=False)
        self._monkeypatch.setattr(table_files, "shipped_folder", SHIPPED_FOLDER)

    def write(self, text: str, name: str = "mini") -> None:
        (self.tables / f"{name}.toml").write_text(text, encoding="utf-8")

    def call(self, *arguments: str) -> Called:
        """Call locbench.

        The results folder is ``results`` below the current one unless the arguments say otherwise.
        """
        self._monkeypatch.setattr(sys, "argv", ["locbench", *arguments])
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        said = self._capsys.readouterr()
        code = stopped.value.code
        assert isinstance(code, int)
        assert "Traceback" not in said.err
        return Called(code, said.out, said.err)

    def records(self) -> list[Record]:
        return list(Store(self.results).all())

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (self.results / "records").glob("*.json")}


def numbers(record: Record) -> dict[str, Any]:
    """Return what an interrupted run must share with an uninterrupted one, to the last bit."""
    history = [
        {name: value for name, value in row.items() if name != "seconds"} for row in record.history
    ]
    return {
        "status": record.status,
        "metrics": record.metrics,
        "history": history,
        "local_losses": record.local_losses,
        "parameters": record.parameters,
    }
