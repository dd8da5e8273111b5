"""The state of an unfinished run, written after every epoch."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch

from locbench.results.store import write_atomically


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a state atomically; see `write_atomically` for errors."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomically(path, buffer.getvalue())


def load_checkpoint(path: Path, device: torch.device) -> dict[str, Any] | None:
    """Read a state, or None where there is none that can be used: the run then starts from its beginning."""
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, ValueError):
        return None
    return state if isinstance(state, dict) and "epoch" in state else None
