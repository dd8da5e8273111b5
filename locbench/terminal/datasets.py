"""How the states of the data sets are printed."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from locbench.console import Terminal
from locbench.datasets.status import DatasetStatus
from locbench.terminal.lines import say

_COLOURS = {"ready": "green", "missing": "yellow", "broken": "red"}


def print_statuses(console: Terminal, statuses: Sequence[DatasetStatus]) -> None:
    """Print one data set after the other."""
    for status in statuses:
        state = Text(f"{status.state:<8}", style=_COLOURS[status.state])
        head = Text(f"{status.name:<14}", style="bold") + state
        console.print(head + Text(f" {status.label}"), soft_wrap=True)
        say(console, "    " + ": ".join(filter(None, (status.where, status.detail))))
        if status.state != "ready":
            say(console, f"    {status.remedy}")
    for name, words in (
        ("imagefolder:PATH", "any folder with PATH/train/<class>/* and PATH/test or PATH/val"),
        ("coco:PATH", "any folder with PATH/train2017, PATH/val2017 and PATH/annotations"),
    ):
        say(console, f"{name:<24}{words}")
