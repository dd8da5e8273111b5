"""A network of three layers, and a data set that is drawn."""

import numpy as np

from locbench import DATASETS, NETWORKS, ChainBuilder, DatasetInfo, NetworkInfo
from locbench.networks.layers import conv_bn_relu, pooled_classifier


def layer(inputs, outputs, stride):
    return conv_bn_relu(inputs, outputs, stride=stride)


def convnet(classes, side):
    """Return three convolutions, each a local layer, and a classifier."""
    layers = ChainBuilder(side)
    layers.add_clone(layer, 8, 1, stage=1)
    layers.add_clone(layer, 16, 2, stage=2)
    layers.add_clone(layer, 32, 2, stage=3)
    return layers.chain(pooled_classifier(32, classes), classes)


def read_bars(info, root, download):
    """Draw images that are bright at one of their sides."""
    random, parts = np.random.default_rng(0), []
    for size in (info.train_size, info.test_size):
        labels = np.arange(size) % info.classes
        pixels = random.integers(0, 128, (size, info.side, info.side, 3), dtype=np.uint8)
        for image, label in zip(pixels, labels, strict=True):
            np.rot90(image, label)[:2] += 120
        parts.append((pixels, labels))
    return parts


NETWORKS.add("convnet3", NetworkInfo("convnet3", "ConvNet-3", units=3, builder=convnet))

_BARS = DatasetInfo(
    "bars", "Bars", classes=3, side=8, train_size=96, test_size=48, reader=read_bars
)
DATASETS.add("bars", _BARS)
