"""Pretrained weights for chains, from a hub or a file.

timm has those of transformers and of its own models, torchvision those of convolutional networks.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from locbench.errors import FailureError
from locbench.networks.chain import Chain
from locbench.networks.weight_files import State, reason, weights_in
from locbench.spec.networks import NETWORKS, TIMM, TimmNetwork

VERSION = "IMAGENET1K_V1"
"""Of torchvision's weights: those of its first, plain recipe, which all of these networks have."""


def load_pretrained(chain: Chain, network: str, file: Path | None = None) -> None:
    """Give a chain the published weights of its network on ImageNet.

    Args:
        chain: the network, built for any number of classes and any side.
        network: its name.
        file: as `weights_in` reads it; None asks the hub.

    Raises:
        FailureError: there is no file, no network, or the weights are of another network.
    """
    if file is not None:
        load_state(chain, network, weights_in(file), str(file))
        return
    info = NETWORKS[network]
    name = info.published_weights
    if not name:
        raise FailureError(
            f"{info.label} has no pretrained weights",
            "Choose a table of networks from random weights, or give --weights FILE.",
        )
    fetch = _from_torchvision if info.published_init == "torchvision" else _from_timm
    load_state(chain, network, fetch(name), name)


def load_state(
    chain: Chain, network: str, state: Mapping[str, Tensor], source: str = "this state dict"
) -> None:
    """Give a chain the weights of a state dict; running it then computes the same, bit for bit.

    The classifier of a transformer, or of a model of timm, keeps the weights it has, and what
    depends on the window or the image size is resized as timm does. Another network's last layer
    keeps them if the number of classes is another or the state dict has none of it, and so does the
    whole classifier if
    there is none. The chain is as it was if this fails.

    Args:
        chain: the network, built for any number of classes and any side.
        network: its name.
        state: in timm's or the original naming for a transformer or a model of timm, in
            torchvision's or the chain's for another network.
        source: where it comes from, for the message.

    Raises:
        FailureError: the weights are of another network.
    """
    info = NETWORKS[network]
    own = chain.state_dict()
    try:
        if isinstance(info, TimmNetwork):
            weights = _of_timm(chain, info, state)
        elif info.transformer is not None:
            weights = _of_transformer(chain, network, state)
        else:
            weights = _of_convolutional(chain, state)
        fault = next(_faults(own, weights), None)
    except ValueError as error:
        fault = str(error)
    if fault is not None:
        published = f"torchvision's weights of {info.torchvision}"
        raise FailureError(
            f"{source} holds weights of another network than {info.label}: {fault}",
            f"Give {published if info.torchvision else f'the weights of {info.label}'} with "
            "--weights, or train from random weights.",
        )
    chain.load_state_dict(own | weights)


def library_of(network: str) -> str:
    """Return the library that has the network under one name, or nothing."""
    info = NETWORKS[network]
    if not info.published_weights:
        return ""
    return "torchvision" if info.published_init == "torchvision" else "timm"


def library_state(chain: Chain, network: str) -> State:
    """Return a chain's weights under the names of torchvision's or timm's network of that name.

    The library's network with as many classes, of a transformer with the same side of images, loads
    them and computes the same.

    Args:
        chain: the network.
        network: its name, one that `library_of` knows a library for.
    """
    state = chain.state_dict()
    if network.startswith(TIMM):
        from locbench.networks.timm_models import timm_names

        names = timm_names(network.removeprefix(TIMM), chain)
        return {name: state[own] for name, own in names.items()}
    if library_of(network) == "timm":
        return {name: state[own] for name, own in _timm_names(chain, network)[1].items()}
    prefixes = {own: name for name, own in _torchvision_names(chain).items()}
    return dict(_renamed(state, prefixes))


def weights_cached(network: str) -> bool:
    """Return whether a network's published weights lie in their hub's cache.

    Nothing is fetched for them then. Unknown counts as no: other versions of the hubs' packages may
    keep them elsewhere.
    """
    info = NETWORKS[network]
    try:
        if info.published_init == "torchvision":
            from torchvision.models import get_model_weights

            url = str(get_model_weights(info.published_weights)[VERSION].url)
            return (Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]).is_file()
        from huggingface_hub import try_to_load_from_cache
        from timm.models import get_pretrained_cfg

        config = get_pretrained_cfg(info.published_weights)
        repository = str(config.hf_hub_id) if config else ""
        files = ("model.safetensors", "pytorch_model.bin")
        return any(isinstance(try_to_load_from_cache(repository, name), str) for name in files)
    except Exception:
        return False


def _from_timm(name: str) -> State:
    import timm

    # Or it tells of every attempt besides.
    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)
    try:
        return timm.create_model(name, pretrained=True).state_dict()  # type: ignore[no-any-return]
    except Exception as error:  # no network, no such file, no space: the hub raises many kinds
        raise _unreachable(f"timm's weights {name}", error) from None


def _from_torchvision(name: str) -> State:
    from torchvision.models import get_model_weights

    try:
        return dict(
            get_model_weights(name)[VERSION].get_state_dict(progress=False, check_hash=True)
        )
    except Exception as error:  # no network, no space, a file cut short
        raise _unreachable(f"torchvision's weights {VERSION} of {name}", error) from None


def _unreachable(what: str, error: Exception) -> FailureError:
    return FailureError(
        f"{what} could not be fetched: {reason(error)}",
        "Connect to the network, give a file with --weights FILE, or start from random weights.",
    )


def _of_transformer(chain: Chain, network: str, state: Mapping[str, Tensor]) -> State:
    """Return timm's weights by the chain's names, with the chain's own classifier.

    Raises:
        ValueError: timm cannot convert them to the network's shape.
    """
    from timm.models.swin_transformer import checkpoint_filter_fn

    model, renaming = _timm_names(chain, network)
    body = {name: weights for name, weights in state.items() if not name.startswith("head.")}
    if not any(name.startswith("layers.0.downsample.") for name in body):
        body["head.fc.weight"] = torch.empty(0)  # older versions know timm's own naming by this
    try:
        converted = checkpoint_filter_fn(body, model)
    except Exception as error:  # it raises many kinds
        raise ValueError(reason(error)) from error
    renamed = {
        renaming.get(name, name): weights
        for name, weights in converted.items()
        if not name.startswith("head.")
    }
    return renamed | _entries(chain, "head.head.")


def _of_timm(chain: Chain, network: TimmNetwork, state: Mapping[str, Tensor]) -> State:
    """Return the weights of a model of timm by the chain's names, with the chain's own classifier.

    Raises:
        ValueError: timm cannot convert them to the network's shape.
    """
    from locbench.networks.timm_models import converted, timm_names

    names = timm_names(network.model, chain)
    given = converted(network.model, chain.side, state)
    renamed = {names.get(name, name): weights for name, weights in given.items()}
    last = tuple(f"{layer}." for layer in network.facts.classifiers)
    drawn = chain.state_dict()
    return renamed | {own: drawn[own] for name, own in names.items() if name.startswith(last)}


def _timm_names(chain: Chain, network: str) -> tuple[nn.Module, dict[str, str]]:
    """Return a transformer's parts under timm's names, without values, and the chain's names."""
    from locbench.networks.swin import SwinParts, chain_of

    shape = NETWORKS[network].transformer
    assert shape is not None
    with torch.device("meta"):
        model = SwinParts(shape, chain.classes, chain.side)
    in_chain = {
        id(weights): name
        for name, weights in chain_of(model, chain.classes, chain.side)
        .state_dict(keep_vars=True)
        .items()
    }
    return model, {
        name: in_chain[id(weights)] for name, weights in model.state_dict(keep_vars=True).items()
    }


def _of_convolutional(chain: Chain, state: Mapping[str, Tensor]) -> State:
    """Return torchvision's weights by the chain's names, completed by the chain's own."""
    renamed = dict(_renamed(state, _torchvision_names(chain)))
    last, head = _entries(chain, f"{_last_linear(chain)}."), _entries(chain, "head.")
    if not renamed.keys() & head.keys():
        return renamed | head
    if not renamed.keys() & last.keys():
        return renamed | last
    other_classes = {
        name: weights
        for name, weights in last.items()
        if name in renamed and renamed[name].shape[:1] != (chain.classes,)
    }
    return renamed | other_classes


def _entries(chain: Chain, prefix: str) -> State:
    state = chain.state_dict()
    return {name: weights for name, weights in state.items() if name.startswith(prefix)}


def _faults(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> Iterator[str]:
    if not any(name in own and not name.startswith("head.") for name in given):
        yield f"none of its names fits, such as {next(iter(given), '')!r}"
    for name, weights in own.items():
        if name not in given:
            # Weights saved before PyTorch 0.4.1 have no counters.
            if not name.endswith("num_batches_tracked"):
                yield f"{name!r} is missing"
        elif given[name].shape != weights.shape:
            yield f"{name!r} is {tuple(given[name].shape)} instead of {tuple(weights.shape)}"
        elif weights.is_floating_point() and not given[name].is_floating_point():
            yield f"{name!r} is of {given[name].dtype} instead of {weights.dtype}"
    yield from (f"{name!r} is unknown" for name in given if name not in own)


def _renamed(
    state: Mapping[str, Tensor], prefixes: Mapping[str, str]
) -> Iterator[tuple[str, Tensor]]:
    for name, weights in state.items():
        layer, _, rest = str(name).rpartition(".")
        while layer not in prefixes and layer:
            layer, _, inner = layer.rpartition(".")
            rest = f"{inner}.{rest}"
        yield (f"{prefixes[layer]}.{rest}" if layer else name), weights


def _torchvision_names(chain: Chain) -> dict[str, str]:
    """Return prefixes of torchvision's parameter names and the chain's."""
    return _vgg_names(chain) if chain.specs[0].stage else _resnet_names(chain)


def _resnet_names(chain: Chain) -> dict[str, str]:
    stages = [spec.stage for spec in chain.specs]
    names = {"conv1": "units.0.0", "bn1": "units.0.1", "fc": _last_linear(chain)}
    for index, stage in enumerate(stages[1:], 1):
        names[f"layer{stage}.{index - stages.index(stage)}"] = f"units.{index}"
    return names


def _vgg_names(chain: Chain) -> dict[str, str]:
    """Name the layers by their position, as torchvision does.

    Pooling and ReLU count, and in the classifier dropout.
    """
    layers = [
        f"units.{index}.{inner}"
        for index, unit in enumerate(chain.units)
        for inner, _ in enumerate(unit.children())
    ]
    names = {f"features.{position}": layer for position, layer in enumerate(layers)}
    head = list(chain.head.children())
    first = next(index for index, layer in enumerate(head) if isinstance(layer, nn.Linear))
    return names | {f"classifier.{at - first}": f"head.{at}" for at in range(first, len(head))}


def _last_linear(chain: Chain) -> str:
    names: list[str] = [n for n, each in chain.named_modules() if isinstance(each, nn.Linear)]
    return names[-1]
