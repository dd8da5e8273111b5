"""Files of a results folder that cannot be used: named on standard error, and left where they are."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from locbench.printable import printable

NAMED = 5
"""Files that are named one by one; further ones are counted."""

LONGEST = 300
"""Characters of a reason that are kept."""


class SetAside:
    """What was passed over in a folder.

    Attributes:
        why: the reason, by file.
    """

    def __init__(self) -> None:
        self.why: dict[Path, str] = {}
        self._told: set[Path] = set()

    def add(self, path: Path, why: str) -> None:
        """Remember that a file cannot be used, and why.

        A reason may quote what is in the file, however long.
        """
        self.why[path] = why if len(why) <= LONGEST else f"{why[:LONGEST]}..."

    def remove(self, path: Path) -> None:
        """Forget a file: it is read anew, or in order by now."""
        self.why.pop(path, None)

    def by_reason(self, kind: str, remedy: str) -> list[str]:
        """Return one sentence for each reason why files count as missing, with how many they are
        and the first one.
        """
        paths: dict[str, list[Path]] = {}
        for path, why in self.why.items():
            paths.setdefault(why, []).append(path)
        return [
            f"The {kind} {first}{f' and {len(more)} more' if more else ''} counts as missing: {why}. {remedy}"
            for why, (first, *more) in paths.items()
        ]

    def tell(self) -> None:
        """Name what was not named before on standard error, and count the rest.

        A lost terminal is no fault.
        """
        new = [path for path in self.why if path not in self._told]
        self._told.update(new)
        if not new:
            return
        lines = [f"set aside: {path}: {self.why[path]}" for path in new[:NAMED]]
        lines += [f"set aside: {len(new) - NAMED} more"] if len(new) > NAMED else []
        lines += ["Files that are set aside stay where they are and count for nothing."]
        with contextlib.suppress(OSError, ValueError):
            print("\n".join(map(printable, lines)), file=sys.stderr)
