"""DGL's auxiliary nets: MLP-SR, MLP and CNN (Belilovsky et al. 2020).

MLP-SR is there as DGL's own code and as AugLocal's code have it.
"""

from __future__ import annotations

from math import ceil

from torch import nn

from locbench.learning.auxiliary.branch import AttachPoint, Classifier, refuse_empty_patches
from locbench.networks.layers import AveragePool, conv_bn_relu
from locbench.spec.components import Mlp


def build(options: Mlp, point: AttachPoint) -> Classifier:
    """Return the auxiliary net of a module.

    Raises:
        UsageError: the map is too small to be cut into patches.
    """
    refuse_empty_patches(point.spec.side, point.patches)
    return Classifier(_cnn(point) if options.variant == "cnn" else _mlp(options, point))


def pooled_side(point: AttachPoint) -> int:
    """Return the side of the first pooling: a quarter of the map's, at least 2 for a patch.

    The lower bound keeps the number of inputs of the linear layers, hence the parameters, the same
    with and without patches.
    """
    quarter = ceil(point.side / 4)
    return max(2, quarter) if point.patches > 1 else quarter


def _mlp(options: Mlp, point: AttachPoint) -> nn.Sequential:
    channels, first = point.spec.channels, pooled_side(point)
    # Of the whole map, so that patches do not change the linear layers.
    last = min(ceil(point.spec.side / 4), 2)
    width = channels * last**2
    convolutions = 0 if options.variant == "mlp" else 3
    hidden, bias = (2, False) if options.variant == "auglocal" else (3, True)
    layers: list[nn.Module] = [AveragePool(first)]
    for _ in range(convolutions):
        layers += conv_bn_relu(channels, channels, 1)
    layers += [AveragePool(last), nn.Flatten()]
    for _ in range(hidden):
        layers += [nn.Linear(width, width, bias=bias), nn.BatchNorm1d(width), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Linear(width, point.classes))


def _cnn(point: AttachPoint) -> nn.Sequential:
    channels = point.spec.channels
    layers: list[nn.Module] = []
    for _ in range(2):
        layers += conv_bn_relu(channels, channels)
    layers += [AveragePool(2), nn.BatchNorm2d(channels), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(4 * channels, point.classes))
