"""Reading a record: the file, its fields, its numbers, and whether it is what its name says."""

from __future__ import annotations

from pathlib import Path

import msgspec

from locbench.errors import LocbenchError
from locbench.files import read_regular
from locbench.results.record import SCHEMA, Record
from locbench.results.validity import first_fault


class UnusableError(Exception):
    """A file cannot be used as a record; the text says why, without the file's name."""


def read_record(path: Path) -> Record:
    """Read one record.

    Raises:
        UnusableError: the file cannot be read, or holds no record that this version understands.
    """
    try:
        content = read_regular(path)
    except OSError as error:
        raise UnusableError(error.strerror or str(error)) from None
    record = _decoded(content)
    try:
        key = record.recipe.key
    except (LocbenchError, UnicodeEncodeError) as error:  # the recipe names a network that is not there
        raise UnusableError(f"recipe: {getattr(error, 'message', error)}") from None
    if key != record.key:
        raise UnusableError(f"its recipe has the key {key}, and it says {record.key[:40]!r}")
    fault = first_fault(record)
    if fault:
        raise UnusableError(fault)
    if not path.stem.endswith(key):
        raise UnusableError(f"its name does not end with its key, as {record.recipe.name}.json does")
    return record


class _Versioned(msgspec.Struct):
    schema: int = SCHEMA


def _decoded(content: bytes) -> Record:
    try:
        schema = msgspec.json.decode(content, type=_Versioned).schema
        if schema == SCHEMA:
            return msgspec.json.decode(content, type=Record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        newer = "; a newer locbench may have made it" if "unknown field" in str(error) else ""
        raise UnusableError(f"it is no record: {error}{newer}") from None
    whose = "a newer locbench made it" if schema > SCHEMA else "no locbench made such"
    raise UnusableError(f"{whose}: its schema is {str(schema)[:20]}, and this version reads {SCHEMA}")
