"""With what a run is made: versions, device, commit."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import time
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path

import msgspec

from locbench import __version__
from locbench.results.record import Provenance

SOURCES = ("locbench", "tables", "pyproject.toml")
"""What decides a number of this package."""

_ROOT = Path(__file__).resolve().parent.parent.parent


def now() -> str:
    """Return the time in UTC, ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def provenance_of(
    device: str, started: str, seconds: float, *, threads: int, engine: str = "eager"
) -> Provenance:
    """Return the provenance of what the present code has made; see `Provenance`."""
    return Provenance(
        device=device,
        versions=versions(),
        **msgspec.structs.asdict(code()),
        started=started,
        seconds=seconds,
        threads=threads,
        engine=engine,
    )


RECORDED = ("torch", "torchvision", "timm")
"""The packages whose versions a record names."""


def versions(packages: Iterable[str] = RECORDED) -> dict[str, str]:
    """Return the versions of locbench, Python and packages."""
    versions = {"locbench": __version__, "python": platform.python_version()}
    for name in packages:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


class Code(msgspec.Struct, frozen=True):
    """Which code runs.

    The fields are those of `Provenance`, ``commit`` empty and ``dirty`` None outside a checkout.
    """

    commit: str = ""
    dirty: bool | None = None
    no_commit: str = ""

    @property
    def name(self) -> str:
        """The commit, and a digest of the sources where the code differs from it."""
        if self.commit and not self.dirty:
            return self.commit
        return f"{self.commit or f'version {__version__}'} with sources {_sources()}"


@cache
def _sources() -> str:
    """Return 12 hexadecimal digits over all modules of the package as they are now."""
    package, digest = Path(__file__).resolve().parent.parent, hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


@cache
def code() -> Code:
    """Return the git commit of the code that runs, and whether it differed from that commit.

    Git is asked once per process: ask before training, since the checkout may change while imported
    code runs on. Records and reports that a sweep itself writes below ``results`` do not count as a
    change.
    """
    return code_of(_ROOT)


def code_of(root: Path, sources: Sequence[str] = SOURCES) -> Code:
    """Return the state of a checkout, if ``root`` is one.

    A copy inside somebody else's checkout is none.

    Args:
        root: folder of the checkout.
        sources: files and folders whose changes make another code.
    """
    if not (root / ".git").exists():
        return Code()
    try:
        top, _, head = (
            git(root, "rev-parse", "--show-toplevel", "HEAD").rstrip("\n").rpartition("\n")
        )
        if Path(top).resolve() != root.resolve():
            return Code()
        changes = git(root, "status", "--porcelain", "--", *sources)
    except GitError as error:
        return Code(no_commit=str(error).replace(_printable(os.fsencode(root)), "the checkout"))
    return Code(head, bool(changes.strip()))


class GitError(Exception):
    """Git is not there, refuses or does not answer; the text says which."""


def git(folder: Path, *arguments: str) -> str:
    """Return what git prints in a folder; names are decoded as file names are.

    Raises:
        GitError: it cannot be run, fails or does not answer.
    """
    # Set by git for its hooks, these would name another repository than the folder's.
    outer = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")
    environment = {name: value for name, value in os.environ.items() if name not in outer} | {
        "LC_ALL": "C"
    }
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=30, env=environment, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError:
        raise GitError("git is not installed") from None
    except subprocess.TimeoutExpired:
        raise GitError("git did not answer within 30 seconds") from None
    except (OSError, ValueError) as error:
        raise GitError(f"git cannot be run: {error}") from None
    if done.returncode:
        said = _printable(done.stderr).strip().splitlines()
        raise GitError(
            said[0].removeprefix("fatal: ")
            if said
            else f"git ended with exit code {done.returncode}"
        )
    return os.fsdecode(done.stdout)


def _printable(text: bytes) -> str:
    return text.decode("utf-8", "backslashreplace")


def tracked(folder: Path) -> frozenset[str]:
    """Return the names of a folder's files that came with this checkout and are unchanged.

    They are none outside the checkout, and none where git does not say.
    """
    root, folder = _ROOT, folder.resolve()
    if not (root / ".git").exists() or not folder.is_relative_to(root):
        return frozenset()
    try:
        known = git(folder, "ls-files", "-z").split("\0")
        changed = git(folder, "diff", "--name-only", "--relative", "-z", "HEAD").split("\0")
    except GitError:
        return frozenset()
    return frozenset(known) - frozenset(changed) - {""}
