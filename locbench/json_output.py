"""What ``--json`` prints, and every document that goes to standard output. Imports neither torch nor rich."""

from __future__ import annotations

import io
import sys
from typing import Any

import msgspec

from locbench.data.naming import escaped


def print_json(value: object) -> None:
    """Print a value of plain types and structs as indented JSON on standard output."""
    try:
        encoded = msgspec.json.encode(value)
    except UnicodeEncodeError:  # a path of bytes that are no UTF-8
        encoded = msgspec.json.encode(_readable(msgspec.to_builtins(value)))
    print_document(msgspec.json.format(encoded, indent=2).decode())


def print_document(text: str) -> None:
    """Print a text in UTF-8 whatever the locale: JSON has no other encoding, and a report loses no sign."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    print(text)


def _readable(value: Any) -> Any:
    if isinstance(value, str):
        return escaped(value)
    if isinstance(value, dict):
        return {_readable(name): _readable(each) for name, each in value.items()}
    return [_readable(each) for each in value] if isinstance(value, list | tuple) else value
