"""What ``--json`` prints. Imports neither torch nor rich."""

from __future__ import annotations

import msgspec


def print_json(value: object) -> None:
    """Print a value of plain types and structs as indented JSON on standard output."""
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
