"""How the states of the data sets are printed."""

from __future__ import annotations

from collections.abc import Sequence

from locbench.console import print_json
from locbench.datasets.status import DatasetStatus

_COLOURS = {"ready": "green", "missing": "yellow", "broken": "red"}


def print_statuses(statuses: Sequence[DatasetStatus], *, as_json: bool) -> None:
    """Print one data set after the other, or JSON."""
    if as_json:
        print_json(statuses)
        return
    from rich.text import Text

    from locbench.console import Terminal

    console = Terminal(soft_wrap=True)
    for each in statuses:
        head = Text(f"{each.name:<14}", style="bold") + Text(
            f"{each.state:<8}", style=_COLOURS[each.state]
        )
        console.print(head + Text(f" {each.label}"))
        console.print(
            "    " + ": ".join(text for text in (each.where, each.detail) if text), markup=False
        )
        if each.state != "ready":
            console.print(f"    {each.how}", markup=False)
    console.print(
        "imagefolder:PATH        any folder with PATH/train/<class>/* and PATH/test or PATH/val",
        markup=False,
    )
    console.print(
        "coco:PATH               any folder with PATH/train2017, PATH/val2017 and PATH/annotations",
        markup=False,
    )
