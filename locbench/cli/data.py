"""``locbench data``."""

from __future__ import annotations

from locbench.cli.options import DataRoot, Json, data_root


def data(root: DataRoot = None, as_json: Json = False) -> None:
    """Show the known data sets: where they are, whether they are whole, how to get them."""
    from locbench.console import Output
    from locbench.datasets.catalogue import all_statuses
    from locbench.terminal.datasets import print_statuses

    statuses = all_statuses(data_root(root))
    Output(as_json).show(lambda: statuses, lambda console: print_statuses(console, statuses))
