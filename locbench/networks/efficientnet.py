"""EfficientNet-B0 for small images (Tan & Le 2019).

The layout is the one common for CIFAR-10; AugLocal's 17 layers fit it. It differs from the paper's
in its stem (no stride, and no 1x1 convolution before the classifier). That layout names a rate of
0.2 for stochastic depth, but its counter of blocks stays at 0 and with it every block's rate: here
there is none. So no local layer draws random numbers; dropout before the classifier does.
"""

from __future__ import annotations

from functools import cache, partial

from torch import Tensor, nn

from locbench.networks.chain import Chain, ChainBuilder, Clone
from locbench.networks.layers import GlobalAveragePool

ROWS = (
    (1, 16, 1, 3, 1),
    (6, 24, 2, 3, 2),
    (6, 40, 2, 5, 2),
    (6, 80, 3, 3, 2),
    (6, 112, 3, 5, 1),
    (6, 192, 4, 5, 2),
    (6, 320, 1, 3, 1),
)
"""Expansion, output channels, number of blocks, kernel and stride of the first block (Tan & Le
2019, Table 1).
"""

STEM, DROPOUT = 32, 0.2


class SqueezeExcitation(nn.Module):
    """Scales every channel by a gate between 0 and 1, computed from all channels' means.

    Args:
        channels: of the map.
        squeezed: hidden width of the gate.
    """

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            GlobalAveragePool(),
            nn.Conv2d(channels, squeezed, 1),
            nn.SiLU(),
            nn.Conv2d(squeezed, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of the same shape."""
        return x * self.gate(x)  # type: ignore[no-any-return]


class MBConv(nn.Module):
    """Inverted bottleneck with squeeze and excitation; the input is added where the shape stays.

    Without expansion the first 1x1 convolution is left out.

    Args:
        inputs: input channels; the gate's hidden width is a quarter of them.
        outputs: output channels.
        stride: of the depthwise convolution.
        expansion: channels of the depthwise convolution for each input channel.
        kernel: of the depthwise convolution.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int, kernel: int) -> None:
        super().__init__()
        wide = expansion * inputs
        widening = (
            [nn.Conv2d(inputs, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.SiLU()]
            if expansion > 1
            else []
        )
        self.body = nn.Sequential(
            *widening,
            nn.Conv2d(wide, wide, kernel, stride, kernel // 2, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.SiLU(),
            SqueezeExcitation(wide, int(0.25 * inputs)),
            nn.Conv2d(wide, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.keeps_shape = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map B x inputs x H x W to B x outputs x H/stride x W/stride."""
        out: Tensor = self.body(x)
        if self.keeps_shape:
            out += x
        return out


@cache
def cloner(expansion: int, kernel: int) -> Clone:
    """Return what builds blocks of one kind; equal layers share it."""
    return partial(MBConv, expansion=expansion, kernel=kernel)


def build(classes: int, side: int, narrow: int = 1) -> Chain:
    """Return EfficientNet-B0 as 17 local layers: stem and 16 blocks.

    Args:
        classes: number of classes.
        side: side of the input images in pixels.
        narrow: divides every width; 1 as published.
    """
    layers, channels = ChainBuilder(side), STEM // narrow
    stem = nn.Sequential(
        nn.Conv2d(3, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels), nn.SiLU()
    )
    layers.add(stem, 1, channels, 0, cloner(ROWS[0][0], ROWS[0][3]))
    for stage, (expansion, published, depth, kernel, first) in enumerate(ROWS, 1):
        for stride in (first, *(1,) * (depth - 1)):
            layers.add_clone(cloner(expansion, kernel), published // narrow, stride, stage)
    head = nn.Sequential(
        GlobalAveragePool(), nn.Flatten(), nn.Dropout(DROPOUT), nn.Linear(layers.channels, classes)
    )
    return layers.chain(head, classes)


narrow = partial(build, narrow=4)
