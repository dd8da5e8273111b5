"""``locbench env``."""

from __future__ import annotations

from locbench.cli.options import (
    FOLDERS,
    DataRoot,
    Json,
    ResultsFolders,
    Tables,
    data_root,
    use_tables,
)


def env(
    root: DataRoot = None,
    results: ResultsFolders = FOLDERS,
    table_folders: Tables = None,
    as_json: Json = False,
) -> None:
    """Show versions, devices, folders and settings: what a bug report needs."""
    use_tables(table_folders)
    from locbench.console import Output
    from locbench.execution.environment import environment
    from locbench.terminal.environment import print_environment

    facts = environment(results, data_root(root))
    Output(as_json).show(lambda: facts, lambda console: print_environment(console, facts))
