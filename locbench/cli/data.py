"""``locbench data``."""

from __future__ import annotations

from locbench.cli.options import DataRoot, Json, data_root


def data(root: DataRoot = None, as_json: Json = False) -> None:
    """Show the known data sets: where they are looked for, whether they are there and whole, how to
    get them.
    """
    from locbench.datasets.catalogue import all_statuses
    from locbench.terminal.datasets import print_statuses

    print_statuses(all_statuses(data_root(root)), as_json=as_json)
