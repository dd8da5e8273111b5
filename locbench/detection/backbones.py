"""The weights of backbones: kept after their training, and put into detectors."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from locbench.errors import DivergedError, FailureError
from locbench.files import write_atomically
from locbench.networks.chain import Chain
from locbench.networks.torchvision_weights import load_torchvision
from locbench.recipe import Recipe
from locbench.results.store import Store


class BackboneError(DivergedError):
    """A detector's backbone could not be trained; the cell is recorded as failed and the sweep goes on."""


def keep_weights(chain: nn.Module, path: Path) -> None:
    """Write a network's weights and statistics, from whatever device; see `write_atomically` for errors."""
    from safetensors.torch import save

    state = {name: each.detach().cpu().contiguous() for name, each in chain.state_dict().items()}
    write_atomically(path, save(state))


def refuse_untrained(store: Store, backbone: Recipe) -> Path:
    """Return the file of a trained backbone's weights.

    Raises:
        BackboneError: there is none since its training failed.
    """
    path = store.weights(backbone.key)
    if path.is_file():
        return path
    record = store.find(backbone.key)
    why = f": {record.error}" if record is not None and record.status == "failed" else ""
    raise BackboneError(f"its backbone was not trained{why}", "Train it again with --rerun failed.")


def load_backbone(chain: Chain, network: str, path: Path) -> None:
    """Give a chain the weights in a file, in its own or in torchvision's naming.

    Raises:
        FailureError: there is no such file, it holds no weights, or those of another network.
    """
    from locbench.networks.weight_state import weights_in

    try:
        load_torchvision(chain, network, weights_in(path))
    except FailureError as error:
        message = error.message if str(path) in error.message else f"{path}: {error.message}"
        raise FailureError(message, f"Give the weights of {network} with --weights, or train them here.") from None
