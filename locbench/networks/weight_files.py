"""Weight files of any origin.

They are safetensors or torch's own, wrapped in a checkpoint or not; no code in them is run.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from locbench.errors import FailureError
from locbench.files import write_atomically

State = dict[str, Tensor]

_WRAPPERS = ("state_dict", "model_state_dict", "model", "module", "net", "network", "params")
_AVERAGED = ("state_dict_ema", "model_state_dict_ema", "model_ema", "ema_state_dict", "ema")
"""Names that training scripts keep a state dict under. Averaged weights are taken where there are
no others.
"""

_PREFIXES = ("module", "_orig_mod", "model", "net", "network", "backbone", "encoder", "ema_model")
"""What stands before every name where the network was part of another module: in parallel, compiled
or averaged.
"""

NETWORK = "chain."
"""What the names of the network begin with in a file that `keep_weights` wrote of a learner."""

_COUNTERS = ("n_averaged",)
"""Of torch's averaged models: no weights."""

_REMEDY = "Give a safetensors file or a torch state dict with --weights."
_NAMED = 4
_DEEP = 8
"""How deep a state dict may lie; a file can be made whose dictionary holds itself."""


def keep_weights(trained: nn.Module, path: Path) -> None:
    """Write weights and statistics as safetensors, from whatever device.

    Args:
        trained: what was trained: a learner with its auxiliary nets, a network or a detector.
        path: the file; see `write_atomically` for errors.
    """
    from safetensors.torch import save

    state = {name: each.detach().cpu().contiguous() for name, each in trained.state_dict().items()}
    write_atomically(path, save(state))


def network_weights(state: State) -> State:
    """Return the network's weights alone, of a file that may hold auxiliary nets beside them."""
    own = {
        name.removeprefix(NETWORK): each for name, each in state.items() if name.startswith(NETWORK)
    }
    return own or state


def weights_in(path: Path, *, network_only: bool = True) -> State:
    """Return the tensors by name of a safetensors file or a torch state dict.

    A state dict may lie in a checkpoint, of which the trained weights are taken rather than
    averaged ones, and a prefix that all names share, such as that of a network trained in parallel,
    is taken off.

    Args:
        path: the file.
        network_only: of what `keep_weights` wrote of a learner, take the network alone.

    Raises:
        FailureError: the file is missing, is none of these, holds objects whose code would have to
            be run, or weights that cannot be trained.
    """
    if not path.is_file():
        raise FailureError(f"there is no weight file {path}", _REMEDY)
    try:
        content = _read(path)
    except Exception as error:  # every library has its own for a file that is none of its kind
        raise _unreadable(path, error) from None
    state = _state_in(content)
    if network_only:
        state = network_weights(state)
    if not state:
        keys = list(content)[:_NAMED] if isinstance(content, dict) else []
        names = ", ".join(repr(str(key)[:40]) for key in keys)
        raise FailureError(
            f"{path} holds no state dict{f': it has {names}' if names else ''}", _REMEDY
        )
    fault = next(
        (f"{name[:80]!r} {word}" for name, each in state.items() if (word := _fault(each))), ""
    )
    if fault:
        raise FailureError(
            f"{path} holds no weights that can be trained: {fault}",
            "Give another file with --weights.",
        )
    return _without_prefixes(state)


def _fault(weights: Tensor) -> str:
    if (
        weights.is_quantized
        or weights.is_complex()
        or weights.is_meta
        or weights.layout != torch.strided
    ):
        return "is quantized, complex, sparse or empty of values"
    return "has values that are not finite" if not bool(weights.float().isfinite().all()) else ""


def _read(path: Path) -> Any:
    if _is_safetensors(path):
        from safetensors.torch import load_file

        return load_file(path)
    # A script's arguments are the one other thing that most checkpoints hold; making them runs no
    # code of the file.
    with torch.serialization.safe_globals([argparse.Namespace]), path.open("rb") as file:
        return torch.load(file, map_location="cpu", weights_only=True)


def _is_safetensors(path: Path) -> bool:
    """Tell by the content: eight bytes of length and a JSON object.

    By the name where there is too little content.
    """
    with path.open("rb") as file:
        begin = file.read(9)
    return begin[8:] == b"{" or (
        path.suffix == ".safetensors" and not begin.startswith((b"PK", b"\x80"))
    )


def _unreadable(path: Path, error: Exception) -> FailureError:
    objects = re.search(r"GLOBAL (\S+) (?:was not an allowed global|whose module)", str(error))
    if objects is not None:
        return FailureError(
            f"{path} holds objects of Python beside tensors ({objects[1][:80]}), and reading them "
            "can run any code",
            "Save the state dict alone, with torch.save or as safetensors, and give that file.",
        )
    if "TorchScript" in str(error):
        return FailureError(
            f"{path} is a TorchScript program, no weight file",
            "Save its state dict with torch.save, and give that file with --weights.",
        )
    return FailureError(f"{path} is no weight file: {reason(error)}", _REMEDY)


def _state_in(content: Any) -> State:
    """Return the state dict in a file's content, at any depth of known names.

    Empty if there is none.
    """
    for _ in range(_DEEP):
        if not isinstance(content, Mapping):
            return {}
        wrapped = (content.get(key) for key in (*_WRAPPERS, *_AVERAGED))
        inner = next((value for value in wrapped if isinstance(value, Mapping)), None)
        if inner is None:
            break
        content = inner
    if not all(isinstance(value, Tensor) for value in content.values()):
        return {}
    return {str(name): tensor for name, tensor in content.items() if name not in _COUNTERS}


def _without_prefixes(state: State) -> State:
    while len(firsts := {name.partition(".")[0] for name in state}) == 1 and firsts <= set(
        _PREFIXES
    ):
        if not all("." in name for name in state):
            break
        state = {name.partition(".")[2]: each for name, each in state.items()}
    return state


def reason(error: Exception) -> str:
    """Return a library's first sentence.

    What follows is its own advice, such as to run a file's code.
    """
    lines = (
        str(error).partition("WeightsUnpickler error: ")[2].strip().splitlines()
        or str(error).strip().splitlines()
    )
    said = lines[0].partition(". ")[0][:200] if lines else ""
    return said if " " in said else type(error).__name__  # a lone key or number says nothing
