"""Where records are kept: one JSON file each, written at once or not at all. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from locbench.errors import FailureError, UsageError
from locbench.files import probe, remove_old_parts, write_atomically
from locbench.results.record import Record


class Store:
    """The records of one results folder.

    Args:
        folder: the results folder; records are in its ``records``, checkpoints of unfinished runs in ``.checkpoints``,
            weights of detectors' backbones in ``weights``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records = folder / "records"
        self.checkpoints = folder / ".checkpoints"

    def prepare(self) -> None:
        """Make the folders and check that a file can be written, before anything is computed.

        Raises:
            FailureError: the folder cannot be written to.
        """
        try:
            self.records.mkdir(parents=True, exist_ok=True)
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            probe(self.records)
            for folder in (self.records, self.checkpoints, self.weights("").parent):
                remove_old_parts(folder)
        except OSError as error:
            raise FailureError(
                f"cannot write to the results folder {self.folder}: {error.strerror or error}",
                "Make it writable, or choose another one with --results DIR.",
            ) from None

    def path(self, record: Record) -> Path:
        """Return the file of a record: a readable name and the key."""
        return self.records / f"{record.recipe.name}.json"

    def checkpoint(self, key: str) -> Path:
        """Return the file of an unfinished run's checkpoint."""
        return self.checkpoints / f"{key}.pt"

    def weights(self, key: str) -> Path:
        """Return the file of a run's final weights, which are kept if a detector stands on them."""
        return self.folder / "weights" / f"{key}.safetensors"

    def save(self, record: Record) -> Path:
        """Write a record and remove what it replaces: older files of its key and, of a finished run, its checkpoint."""
        path = self.path(record)
        text = msgspec.json.format(msgspec.json.encode(record), indent=1)
        write_atomically(path, text + b"\n")
        for other in self.records.glob(f"*{record.key}.json"):
            if other != path:
                other.unlink()
        if record.status == "done":
            self.checkpoint(record.key).unlink(missing_ok=True)
        return path

    def find(self, key: str) -> Record | None:
        """Return the record of a key, or None.

        Raises:
            FailureError: its file is corrupt.
        """
        path = next(iter(self.records.glob(f"*{key}.json")), None)
        return None if path is None else read_record(path)

    def all(self) -> Iterator[Record]:
        """Read all records, in the order of their names; see `find` for errors."""
        for path in sorted(self.records.glob("*.json")):
            yield read_record(path)


def read_record(path: Path) -> Record:
    """Read one record.

    Raises:
        FailureError: the file is corrupt, was recorded under other defaults, or cannot be read.
    """
    remedy = "Delete the file to run this cell again, or restore it from version control."
    try:
        record = msgspec.json.decode(path.read_bytes(), type=Record)
        key = record.recipe.key
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FailureError(f"corrupt record {path}: {error}", remedy) from None
    except OSError as error:
        raise FailureError(f"cannot read record {path}: {error.strerror or error}", remedy) from None
    except UsageError as error:  # the recipe names a network that is not there
        raise FailureError(f"corrupt record {path}: {error.message}", remedy) from None
    if key != record.key or not path.stem.endswith(record.key):
        raise FailureError(f"corrupt record {path}: its recipe does not have the key {record.key}", remedy)
    return record
