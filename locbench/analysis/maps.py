"""Feature maps: the mean over channels at the end of each stage."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from locbench.analysis.representations import Array, layer_outputs
from locbench.networks.chain import Chain


def stage_maps(chain: Chain, images: Tensor) -> list[Array]:
    """Return for each residual stage the map after its last layer, B x H x W.

    It is the mean over channels, each image's map scaled from its minimum and maximum to [0, 1]. A
    constant map is 0.

    Args:
        chain: the network, in evaluation mode.
        images: B x 3 x H x W, normalised.
    """
    stages = [spec.stage for spec in chain.specs]
    ends = {
        index for index, stage in enumerate(stages) if stage and stage not in stages[index + 1 :]
    }
    return [
        _scaled(output.float().mean(dim=1).numpy())
        for index, output in enumerate(layer_outputs(chain, images))
        if index in ends
    ]


def _scaled(maps: Array) -> Array:
    low = maps.min(axis=(1, 2), keepdims=True)
    span = maps.max(axis=(1, 2), keepdims=True) - low
    scaled: Array = np.divide(maps - low, span, out=np.zeros_like(maps), where=span > 0)
    return scaled


def active_share(maps: Array, above: float = 0.5) -> float:
    """Return the share of places in percent whose scaled value is above a bound.

    Args:
        maps: as `stage_maps` gives them.
        above: the bound.
    """
    return 100 * float((maps > above).mean())
