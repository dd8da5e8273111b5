"""With what a run is made: versions, device, commit."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path

from locbench import __version__


def versions() -> dict[str, str]:
    """Return the versions of locbench, Python, torch, torchvision and timm."""
    found = {"locbench": __version__, "python": platform.python_version()}
    for name in ("torch", "torchvision", "timm"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def commit() -> tuple[str, bool | None]:
    """Return the git commit of the code that runs, and whether it was changed since; ("", None) outside a checkout.

    Records and reports that a sweep itself writes below ``results`` do not count as a change.
    """
    folder = Path(__file__).resolve().parent.parent
    head = _git(folder, "rev-parse", "HEAD")
    if head is None:
        return "", None
    root = _git(folder, "rev-parse", "--show-toplevel")
    if root is None or Path(root) != folder.parent:
        return "", None  # an installed copy inside somebody else's checkout
    changes = _git(folder.parent, "status", "--porcelain", "--", "locbench", "tables", "pyproject.toml")
    return head, bool(changes)


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
