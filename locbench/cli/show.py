"""``locbench show``."""

from __future__ import annotations

from locbench.cli.options import Json, TableId, Tables, use_tables


def show(
    table_id: TableId,
    table_folders: Tables = None,
    as_json: Json = False,
) -> None:
    """Show a table: axes, recipes, published numbers with their source, contradictions."""
    use_tables(table_folders)
    from locbench.console import Output
    from locbench.spec.table_files import load_table
    from locbench.terminal.tables import print_table, table_entry

    table = load_table(table_id)
    Output(as_json).show(lambda: table_entry(table), lambda console: print_table(console, table))
