"""Pretrained weights from a hub or a local file: timm's of transformers, torchvision's of
convolutional networks.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from locbench.errors import FailureError
from locbench.networks.chain import Chain
from locbench.networks.swin import SwinParts, chain_of
from locbench.networks.weight_state import reason, weights_in
from locbench.spec.networks import NETWORKS

VERSION = "IMAGENET1K_V1"
"""Of torchvision's weights: those of its first, plain recipe, which all of these networks have."""

_HEAD = "head."


def load_pretrained(
    chain: nn.Module, network: str, classes: int, side: int, file: Path | None = None
) -> None:
    """Give a chain the published weights of its network on ImageNet.

    A transformer's classifier keeps the weights it has, and its position biases are resized where
    the window differs, as timm does. A convolutional network's last layer keeps them only where the
    number of classes is another.

    Args:
        chain: the network, built for these classes and this side.
        network: its name.
        classes: number of classes.
        side: side of the images in pixels.
        file: as `weights_in` reads it, in timm's or in the original naming, or in torchvision's;
            None asks the hub.

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
    kept = {
        name: each for name, each in chain.state_dict().items() if name.startswith("head.head.")
    }
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
    except (
        RuntimeError,
        KeyError,
        AttributeError,
        ValueError,
        IndexError,
        TypeError,
        AssertionError,
    ) as error:
        first = str(error).strip().splitlines()
        detail = first[1].strip() if len(first) > 1 else first[0] if first else type(error).__name__
        raise FailureError(
            f"{source} holds weights of another model than {label}: {detail}", remedy
        ) from None
    missing = [name for name in found.missing_keys if not name.startswith(_HEAD)]
    if missing or found.unexpected_keys:
        odd = (
            f"{missing[0]!r} is missing" if missing else f"{found.unexpected_keys[0]!r} is unknown"
        )
        raise FailureError(f"{source} holds weights of another model than {label}: {odd}", remedy)


def kept_weights(network: str) -> bool:
    """Return whether a network's published weights lie in their hub's cache, so that nothing is
    fetched.
    """
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
    except (
        Exception
    ):  # other versions of the hubs' packages keep it elsewhere: unknown, and told as not there
        return False


def _from_hub(name: str) -> dict[str, Tensor]:
    import timm

    logging.getLogger("huggingface_hub").setLevel(
        logging.CRITICAL
    )  # or it tells of every attempt besides
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
    remedy = (
        "Connect to the network, give a file with --weights FILE, or start from random weights."
    )
    return FailureError(f"{what} could not be fetched: {reason(error)}", remedy)


Renaming = dict[str, str]
"""Prefixes of torchvision's parameter names and the chain's."""


def load_torchvision(
    chain: Chain, network: str, state_dict: Mapping[str, Tensor], source: str = "this state dict"
) -> None:
    """Give a chain the weights of torchvision's network; running it computes the same, bit for bit.

    The last linear layer keeps its own weights if the number of classes is another or the state
    dict has none of it, and so does the whole classifier if there is none.

    Args:
        chain: the network, built for any number of classes and any side.
        network: its name, of a network that torchvision has.
        state_dict: of torchvision's model.
        source: where it comes from, for the message.

    Raises:
        FailureError: the weights are of another network.
    """
    renamed = dict(_renamed(state_dict, _renaming(chain)))
    own = chain.state_dict()
    last, head = _last_linear(chain), [name for name in own if name.startswith("head.")]
    absent = next((each for each in (head, last) if not renamed.keys() & set(each)), ())
    other = [
        name for name in last if name in renamed and renamed[name].shape[:1] != (chain.classes,)
    ]
    renamed |= {name: own[name] for name in (*absent, *other)}
    fault = next(_faults(own, renamed), None)
    if fault is not None:
        info = NETWORKS[network]
        remedy = f"Give torchvision's weights of {info.torchvision} with --weights, or train from random weights."
        raise FailureError(
            f"{source} holds weights of another network than {info.label}: {fault}", remedy
        )
    chain.load_state_dict(own | renamed)


def _faults(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> Iterator[str]:
    if not any(name in own and not name.startswith("head.") for name in given):
        yield f"none of its names fits, such as {next(iter(given), '')!r}"
    for name, each in own.items():
        if name not in given:
            if not name.endswith(
                "num_batches_tracked"
            ):  # weights saved before PyTorch 0.4.1 have none
                yield f"{name!r} is missing"
        elif given[name].shape != each.shape:
            yield f"{name!r} is {tuple(given[name].shape)} instead of {tuple(each.shape)}"
        elif each.is_floating_point() and not given[name].is_floating_point():
            yield f"{name!r} is of {given[name].dtype} instead of {each.dtype}"
    yield from (f"{name!r} is unknown" for name in given if name not in own)


def _renamed(state_dict: Mapping[str, Tensor], renaming: Renaming) -> Iterator[tuple[str, Tensor]]:
    for name, each in state_dict.items():
        layer, _, rest = str(name).rpartition(".")
        while layer not in renaming and layer:
            layer, _, inner = layer.rpartition(".")
            rest = f"{inner}.{rest}"
        yield (f"{renaming[layer]}.{rest}" if layer else name), each


def _renaming(chain: Chain) -> Renaming:
    stages = [spec.stage for spec in chain.specs]
    return _of_vgg(chain) if stages[0] else _of_resnet(chain, stages)


def _of_resnet(chain: Chain, stages: list[int]) -> Renaming:
    found = {
        "conv1": "units.0.0",
        "bn1": "units.0.1",
        "fc": _last_linear(chain)[0].rpartition(".")[0],
    }
    for index, stage in enumerate(stages[1:], 1):
        found[f"layer{stage}.{index - stages.index(stage)}"] = f"units.{index}"
    return found


def _of_vgg(chain: Chain) -> Renaming:
    """Name the layers by their position, as torchvision does: pooling and ReLU count, and dropout
    in the classifier.
    """
    found, position = {}, 0
    for index, unit in enumerate(chain.units):
        for inner, _ in enumerate(unit.children()):
            found[f"features.{position}"] = f"units.{index}.{inner}"
            position += 1
    first = next(
        index for index, each in enumerate(chain.head.children()) if isinstance(each, nn.Linear)
    )
    for index in range(first, len(list(chain.head.children()))):
        found[f"classifier.{index - first}"] = f"head.{index}"
    return found


def _last_linear(chain: Chain) -> tuple[str, str]:
    *_, last = (name for name, each in chain.named_modules() if isinstance(each, nn.Linear))
    return f"{last}.weight", f"{last}.bias"
