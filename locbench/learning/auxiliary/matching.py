"""Plain convolutions as wide as uniform selection is costly (AugLocal, section 4.5 and appendix A.5).

The paper scales the channels of 1x1 or 3x3 convolutions by one multiplier until the auxiliary nets' FLOPs match those
of uniform selection at the same depth. The multiplier is not printed; here it is solved for on a grid of 1/16.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import count

from locbench.learning.auxiliary.branch import Cut
from locbench.learning.options import AugLocal
from locbench.networks.chain import Closing, LayerSpec

GRID = 16


def matched_width(kernel: int, options: AugLocal, cut: Cut) -> float:
    """Return the channel multiplier whose plain convolutions come closest to uniform selection in FLOPs.

    Args:
        kernel: 1 or 3.
        options: depth and decay of the nets that are compared.
        cut: any cut of the network; all its cuts share one multiplier.
    """
    return _solve(kernel, options.depth, options.decay, options.head_bn, cut.specs, cut.ends, cut.classes)


def auxiliary_flops(options: AugLocal, cut: Cut) -> int:
    """Return the forward FLOPs of all uniform auxiliary nets of the network that a cut belongs to."""
    from locbench.costs.flops import forward_flops
    from locbench.learning.auxiliary.auglocal import build

    total = 0
    for module in range(cut.modules - 1):
        here = replace(cut, layer=cut.ends[module], module=module)
        shape = (here.spec.channels, here.spec.side, here.spec.side)
        total += forward_flops(lambda here=here: build(options, here), shape).flops  # type: ignore[misc]
    return total


@lru_cache(maxsize=256)
def _solve(
    kernel: int,
    depth: int,
    decay: float,
    head_bn: bool,
    specs: tuple[LayerSpec, ...],
    ends: tuple[int, ...],
    classes: int,
) -> float:
    from locbench.learning.auxiliary.auglocal import copied_layers

    modules, side = len(ends), specs[0].side
    cut = Cut(layer=ends[0], module=0, modules=modules, ends=ends, specs=specs, classes=classes, image_side=side)
    target = auxiliary_flops(AugLocal(depth=depth, decay=decay, head_bn=head_bn), cut)
    copied = [copied_layers(depth, decay, module, modules) for module in range(modules - 1)]
    best = (float("inf"), 0.0)
    for multiplier in _grid():
        flops = sum(
            plain_flops(kernel, spec, int(multiplier * spec.channels), k, classes)
            for spec, k in zip((specs[end] for end in ends[:-1]), copied, strict=True)
        )
        best = min(best, (abs(flops - target), multiplier))
        if flops > 2 * target:
            return best[1]
    raise AssertionError("FLOPs grow with the multiplier, so the loop ends")


def _grid() -> Iterator[float]:
    return (step / GRID for step in count(GRID // 2))


def plain_flops(kernel: int, spec: LayerSpec, width: int, layers: int, classes: int) -> int:
    """Return the forward FLOPs of ``layers`` conv-BN-ReLU of one width and of what ends the net.

    Counted as everywhere in locbench: one per multiply-accumulate, two per BatchNorm element, one per pooled element.

    Args:
        kernel: 1 or 3.
        spec: the local layer that the net hangs on.
        width: output channels of every convolution.
        layers: number of convolutions.
        classes: number of classes.
    """
    positions = spec.side * spec.side
    first = kernel * kernel * spec.channels * width * positions
    later = (layers - 1) * kernel * kernel * width * width * positions
    pooled = width * positions + width * classes
    closing = pooled if spec.closing is None else _closing_flops(spec.closing, classes)
    return first + later + layers * 2 * width * positions + closing


@lru_cache(maxsize=256)
def _closing_flops(closing: Closing, classes: int) -> int:
    from locbench.costs.flops import forward_flops

    return forward_flops(lambda: closing(classes), (1, 1, 1)).flops  # it makes the same of a map of any size
