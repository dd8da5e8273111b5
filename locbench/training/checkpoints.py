"""The state of an unfinished run, written after every epoch."""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path
from typing import Any

import torch

from locbench.files import write_atomically


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a state and its checksum atomically; see `write_atomically` for errors."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    write_atomically(path, content + _checksum(content))


def load_checkpoint(path: Path, device: torch.device) -> dict[str, Any] | None:
    """Read a state, or None where there is none that can be used: the run then starts from its beginning."""
    try:
        content = path.read_bytes()
        content, checksum = content[:-_LENGTH], content[-_LENGTH:]
        if checksum != _checksum(content):  # torch itself would read changed numbers without a word
            return None
        state = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, ValueError):
        return None
    return state if isinstance(state, dict) and "epoch" in state else None


def _checksum(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


_LENGTH = hashlib.sha256().digest_size
