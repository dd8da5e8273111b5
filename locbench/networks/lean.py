"""Layers that keep fewer feature maps for the backward pass: same parameters, same names, same numbers.

`lighten` gives the layers of a net these classes. In evaluation, and where no graph is built, they run as they were.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from locbench.networks.fused import Norm, fusable, norm_relu, norm_relu_conv, plain_convolution
from locbench.networks.resnet_cifar import BasicBlock


class LeanBlock(BasicBlock):
    """A basic block that keeps its convolutions' outputs and its own, and not what is between."""

    def forward(self, x: Tensor) -> Tensor:
        """See `BasicBlock`."""
        if not (torch.is_grad_enabled() and fusable(self.bn1, self.relu)):
            return super().forward(x)
        out = self.bn2(norm_relu_conv(self.conv1(x), self.bn1, self.conv2))
        out += self.shortcut(x)
        return self.relu(out)  # type: ignore[no-any-return]


class LeanSequential(nn.Sequential):
    """Layers in order, with BatchNorm and ReLU, and a convolution that follows them, as one."""

    def forward(self, x: Tensor) -> Tensor:
        """Run the layers."""
        layers, index = list(self), 0
        while index < len(layers):
            norm, after = layers[index], layers[index + 1 : index + 3]
            if not (torch.is_grad_enabled() and after and fusable(norm, after[0])):
                x = norm(x)
                index += 1
                continue
            assert isinstance(norm, Norm)
            conv = after[-1]
            if isinstance(conv, nn.Conv2d) and plain_convolution(conv):
                x = norm_relu_conv(x, norm, conv)
                index += 3
            else:
                x = norm_relu(x, norm)
                index += 2
        return x


LEAN: dict[type[nn.Module], type[nn.Module]] = {BasicBlock: LeanBlock, nn.Sequential: LeanSequential}
"""Which class takes whose place. The new one adds no parameters, buffers or arguments."""


def lighten(net: nn.Module) -> None:
    """Turn the layers of a net into their lean kind, in place; what has none stays as it is."""
    for each in net.modules():
        if type(each) in LEAN:
            each.__class__ = LEAN[type(each)]
