"""Records by what a user calls them: a file, a key, or a part of a name."""

from __future__ import annotations

from pathlib import Path

from locbench.errors import UsageError
from locbench.registry import suggestion
from locbench.results.record import Record
from locbench.results.store import Store

SHOWN = 5
"""Most names that are listed where several fit."""


def named_record(text: str, store: Store) -> tuple[Record, Store]:
    """Return the record that a text means, and the folder that it lies in.

    Args:
        text: the path of a record's file, in whatever results folder; or of a record in ``store``
            its key, its name, or a part of the name that no other one has.
        store: where names are looked up.

    Raises:
        UsageError: there is no such record, or the text fits several.
        FailureError: the folder cannot be read.
    """
    path = Path(text)
    if path.suffix == ".json" and path.is_file():
        return record_in(path)
    by_name = {record.recipe.name: record for record in store.all()}
    fitting = [name for name in by_name if name == text] or [
        name for name in by_name if text in name
    ]
    if len(fitting) == 1:
        return by_name[fitting[0]], store
    if not fitting:
        raise UsageError(
            f"no record in {store.records} is called {text!r}",
            suggestion(text, by_name)
            if 0 < len(by_name) <= SHOWN
            else "Name a record's file or its key: locbench weights lists those with weights.",
        )
    more = f" and {len(fitting) - SHOWN} more" if len(fitting) > SHOWN else ""
    raise UsageError(
        f"{text!r} fits {len(fitting)} records: {', '.join(fitting[:SHOWN])}{more}",
        "Name the file or the key of one.",
    )


def record_in(path: Path) -> tuple[Record, Store]:
    """Return the record in a file, and the folder that it lies in.

    Raises:
        UsageError: the file holds no record that can be used here.
    """
    store = Store(path.absolute().parent.parent)
    record = store.read(path)
    if record is None:
        raise UsageError(
            f"{path} is no record: {store.set_aside.why.get(path, 'there is no such file')}",
            "Name the JSON file of a record.",
        )
    return record, store
