"""The records of a results folder, one JSON file each."""

from __future__ import annotations

import errno
import math
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import msgspec

from locbench.console import remark
from locbench.errors import FailureError, LocbenchError
from locbench.files import probe, remove_old_parts
from locbench.results.json_store import NAMED, ForeignError, JsonStore, SetAside, UnusableError
from locbench.results.plugin_use import explained
from locbench.results.provenance import tracked
from locbench.results.record import SCHEMA, Record
from locbench.results.validity import first_fault
from locbench.spec.recipe import Recipe

KEY_LENGTH = 12


class _Versioned(msgspec.Struct):
    schema: int = SCHEMA


class RecordFiles(JsonStore[Record]):
    """The record files of a folder."""

    def __init__(self, folder: Path, set_aside: SetAside | None = None) -> None:
        super().__init__(folder, Record, set_aside)

    def _decode(self, content: bytes) -> Record:
        try:
            schema = msgspec.json.decode(content, type=_Versioned).schema
            if schema == SCHEMA:
                return msgspec.json.decode(content, type=Record)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            newer = "; a newer locbench may have made it" if "unknown field" in str(error) else ""
            raise _unusable(f"it is no record: {error}{newer}", content) from None
        whose = "a newer locbench made it" if schema > SCHEMA else "no locbench made such"
        kind = ForeignError if schema > SCHEMA else UnusableError
        raise kind(f"{whose}: its schema is {str(schema)[:20]}, and this version reads {SCHEMA}")

    def _fault_of(self, value: Record, path: Path) -> str:
        if fault := self._own_fault(value, path):
            raise _unusable(fault, msgspec.json.encode(value))
        return ""

    def _own_fault(self, value: Record, path: Path) -> str:
        try:
            key = value.recipe.key
        except (LocbenchError, UnicodeEncodeError) as error:  # as of a network that is not there
            return f"recipe: {getattr(error, 'message', error)}"
        if key != value.key:
            return f"its recipe has the key {key}, and it says {value.key[:40]!r}"
        fault = first_fault(value)
        if not fault and not path.stem.endswith(key):
            return f"its name does not end with its key, as {value.recipe.name}.json does"
        return fault


def _unusable(fault: str, content: bytes) -> UnusableError:
    """Return why a record cannot be used; a foreign one is sound where its components are."""
    told = explained(fault, content)
    foreign = told != fault or "unknown" in fault
    return (ForeignError if foreign else UnusableError)(told)


@dataclass(frozen=True)
class Conflict:
    """A run that several folders hold with different numbers.

    Attributes:
        name: of the run; see `Recipe.name`.
        folders: those of the records, the one that counts first.
        records: the records, likewise.
    """

    name: str
    folders: tuple[Path, ...]
    records: tuple[Record, ...]

    @property
    def words(self) -> str:
        """Which values are in which folders."""
        counts, *others = (
            f"{self._values(record)} in {folder}"
            for folder, record in zip(self.folders, self.records, strict=True)
        )
        return f"{self.name} has {counts}, which counts, and {', and '.join(others)}"

    def _values(self, record: Record) -> str:
        first = self.records[0].metrics
        names = {*first, *(name for each in self.records for name in each.metrics)}
        differing = [
            name
            for name in sorted(names)
            if any(each.metrics.get(name) != first.get(name) for each in self.records)
        ]
        shown = [f"{name} {record.metrics.get(name, math.nan):.10g}" for name in differing[:3]]
        return ", ".join(shown)


class Store:
    """The records of a results folder, and those of further ones, read as one.

    Of a run that several folders hold, the first finished record counts. Everything is written into
    the first folder.

    Files that cannot be used as records are set aside: passed over and kept.

    Args:
        folder: the results folder; records are in its ``records``, checkpoints of unfinished runs
            in ``.checkpoints``, final weights that are kept in ``weights``.
        others: the further folders.
        set_aside: where files that cannot be used are noted, if several stores share it.

    Attributes:
        set_aside: the files that were met so far and cannot be used.
        conflicts: the runs met so far of which the folders have different numbers, by key.
    """

    def __init__(self, folder: Path, *others: Path, set_aside: SetAside | None = None) -> None:
        self.folder = folder
        self.records = folder / "records"
        self.checkpoints = folder / ".checkpoints"
        self._files = RecordFiles(self.records, set_aside)
        self.set_aside = self._files.set_aside
        self.conflicts: dict[str, Conflict] = {}
        further = (Store(other, set_aside=self.set_aside) for other in others)
        self._stores: tuple[Store, ...] = (self, *further)
        self._listing: _Listing | None = None
        self._reported: set[str] = set()

    @property
    def folders(self) -> tuple[Path, ...]:
        """All folders, the one that is written into first."""
        return tuple(store.folder for store in self._stores)

    def prepare(self, recipes: Iterable[Recipe] = (), *, weights: bool = False) -> None:
        """Make the folders and check that files of the later names can be written.

        Args:
            recipes: what will be recorded.
            weights: whether weights will be kept too.

        Raises:
            FailureError: the folder cannot be written to.
        """
        recipes, kept = tuple(recipes), self.weights("").parent
        longest = max((len(f"{recipe.name}.json") for recipe in recipes), default=0)
        try:
            probe(self.records, longest)
            probe(self.checkpoints)
            if weights:
                probe(kept)
            for path in (
                of(recipe.key) for recipe in recipes for of in (self.checkpoint, self.weights)
            ):
                if path.is_dir():
                    raise IsADirectoryError(
                        errno.EISDIR, f"{path} is a folder, and a file will be put there"
                    )
        except OSError as error:
            raise FailureError(
                f"cannot write to the results folder {self.folder}: {error.strerror or error}",
                "Make it writable, or choose another one with --results DIR.",
            ) from None
        for folder in (self.records, self.checkpoints, kept):
            remove_old_parts(folder)

    def path(self, record: Record) -> Path:
        """Return the file of a record: a readable name and the key.

        Where a foreign file has that name, it is another one.
        """
        name = record.recipe.name.removesuffix(record.key)
        names = (
            f"{name}{f'{number}-' if number > 1 else ''}{record.key}.json" for number in count(1)
        )
        paths = (self.records / file for file in names)
        return next(
            path
            for path in paths
            if not os.path.lexists(path) or self._files.read(path) is not None
        )

    def checkpoint(self, key: str) -> Path:
        """Return the file of an unfinished run's checkpoint."""
        return self.checkpoints / f"{key}.pt"

    def weights(self, key: str) -> Path:
        """Return the file of a run's final weights, which are kept where somebody needs them."""
        return self.folder / "weights" / f"{key}.safetensors"

    def kept_weights(self, key: str) -> Path | None:
        """Return the file of a run's final weights in whichever folder has it; None if none has."""
        paths = (store.weights(key) for store in self._stores)
        return next((path for path in paths if path.is_file()), None)

    def file(self, record: Record) -> Path:
        """Return the file that holds a record."""
        for store in self._stores:
            for path in store._paths().get(record.key, ()):
                if store._files.read(path) == record:
                    return path
        return self.path(record)

    def save(self, record: Record) -> Path:
        """Write a record and remove what it replaces.

        It replaces older records of its key and, of a finished run, the checkpoint.

        Raises:
            FailureError: the record cannot be written or, once written, cannot be used; its
                checkpoint stays.
        """
        path = self.path(record)
        self._files.write(path, record)
        self._listing = None
        if self._files.read(path) is None:  # it would be passed over, and its run made again
            raise FailureError(
                f"the record {path} is not sound: {self.set_aside.why[path]}",
                "Report this fault of ours.",
            )
        for other in self._paths().get(record.key, ()):
            if other != path and self._files.read(other) is not None:
                other.unlink()
        if record.status == "done":
            self.checkpoint(record.key).unlink(missing_ok=True)
        self._listing = None
        return path

    def read(self, path: Path) -> Record | None:
        """Read one file of the folder; None if it is set aside since it cannot be used."""
        return self._files.read(path)

    def find(self, key: str) -> Record | None:
        """Return the record of a key, or None.

        Raises:
            FailureError: the folder cannot be read.
        """
        return self._chosen(key, [(store, store._paths()) for store in self._stores])

    def all(self) -> Iterator[Record]:
        """Read all records, in the order of their names; see `find` for errors."""
        listings = [(store, store._paths()) for store in self._stores]
        for key in {key: None for _, paths in listings for key in paths}:
            if (record := self._chosen(key, listings)) is not None:
                yield record

    def _chosen(
        self, key: str, listings: Sequence[tuple[Store, Mapping[str, Sequence[Path]]]]
    ) -> Record | None:
        """Return the record of a key that counts, and note whether the others have its numbers."""
        found = [(store.folder, store._newest(paths.get(key, ()))) for store, paths in listings]
        there = [(folder, record) for folder, record in found if record is not None]
        finished = [each for each in there if each[1].status == "done"]
        self.conflicts.pop(key, None)
        if any(record.metrics != finished[0][1].metrics for _, record in finished):
            folders, records = zip(*finished, strict=True)
            self.conflicts[key] = Conflict(records[0].recipe.name, folders, records)
        return next((record for _, record in finished or there), None)

    def report(self) -> None:
        """Say on standard error, once each, what is set aside and what the folders contradict."""
        self.set_aside.report()
        new = [each for key, each in self.conflicts.items() if key not in self._reported]
        self._reported.update(self.conflicts)
        more = [f"{len(new) - NAMED} more"] if len(new) > NAMED else []
        remark(*(f"different numbers: {each}" for each in [*(c.words for c in new[:NAMED]), *more]))

    def shipped(self, keys: Iterable[str] | None = None) -> int:
        """Return how many records came with the repository and are unchanged.

        With ``keys``, those of these keys alone.
        """
        known, keys = self._paths(), None if keys is None else tuple(keys)
        names = [
            path.name for key in (known if keys is None else keys) for path in known.get(key, ())
        ]
        own = len(tracked(self.records).intersection(names)) if names else 0
        return own + sum(store.shipped(keys) for store in self._stores[1:])

    def _newest(self, paths: Sequence[Path]) -> Record | None:
        """Return the record that counts of those with one key: a finished one, then the newest."""
        records = {path: record for path in paths if (record := self._files.read(path))}
        if not records:
            return None
        *others, newest = sorted(
            records,
            key=lambda path: (records[path].status == "done", records[path].provenance.started),
        )
        for path in others:
            self.set_aside.add(path, f"the same run is recorded in {newest.name}, which counts")
        return records[newest]

    def _paths(self) -> Mapping[str, Sequence[Path]]:
        """Return the files by the key in their names.

        The folder is listed again where it may have changed.
        """
        try:
            changed = self.records.stat().st_mtime_ns
            if self._listing is None or not self._listing.holds(changed):
                self._listing = _Listing(changed, time.time_ns(), _by_key(self.records))
        except OSError as error:
            links = [each for each in (self.folder, self.records) if each.is_symlink()]
            if isinstance(error, FileNotFoundError) and not links:
                return {}
            raise FailureError(
                f"cannot read the records in {self.records}: {error.strerror or error}",
                "Make the folder readable, or name another one with --results DIR.",
            ) from None
        return self._listing.paths


@dataclass(frozen=True)
class _Listing:
    """The record files of a folder.

    Attributes:
        changed: when the folder was changed last, before it was listed.
        listed: when it was listed.
        paths: the files by the key in their names.
    """

    changed: int
    listed: int
    paths: Mapping[str, Sequence[Path]]

    def holds(self, changed: int) -> bool:
        """Whether a folder that was changed last at this time is the one that was listed.

        File systems tell times apart by milliseconds to two seconds: a younger folder may be
        changed again unseen.
        """
        return changed == self.changed and self.listed - changed > 3_000_000_000


def _by_key(folder: Path) -> Mapping[str, Sequence[Path]]:
    """List the JSON files of a folder, without hidden ones such as macOS puts beside others."""
    paths: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.iterdir()):
        if path.suffix == ".json" and not path.name.startswith("."):
            paths[path.stem[-KEY_LENGTH:]].append(path)
    return dict(paths)
