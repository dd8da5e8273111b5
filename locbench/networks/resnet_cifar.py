"""ResNets for small images (He et al. 2016, section 4.2).

A 3x3 stem and three stages of basic blocks. Where the shape changes, the shortcut is a strided 1x1
convolution with BatchNorm, as in InfoPro-Pytorch; the published parameter totals of PGL rule
parameter-free shortcuts out.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from locbench.networks.chain import Chain, ChainBuilder
from locbench.networks.layers import conv_bn_relu, pooled_classifier, projection

STEM, WIDTHS = 16, (16, 32, 64)


class BasicBlock(nn.Module):
    """Conv-BN-ReLU-conv-BN plus shortcut, then ReLU.

    Args:
        inputs: input channels.
        outputs: output channels.
        stride: of the first convolution and the shortcut.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                projection(inputs, outputs, stride), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map B x inputs x H x W to B x outputs x H/stride x W/stride."""
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += self.shortcut(x)  # in place: only the sum is kept for the backward pass
        return self.relu(out)  # type: ignore[no-any-return]


def build(depth: int, classes: int, side: int) -> Chain:
    """Return a ResNet of ``depth`` = 6n + 2 layers as 1 + 3n local layers.

    Args:
        depth: 32 or 110 in the papers.
        classes: number of classes.
        side: side of the input images in pixels.
    """
    layers = ChainBuilder(side)
    layers.add(conv_bn_relu(3, STEM), 1, STEM, 0, BasicBlock)
    for stage, width in enumerate(WIDTHS, 1):
        for index in range((depth - 2) // 6):
            stride = 2 if stage > 1 and index == 0 else 1
            layers.add_clone(BasicBlock, width, stride, stage)
    return layers.chain(pooled_classifier(layers.channels, classes), classes)


resnet8, resnet14, resnet20 = partial(build, 8), partial(build, 14), partial(build, 20)
resnet32, resnet56, resnet110 = partial(build, 32), partial(build, 56), partial(build, 110)
