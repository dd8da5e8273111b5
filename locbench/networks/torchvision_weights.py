"""Weights of torchvision's ImageNet networks, put into chains of the same layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor, nn

from locbench.errors import FailureError
from locbench.networks.catalogue import NETWORKS
from locbench.networks.chain import Chain

Renaming = dict[str, str]
"""Prefixes of torchvision's parameter names and the chain's."""


def load_torchvision(
    chain: Chain, network: str, state_dict: Mapping[str, Tensor], source: str = "this state dict"
) -> None:
    """Give a chain the weights of torchvision's network; running it computes the same, bit for bit.

    The last linear layer keeps its own weights if the number of classes is another or the state dict has none of it,
    and so does the whole classifier if there is none.

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
    other = [name for name in last if name in renamed and renamed[name].shape[:1] != (chain.classes,)]
    renamed |= {name: own[name] for name in (*absent, *other)}
    fault = next(_faults(own, renamed), None)
    if fault is not None:
        info = NETWORKS[network]
        remedy = f"Give torchvision's weights of {info.torchvision} with --weights, or train from random weights."
        raise FailureError(f"{source} holds weights of another network than {info.label}: {fault}", remedy)
    chain.load_state_dict(own | renamed)


def _faults(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> Iterator[str]:
    if not any(name in own and not name.startswith("head.") for name in given):
        yield f"none of its names fits, such as {next(iter(given), '')!r}"
    for name, each in own.items():
        if name not in given:
            if not name.endswith("num_batches_tracked"):  # weights saved before PyTorch 0.4.1 have none
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
    found = {"conv1": "units.0.0", "bn1": "units.0.1", "fc": _last_linear(chain)[0].rpartition(".")[0]}
    for index, stage in enumerate(stages[1:], 1):
        found[f"layer{stage}.{index - stages.index(stage)}"] = f"units.{index}"
    return found


def _of_vgg(chain: Chain) -> Renaming:
    """Name the layers by their position, as torchvision does: pooling and ReLU count, and dropout in the classifier."""
    found, position = {}, 0
    for index, unit in enumerate(chain.units):
        for inner, _ in enumerate(unit.children()):
            found[f"features.{position}"] = f"units.{index}.{inner}"
            position += 1
    first = next(index for index, each in enumerate(chain.head.children()) if isinstance(each, nn.Linear))
    for index in range(first, len(list(chain.head.children()))):
        found[f"classifier.{index - first}"] = f"head.{index}"
    return found


def _last_linear(chain: Chain) -> tuple[str, str]:
    *_, last = (name for name, each in chain.named_modules() if isinstance(each, nn.Linear))
    return f"{last}.weight", f"{last}.bias"
