"""Pretrained weights from a hub or a local file: timm's of transformers, torchvision's of convolutional networks."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import Tensor, nn

from locbench.errors import FailureError
from locbench.networks.catalogue import NETWORKS
from locbench.networks.chain import Chain
from locbench.networks.swin import SwinParts, chain_of
from locbench.networks.torchvision_weights import load_torchvision
from locbench.networks.weight_state import reason, weights_in

VERSION = "IMAGENET1K_V1"
"""Of torchvision's weights: those of its first, plain recipe, which all of these networks have."""

_HEAD = "head."


def load_pretrained(chain: nn.Module, network: str, classes: int, side: int, file: Path | None = None) -> None:
    """Give a chain the published weights of its network on ImageNet.

    A transformer's classifier keeps the weights it has, and its position biases are resized where the window differs,
    as timm does. A convolutional network's last layer keeps them only where the number of classes is another.

    Args:
        chain: the network, built for these classes and this side.
        network: its name.
        classes: number of classes.
        side: side of the images in pixels.
        file: as `weights_in` reads it, in timm's or in the original naming, or in torchvision's; None asks the hub.

    Raises:
        FailureError: there is no file, no network, or the weights are of another model.
    """
    shape = NETWORKS[network].transformer
    if shape is None:
        _fill_convolutional(chain, network, file)
        return
    if file is None and not shape.weights:
        remedy = "Choose a table of networks from random weights, or give --weights FILE."
        raise FailureError(f"{NETWORKS[network].label} has no pretrained weights", remedy)
    weights = _from_hub(shape.weights) if file is None else weights_in(file)
    model = SwinParts(shape, classes, side)
    source = str(file) if file else shape.weights
    _fill(model, weights, source, NETWORKS[network].label)
    wanted = chain_of(model, classes, side).state_dict()
    kept = {name: each for name, each in chain.state_dict().items() if name.startswith("head.head.")}
    chain.load_state_dict(wanted | kept)


def _fill_convolutional(chain: nn.Module, network: str, file: Path | None) -> None:
    assert isinstance(chain, Chain)
    name = NETWORKS[network].torchvision
    weights = _from_torchvision(name) if file is None else weights_in(file)
    load_torchvision(chain, network, weights, str(file) if file else name)


def _fill(model: SwinParts, weights: dict[str, Tensor], source: str, label: str) -> None:
    from timm.models.swin_transformer import checkpoint_filter_fn

    remedy = f"Give the weights of {label} with --weights, or train from random weights."
    try:
        converted = checkpoint_filter_fn(dict(weights), model)
        body = {name: each for name, each in converted.items() if not name.startswith(_HEAD)}
        found = model.load_state_dict(body, strict=False)
    except (RuntimeError, KeyError, AttributeError, ValueError, IndexError, TypeError, AssertionError) as error:
        first = str(error).strip().splitlines()
        detail = first[1].strip() if len(first) > 1 else first[0] if first else type(error).__name__
        raise FailureError(f"{source} holds weights of another model than {label}: {detail}", remedy) from None
    missing = [name for name in found.missing_keys if not name.startswith(_HEAD)]
    if missing or found.unexpected_keys:
        odd = f"{missing[0]!r} is missing" if missing else f"{found.unexpected_keys[0]!r} is unknown"
        raise FailureError(f"{source} holds weights of another model than {label}: {odd}", remedy)


def kept_weights(network: str) -> bool:
    """Return whether a network's published weights lie in their hub's cache, so that nothing is fetched."""
    shape, name = NETWORKS[network].transformer, NETWORKS[network].torchvision
    try:
        if shape is None:
            from torchvision.models import get_model_weights

            url = str(get_model_weights(name)[VERSION].url)
            return (Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]).is_file()
        from huggingface_hub import try_to_load_from_cache
        from timm.models import get_pretrained_cfg

        wanted = get_pretrained_cfg(shape.weights)
        source = str(wanted.hf_hub_id) if wanted else ""
        files = ("model.safetensors", "pytorch_model.bin")
        return any(isinstance(try_to_load_from_cache(source, each), str) for each in files)
    except Exception:  # other versions of the hubs' packages keep it elsewhere: unknown, and told as not there
        return False


def _from_hub(name: str) -> dict[str, Tensor]:
    import timm

    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)  # or it tells of every attempt besides
    try:
        return timm.create_model(name, pretrained=True).state_dict()  # type: ignore[no-any-return]
    except Exception as error:  # no network, no such file, no space: the hub raises many kinds
        raise _unreachable(f"timm's weights {name}", error) from None


def _from_torchvision(name: str) -> dict[str, Tensor]:
    from torchvision.models import get_model_weights

    try:
        wanted = get_model_weights(name)[VERSION]
        return dict(wanted.get_state_dict(progress=False, check_hash=True))
    except Exception as error:  # no network, no space, a file cut short
        raise _unreachable(f"torchvision's weights {VERSION} of {name}", error) from None


def _unreachable(what: str, error: Exception) -> FailureError:
    remedy = "Connect to the network, give a file with --weights FILE, or start from random weights."
    return FailureError(f"{what} could not be fetched: {reason(error)}", remedy)
