"""Reading a record: the file, its fields, its numbers, and whether it is what its name says."""

from __future__ import annotations

from pathlib import Path

import msgspec

from locbench.errors import LocbenchError
from locbench.results.json_store import JsonStore, UnusableError
from locbench.results.record import SCHEMA, Record
from locbench.results.validity import first_fault


class RecordFiles(JsonStore[Record]):
    """The record files of a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, Record)

    def _decode(self, content: bytes) -> Record:
        try:
            schema = msgspec.json.decode(content, type=_Versioned).schema
            if schema == SCHEMA:
                return msgspec.json.decode(content, type=Record)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            newer = "; a newer locbench may have made it" if "unknown field" in str(error) else ""
            raise UnusableError(f"it is no record: {error}{newer}") from None
        whose = "a newer locbench made it" if schema > SCHEMA else "no locbench made such"
        raise UnusableError(
            f"{whose}: its schema is {str(schema)[:20]}, and this version reads {SCHEMA}"
        )

    def _fault_of(self, value: Record, path: Path) -> str:
        try:
            key = value.recipe.key
        except (
            LocbenchError,
            UnicodeEncodeError,
        ) as error:  # the recipe names a network that is not there
            return f"recipe: {getattr(error, 'message', error)}"
        if key != value.key:
            return f"its recipe has the key {key}, and it says {value.key[:40]!r}"
        fault = first_fault(value)
        if not fault and not path.stem.endswith(key):
            return f"its name does not end with its key, as {value.recipe.name}.json does"
        return fault


class _Versioned(msgspec.Struct):
    schema: int = SCHEMA
