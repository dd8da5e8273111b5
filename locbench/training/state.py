"""What a run gives, and how it is kept between epochs."""

from __future__ import annotations

import hashlib
import io
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from locbench.console import remark
from locbench.errors import FailureError
from locbench.files import MEGABYTE, read_regular, write_atomically
from locbench.training.events import EpochMetrics


@dataclass
class RunState:
    """What a run gives.

    Attributes:
        history: one row per epoch, see `Record`.
        local_losses: mean loss of every module in the last epoch.
        parameters: counts, primary and auxiliary.
        seconds: time spent, all parts of a resumed run together.
        resumed: how often it was continued.
        started: UTC time of its first start.
        engine: what ran the steps; of a resumed run all there were, in order.
        codes: names of the code that trained it, in order; several if it was continued by other
            code.
        dirty: whether any of it differed from its commit; None where there was none.
    """

    history: list[EpochMetrics] = field(default_factory=list)
    local_losses: list[float] = field(default_factory=list)
    parameters: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    resumed: int = 0
    started: str = ""
    engine: str = "eager"
    codes: list[str] = field(default_factory=list)
    dirty: bool | None = None


class Stateful(Protocol):
    """A module or an optimizer."""

    def state_dict(self) -> dict[str, Any]:
        """Return its state."""

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any:
        """Take a state."""


@dataclass(frozen=True)
class Origin:
    """What a run comes from beside its recipe and its data.

    Attributes:
        code: name of the code that trains; see `results.provenance.Code.name`.
        dirty: whether that code differs from its commit; None where there is none.
        replaces: when the finished run began that this one is to replace, and how long it took;
            empty without one.
    """

    code: str = ""
    dirty: bool | None = None
    replaces: str = ""


class Keeper:
    """Keeps a run between its epochs, and gives it back to the same run alone.

    With other data, or where a finished run has been recorded since, the run starts anew and says
    so; its first epoch replaces what was kept. With other code it goes on, and the record names
    both.

    Args:
        path: of the checkpoint; None keeps nothing.
        recipe: key of the run's recipe.
        data: fingerprint of the images.
        origin: code and record.
        is_main: whether this process writes and speaks, of several that share the run.
    """

    def __init__(
        self, path: Path | None, recipe: str, data: str, origin: Origin, *, is_main: bool = True
    ) -> None:
        self.path, self.origin, self.is_main = path, origin, is_main
        self._belongs = {"recipe": recipe, "data": data, "replaces": origin.replaces}

    def begun(self, state: RunState) -> None:
        """Note in the state of a new run which code trains it."""
        state.codes, state.dirty = [self.origin.code], self.origin.dirty

    def save(self, state: RunState, **parts: Stateful) -> None:
        """Write the run's state, if this process is to; see `write_atomically` for errors."""
        if self.path is None or not self.is_main:
            return
        kept = {name: getattr(state, name) for name in _KEPT}
        states = {name: each.state_dict() for name, each in parts.items()}
        save_checkpoint(self.path, self._belongs | kept | states | {"epoch": len(state.history)})

    def restore(self, state: RunState, device: torch.device, **parts: Stateful) -> bool:
        """Put a run's kept state back, if there is one and it is this run's.

        Returns:
            Whether the parts are as they were or as they were kept; else they are spoilt and must
            be made anew.

        Raises:
            FailureError: the file is there and cannot be read now.
        """
        if self.path is None or not self.path.exists():
            return True
        checkpoint = load_checkpoint(self.path, device)
        if why := self._foreign(checkpoint):
            self._anew(why)
            return True
        assert checkpoint is not None
        try:
            for name, part in parts.items():
                part.load_state_dict(checkpoint[name])
            kept = {name: checkpoint[name] for name in _KEPT}
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, LookupError, ValueError, TypeError, AttributeError):
            self._anew("its layout is another one, that of other code")
            return False
        for name, value in kept.items():
            setattr(state, name, value)
        state.resumed += 1
        self._note_code(state)
        return True

    def _foreign(self, state: dict[str, Any] | None) -> str:
        """Return why a state is not this run's, or nothing."""
        if state is None:
            return "it is damaged"
        if not self._belongs.keys() <= state.keys():
            return "it does not say what it was trained on, as an earlier version wrote it"
        if state["recipe"] != self._belongs["recipe"]:
            return "it is of another recipe"
        if state["data"] != self._belongs["data"]:
            change = f"fingerprint {state['data']}, now {self._belongs['data']}"
            return f"the data have changed since ({change})"
        return (
            "a finished run is recorded beside it"
            if state["replaces"] != self._belongs["replaces"]
            else ""
        )

    def _note_code(self, state: RunState) -> None:
        if state.codes[-1] == self.origin.code:
            return
        if self.is_main:
            first, now = state.codes[-1] or "unknown", self.origin.code or "unknown"
            since = f"The code has changed since epoch {len(state.history)}"
            remark(f"{since}, the record will name both: {first}; {now}")
        state.codes = [*state.codes, self.origin.code]
        state.dirty = state.dirty or self.origin.dirty

    def _anew(self, why: str) -> None:
        if self.is_main:
            remark(f"The run starts anew, not from its checkpoint {self.path}: {why}.")


_KEPT = ("history", "local_losses", "seconds", "resumed", "started", "engine", "codes", "dirty")
"""Fields of a state that go on with the run."""


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a state and its checksum atomically; see `write_atomically` for errors."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    write_atomically(path, content + _checksum(content))


def load_checkpoint(path: Path, device: torch.device) -> dict[str, Any] | None:
    """Read a state, or None where what is there is none.

    Raises:
        FailureError: the file cannot be read; that may pass, and the epochs in it be kept.
    """
    try:
        # Another process with the same command may put a larger one in its place meanwhile.
        content = read_regular(path, path.stat().st_size + 64 * MEGABYTE)
    except OSError as error:
        raise FailureError(
            f"cannot read the checkpoint {path}: {error.strerror or error}",
            "Make it readable and give the same command, or choose another folder with --results.",
        ) from None
    content, checksum = content[:-_LENGTH], content[-_LENGTH:]
    if checksum != _checksum(content):  # torch itself would read changed numbers without a word
        return None
    try:
        state = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
    except torch.OutOfMemoryError:
        raise
    except (
        RuntimeError,
        EOFError,
        pickle.UnpicklingError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
    ):
        return None
    return state if isinstance(state, dict) and "epoch" in state else None


def _checksum(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


_LENGTH = hashlib.sha256().digest_size
