"""A network as a chain: local layers in order, then a classifier."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from locbench.errors import UsageError
from locbench.spec.networks import NETWORKS, TimmNetwork

Clone = Callable[[int, int, int], nn.Module]
"""(input channels, output channels, stride) -> a fresh layer of the same kind."""


def no_copy(inputs: int, outputs: int, stride: int) -> nn.Module:
    """Refuse to copy a layer: there is no rule for its kind."""
    raise TypeError(
        f"such a layer is not copied into auxiliary nets ({inputs}, {outputs}, {stride})"
    )


ClassifierBuilder = Callable[[int], nn.Module]
"""Number of classes -> what maps B x C x H x W of any C, H and W to class scores."""


@dataclass(frozen=True)
class FeatureLayout:
    """How a layer that gives no B x C x H x W holds its map, which auxiliary nets see.

    Attributes:
        side: of the map in pixels.
        prefix: number of tokens before those of the map, such as a class token, in B x tokens x C;
            None where a layer gives B x H x W x C.
    """

    side: int
    prefix: int | None

    def map_of(self, features: Tensor) -> Tensor:
        """Return the map, B x C x H x W, as a view; no token before it is in it."""
        if self.prefix is None:
            return features.permute(0, 3, 1, 2)
        rows = features[:, self.prefix :].view(len(features), self.side, self.side, -1)
        return rows.permute(0, 3, 1, 2)

    def laid_out(self, gradient: Tensor) -> Tensor:
        """Return a map's gradient as the features'; tokens that are not of the map have zeros."""
        rows = gradient.permute(0, 2, 3, 1)
        if self.prefix is None:
            return rows
        return F.pad(rows.flatten(1, 2), (0, 0, self.prefix, 0))


@dataclass(frozen=True)
class LayerSpec:
    """What an auxiliary net may know of a local layer.

    Attributes:
        channels: output channels.
        side: side of the output map in pixels.
        stage: residual stage, 0 for the stem.
        clone: builds a layer of the same architecture with fresh weights; for the stem, a residual
            block.
        width: the channels that AugLocal's copies count when they choose strides; None means
            ``channels``. A bottleneck counts its base width, a quarter of what it gives.
        carry_stride: whether a jump of four in width makes two copies stride; without it, one
            change is one halving (VGG).
        classifier: ends AugLocal's nets in the place of average pooling and one linear layer; None
            keeps these.
        layout: how the map lies in what the layer gives; None where that is B x C x H x W.
    """

    channels: int
    side: int
    stage: int
    clone: Clone
    width: int | None = None
    carry_stride: bool = True
    classifier: ClassifierBuilder | None = None
    layout: FeatureLayout | None = None

    @property
    def base_width(self) -> int:
        """What AugLocal's copies count when they choose strides."""
        return self.channels if self.width is None else self.width

    def map_of(self, features: Tensor) -> Tensor:
        """Return the map, B x C x H x W, in what the layer gives."""
        return features if self.layout is None else self.layout.map_of(features)


class Chain(nn.Module):
    """Local layers f^1 ... f^L and a classifier.

    Args:
        units: the local layers; running them in order and then ``head`` is the network.
        head: from the last layer's output, B x C x H x W, to class scores, B x classes.
        specs: one `LayerSpec` per unit.
        classes: number of classes.
        side: side of the input image in pixels.
    """

    def __init__(
        self,
        units: list[nn.Module],
        head: nn.Module,
        specs: list[LayerSpec],
        classes: int,
        side: int,
    ) -> None:
        super().__init__()
        if len(units) != len(specs):
            raise ValueError(f"{len(units)} units but {len(specs)} specs")
        self.units = nn.ModuleList(units)
        self.head = head
        self.specs = tuple(specs)
        self.classes = classes
        self.side = side

    def forward(self, images: Tensor) -> Tensor:
        """Map images, B x 3 x H x W, to class scores, B x classes."""
        x = images
        for unit in self.units:
            x = unit(x)
        return self.head(x)  # type: ignore[no-any-return]


class ChainBuilder:
    """Puts local layers one behind the other, and keeps count of the map that each leaves.

    Args:
        side: of the input image in pixels.

    Attributes:
        channels: of the last layer's map; 3 before the first, those of the image.
        side: of that map in pixels.
    """

    def __init__(self, side: int) -> None:
        self.channels, self.side, self.image_side = 3, side, side
        self.units: list[nn.Module] = []
        self.specs: list[LayerSpec] = []

    def add(
        self, unit: nn.Module, stride: int, channels: int, stage: int, clone: Clone, **rules: Any
    ) -> None:
        """Append a layer.

        Args:
            unit: the layer.
            stride: what it divides the map's side by, rounded up.
            channels, stage, clone, rules: the other attributes of its `LayerSpec`.
        """
        self.channels, self.side = channels, (self.side - 1) // stride + 1
        self.units.append(unit)
        self.specs.append(LayerSpec(channels, self.side, stage, clone, **rules))

    def add_clone(self, clone: Clone, channels: int, stride: int, stage: int, **rules: Any) -> None:
        """Append a fresh layer of the kind that auxiliary nets copy; see `add`."""
        self.add(clone(self.channels, channels, stride), stride, channels, stage, clone, **rules)

    def chain(self, head: nn.Module, classes: int) -> Chain:
        """Return the network, initialised by `initialise`."""
        chain = Chain(self.units, head, self.specs, classes, self.image_side)
        initialise(chain)
        return chain


@torch.no_grad()
def initialise(module: nn.Module) -> None:
    """Draw convolution weights from N(0, 2 / (k * k * output channels)), BatchNorm2d as 1 and 0.

    This is He et al.'s initialisation by fan-out. Linear layers, BatchNorm1d and convolution biases
    keep PyTorch's defaults, as in InfoPro-Pytorch.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            fan_out = layer.kernel_size[0] * layer.kernel_size[1] * layer.out_channels
            layer.weight.normal_(0, (2 / fan_out) ** 0.5)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)


def build_chain(network: str, classes: int, side: int, drop_path: float = 0.0) -> Chain:
    """Return a network by name with freshly drawn weights.

    Args:
        network: a name of the network catalogue.
        classes: number of classes.
        side: side of the images in pixels.
        drop_path: rate of stochastic depth; for transformers and models of timm alone.

    Raises:
        UsageError: the builder makes another network than it is said to make.
    """
    info = NETWORKS[network]
    of_timm = (info.model,) if isinstance(info, TimmNetwork) else ()
    further = (drop_path,) if info.takes_drop_path else ()
    chain = NETWORKS.call(network, info.builder, *of_timm, classes, side, *further)
    if not isinstance(chain, Chain):
        raise UsageError(
            f"the network {network!r} is built as a {type(chain).__name__}",
            "Let its builder return a Chain of local layers, as locbench.ChainBuilder makes it.",
        )
    if len(chain.units) != info.units:
        raise UsageError(
            f"the network {network!r} has {len(chain.units)} local layers, and its NetworkInfo "
            f"says {info.units}",
            "Set units to what the builder makes.",
        )
    return chain
