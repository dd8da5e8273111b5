"""Swin Transformers from timm as chains (Liu et al. 2021).

The patch embedding is a local layer, and so is each block. A PatchMerging belongs to the block
before it (Pathak et al. 2023, section 3.1), though timm keeps it at the start of the next stage.
Maps between local layers are B x C x H x W like those of convolutional networks; in memory their
channels are last, as timm has them, so that no copy is made on the way.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from timm.layers import ClassifierHead, PatchEmbed, trunc_normal_
from timm.models.swin_transformer import SwinTransformerStage
from torch import Tensor, nn

from locbench.networks.chain import Chain, LayerSpec, no_copy
from locbench.spec.networks import NETWORKS, TransformerInfo


class TokenLayers(nn.Module):
    """Layers that work on channels-last maps, between maps with channels first.

    Args:
        layers: run in order on B x H x W x C.
    """

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        """Map B x C x H x W to B x C' x H' x W', a view of channels-last memory."""
        x = x.permute(0, 2, 3, 1)
        for layer in self.layers:
            x = layer(x)
        return x.permute(0, 3, 1, 2)


class PatchEmbedding(nn.Module):
    """timm's patch embedding with its LayerNorm: images, B x 3 x H x W, to B x C x H/4 x W/4."""

    def __init__(self, embedding: nn.Module) -> None:
        super().__init__()
        self.embedding = embedding

    def forward(self, images: Tensor) -> Tensor:
        """Embed 4 x 4 patches."""
        return self.embedding(images).permute(0, 3, 1, 2)  # type: ignore[no-any-return]


class TokenHead(nn.Module):
    """The final LayerNorm, average pooling over tokens and the linear classifier."""

    def __init__(self, norm: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.norm, self.head = norm, head

    def forward(self, x: Tensor) -> Tensor:
        """Map B x C x H x W to class scores, B x classes."""
        return self.head(self.norm(x.permute(0, 2, 3, 1)))  # type: ignore[no-any-return]


def build(name: str, classes: int, side: int, drop_path: float = 0.0) -> Chain:
    """Return a Swin Transformer with freshly drawn weights, as timm draws them.

    Args:
        name: a transformer of the network catalogue.
        classes: number of classes.
        side: side of the input images in pixels; see `spec.networks.check_side`.
        drop_path: rate of stochastic depth at the last block, rising linearly from 0 at the first.
    """
    shape = NETWORKS[name].transformer
    assert shape is not None
    return chain_of(SwinParts(shape, classes, side, drop_path), classes, side)


class SwinParts(nn.Module):
    """timm's layers of a Swin Transformer under timm's names, so that its weights load.

    They are put together here since timm's own model reads the rates of stochastic depth off a
    tensor, which has no values where a step is only traced. Attention is materialised, as it was
    when the papers measured memory.

    Args:
        shape: of the network.
        classes: number of classes.
        side: side of the images in pixels.
        drop_path: rate of stochastic depth at the last block, linear from 0 at the first.
    """

    def __init__(
        self, shape: TransformerInfo, classes: int, side: int, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.channels = shape.channels
        self.patch_embed = PatchEmbed(
            img_size=side,
            patch_size=4,
            embed_dim=shape.channels,
            norm_layer=nn.LayerNorm,
            output_fmt="NHWC",
        )
        self.layers = nn.Sequential(*_stages(shape, side // 4, drop_path))
        width = shape.channels * 2 ** (len(shape.depths) - 1)
        self.norm = nn.LayerNorm(width)
        self.head = ClassifierHead(width, classes, pool_type="avg", input_fmt="NHWC")
        self.apply(_draw)


def _stages(shape: TransformerInfo, resolution: int, drop_path: float) -> Iterator[nn.Module]:
    rates = iter(drop_path * index / (sum(shape.depths) - 1) for index in range(sum(shape.depths)))
    for number, (depth, heads) in enumerate(zip(shape.depths, shape.heads, strict=True)):
        scale = max(0, number - 1)  # a PatchMerging starts every stage but the first
        stage = SwinTransformerStage(
            dim=shape.channels * 2**scale,
            out_dim=shape.channels * 2**number,
            input_resolution=(resolution // 2**scale, resolution // 2**scale),
            depth=depth,
            downsample=number > 0,
            num_heads=heads,
            window_size=shape.window,
            drop_path=[next(rates) for _ in range(depth)],
        )
        for block in stage.blocks:
            block.attn.fused_attn = False
        yield stage


def _draw(layer: nn.Module) -> None:
    """Draw a linear layer's weights as timm and the Swin pipeline do.

    Other layers have drawn their own.
    """
    if isinstance(layer, nn.Linear):
        trunc_normal_(layer.weight, std=0.02)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def chain_of(model: SwinParts, classes: int, side: int) -> Chain:
    """Return the layers as a chain.

    Run in order they compute what timm's model computes, bit for bit.
    """
    units: list[nn.Module] = [PatchEmbedding(model.patch_embed)]
    resolution, channels = side // 4, model.channels
    specs = [LayerSpec(channels, resolution, 0, no_copy)]
    for stage, layers in _blocks(model):
        units.append(TokenLayers(*layers))
        if len(layers) > 1:  # a PatchMerging follows
            resolution, channels = resolution // 2, 2 * channels
        specs.append(LayerSpec(channels, resolution, stage, no_copy))
    return Chain(units, TokenHead(model.norm, model.head), specs, classes, side)


def _blocks(model: SwinParts) -> Iterator[tuple[int, list[nn.Module]]]:
    """Yield each block with its stage from 1; the last of a stage has the next's PatchMerging."""
    stages: list[Any] = list(model.layers)
    for number, stage in enumerate(stages, 1):
        for block in stage.blocks[:-1]:
            yield number, [block]
        following = [stages[number].downsample] if number < len(stages) else []
        yield number, [stage.blocks[-1], *following]


tiny, base, large = (
    partial(build, "swin-tiny"),
    partial(build, "swin-base"),
    partial(build, "swin-large"),
)
micro, micro_deep = partial(build, "swin-micro"), partial(build, "swin-micro-deep")
