"""Folders of JSON files, and those that cannot be used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from locbench.console import is_verbose, remark
from locbench.errors import FailureError, UsageError
from locbench.files import indented_json, listed, read_regular, write_atomically

T = TypeVar("T")


class UnusableError(ValueError):
    """A file cannot be used; the text says why, without the file's name."""


class ForeignError(UnusableError):
    """A file is sound where it was made: by a newer locbench, or with what is not here."""


NAMED = 5
"""Reasons that are given one by one, each with a file; further files are counted."""

LONGEST = 300
"""Characters of a reason that are kept."""


class SetAside:
    """Files of a folder that cannot be used, which are left where they are.

    Attributes:
        why: the reason, by file.
        foreign: those that are sound where they were made.
    """

    def __init__(self) -> None:
        self.why: dict[Path, str] = {}
        self.foreign: set[Path] = set()
        self._reported: set[Path] = set()

    def add(self, path: Path, why: str) -> None:
        """Remember that a file cannot be used, and why.

        A reason may quote what is in the file, however long.
        """
        self.why[path] = why if len(why) <= LONGEST else f"{why[:LONGEST]}..."

    def remove(self, path: Path) -> None:
        """Forget a file: it is read anew, or in order by now."""
        self.why.pop(path, None)
        self.foreign.discard(path)

    def by_reason(self, kind: str, remedy: str) -> list[str]:
        """Return a sentence per reason why files count as missing, with the first of them."""
        paths: dict[str, list[Path]] = {}
        for path, why in self.why.items():
            paths.setdefault(why, []).append(path)
        sentences = []
        for why, own in paths.items():
            sentences.append(f"The {kind} {_which(own)} counts as missing: {why}. {remedy}")
        return sentences

    def report(self) -> None:
        """Name what was not named before on standard error, by its reason, and count the rest.

        A lost terminal is no fault.
        """
        new = [path for path in self.why if path not in self._reported]
        self._reported.update(new)
        if not new:
            return
        reasons: dict[tuple[str, Path], list[Path]] = {}
        for path in new:
            reasons.setdefault((self.why[path], path.parent), []).append(path)
        if is_verbose():
            shown = [(key, [path]) for key, paths in reasons.items() for path in paths]
        else:
            shown = list(reasons.items())[:NAMED]
        lines = [f"set aside: {_which(paths)}: {why}" for (why, _), paths in shown]
        left = len(new) - sum(len(paths) for _, paths in shown)
        lines += [f"set aside: {left} more"] if left else []
        lines += ["Files that are set aside stay where they are and count for nothing."]
        remark(*lines)


def _which(paths: Sequence[Path]) -> str:
    """Return the first of some files, and how many more there are."""
    return f"{paths[0]} and {len(paths) - 1} more" if len(paths) > 1 else f"{paths[0]}"


class JsonStore(Generic[T]):
    """The files of one folder. What cannot be used is passed over with its reason, and kept.

    Args:
        folder: where they are; made when the first one is written.
        kind: what each of them holds.
        set_aside: where reasons go, if several stores share a list.
        others: further folders, which are read where this one lacks a file.

    Attributes:
        set_aside: the files that were met so far and cannot be used.
    """

    def __init__(
        self,
        folder: Path,
        kind: type[T],
        set_aside: SetAside | None = None,
        others: Sequence[Path] = (),
    ) -> None:
        self.folder, self.kind, self.others = folder, kind, tuple(others)
        self.set_aside = SetAside() if set_aside is None else set_aside
        self._unwritten: dict[Path, T] = {}

    def _decode(self, content: bytes) -> T:
        """Return what a file's bytes hold.

        Raises:
            ValueError: they hold no such struct, or one of another version; msgspec's errors are
                ValueErrors.
        """
        return msgspec.json.decode(content, type=self.kind)

    def _fault_of(self, value: T, path: Path) -> str:  # noqa: ARG002
        """Return why a file that was decoded cannot be used; empty if it can."""
        return ""

    def load(self, path: Path) -> T:
        """Read a file.

        Raises:
            UnusableError: it is not there, not whole, or not what its name says.
        """
        try:
            value = self._decode(read_regular(path))
            fault = self._fault_of(value, path)
        except OSError as error:
            raise UnusableError(error.strerror or str(error)) from error
        except UnusableError:
            raise
        except (ValueError, RecursionError, UsageError) as error:
            raise UnusableError(str(error)) from error
        if fault:
            raise UnusableError(fault)
        return value

    def read(self, path: Path) -> T | None:
        """Read a file, or one of its name in another folder.

        None if it is not there, or set aside since it cannot be used.
        """
        if path in self._unwritten:
            return self._unwritten[path]
        places = (path, *(other / path.name for other in self.others if path.parent == self.folder))
        return next((value for each in places if (value := self._read(each)) is not None), None)

    def _read(self, path: Path) -> T | None:
        self.set_aside.remove(path)
        try:
            return self.load(path)
        except UnusableError as error:
            if not isinstance(error.__cause__, FileNotFoundError) or path.is_symlink():
                self.set_aside.add(path, str(error))
                if isinstance(error, ForeignError):
                    self.set_aside.foreign.add(path)
            return None

    def matching(self, pattern: str) -> Iterator[T]:
        """Read the files whose names match a pattern of the shell, in order of their names.

        Raises:
            FailureError: the folder cannot be read.
        """
        folders = (self.folder, *self.others)
        names = {path.name: None for folder in folders for path in listed(folder)}
        for name in names:
            value = self.read(self.folder / name) if fnmatchcase(name, pattern) else None
            if value is not None:
                yield value

    def write(self, path: Path, value: T) -> None:
        """Write a file in the place of an older one.

        Raises:
            FailureError: it cannot be written.
        """
        write_atomically(path, indented_json(value))
        self._unwritten.pop(path, None)
        self.set_aside.remove(path)

    def keep(self, path: Path, value: T) -> str:
        """Write a file, or hold it in memory and return why it cannot be written."""
        try:
            self.write(path, value)
        except FailureError as error:
            self._unwritten[path] = value
            self.set_aside.remove(path)
            return error.message
        return ""
