"""AugLocal's auxiliary nets (Ma et al. 2024), copies of later layers.

They are fresh copies of later local layers. Section 3.2 selects the layers, section 3.3 says how
many there are. What differs from network to network (how a layer is copied, which widths decide
strides, what ends a net) is in the network's `LayerSpec`.

Indices are 0-based and rounding is Python's (half to even): both decide ties that the published
FLOPs depend on.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, partial
from itertools import count
from math import floor, log2

from torch import nn

from locbench.errors import UsageError
from locbench.learning.auxiliary import dgl
from locbench.learning.auxiliary.branch import AttachPoint, Classifier
from locbench.networks.chain import ClassifierBuilder, LayerSpec
from locbench.networks.flops import forward_flops
from locbench.networks.layers import GlobalAveragePool, conv_bn_relu
from locbench.spec.components import AugLocal, Mlp


def build(options: AugLocal, point: AttachPoint) -> Classifier:
    """Return the auxiliary net of a module.

    Raises:
        UsageError: the options select nets for fewer stages than the network has.
    """
    selection = stage_selection(options, point)
    if selection == "dgl":
        return dgl.build(Mlp(), point)
    copied = copied_layers(options.depth, options.decay, point.module, point.modules)
    if selection == "uniform":
        return _copies(uniform(point.layer, len(point.specs), copied), options, point, copied)
    if selection == "sequential":
        last = min(point.layer + copied, len(point.specs) - 1)
        return _copies(list(range(point.layer + 1, last + 1)), options, point, copied)
    if selection in ("repetitive", "repetitive-downsampled"):
        return _repeated(options, point, copied, downsampled=selection.endswith("downsampled"))
    width = 1.0 if selection == "conv3x3-plain" else options.width
    kernel = 1 if selection == "conv1x1" else 3
    return _plain(kernel, width or matched_width(kernel, options, point), point, copied)


def stage_selection(options: AugLocal, point: AttachPoint) -> str:
    """Return how layers are selected for a module's net; the stem counts to stage 1.

    Raises:
        UsageError: the options select nets for fewer stages than the network has.
    """
    if isinstance(options.selection, str):
        return options.selection
    if point.specs[-1].stage > len(options.selection):
        raise UsageError(
            f"selection names the nets of {len(options.selection)} stages, the network has "
            f"{point.specs[-1].stage}",
            "Give one selection for all stages.",
        )
    return options.selection[max(point.spec.stage, 1) - 1]


def copied_layers(depth: int, decay: float, module: int, modules: int) -> int:
    """Return how many layers a module's net copies: the code's form of the pyramidal depth (eq. 3).

    Args:
        depth: the paper's d at the first module; d - 1 layers are copied there.
        decay: tau.
        module: 0-based index of the module.
        modules: number of modules M, after the merge at the top.
    """
    k = depth - 1
    if modules <= 2:
        return k
    share = (module * decay) / (modules - 2)
    return max(1, round(k * (1 - share) + share))


def uniform(layer: int, layers: int, copied: int) -> list[int]:
    """Return the 0-based indices of layers spread evenly up to the top one (section 3.2).

    Args:
        layer: 0-based index l of the local layer that the net hangs on.
        layers: number of local layers n.
        copied: number of layers to select.
    """
    if copied >= layers - 1 - layer:
        return list(range(layer + 1, layers))
    return [round(layer + ((layers - layer - 1) / copied) * i) for i in range(1, copied + 1)]


def strides(width: int, selected: list[int], *, carry_stride: bool = True) -> list[int]:
    """Return the stride of each copied layer: 2 where the width at least doubles.

    Args:
        width: of the map that the net sees; see `LayerSpec.base_width`.
        selected: widths of the selected layers.
        carry_stride: whether a jump of four makes the layer after it stride as well.
    """
    result, pending = [], 0
    for selected_width in selected:
        pending += floor(log2(max(1, selected_width // width)))
        result.append(2 if pending >= 1 else 1)
        pending = pending - result[-1] + 1 if carry_stride else 0
        width = selected_width
    return result


def _copies(selected: list[int], options: AugLocal, point: AttachPoint, copied: int) -> Classifier:
    channels, specs = point.spec.channels, [point.specs[index] for index in selected]
    steps = strides(
        point.spec.base_width,
        [each.base_width for each in specs],
        carry_stride=point.spec.carry_stride,
    )
    layers: list[nn.Module] = []
    for spec, stride in zip(specs, steps, strict=True):
        layers.append(spec.clone(channels, spec.channels, stride))
        channels = spec.channels
    return _closed(layers, channels, point, head_bn=options.head_bn and copied <= 1)


def _repeated(
    options: AugLocal, point: AttachPoint, copied: int, *, downsampled: bool
) -> Classifier:
    # Downsampling stands for the stage changes that lie ahead: of three stages, two in the first
    # and one in the second.
    ahead = point.specs[-1].stage - max(point.spec.stage, 1) if downsampled else 0
    channels = point.spec.channels
    layers = [
        point.spec.clone(channels, channels, 2 if index < ahead else 1) for index in range(copied)
    ]
    return _closed(layers, channels, point, head_bn=options.head_bn and copied <= 1)


def _plain(kernel: int, multiplier: float, point: AttachPoint, copied: int) -> Classifier:
    channels, width = point.spec.channels, int(multiplier * point.spec.channels)
    layers: list[nn.Module] = []
    for _ in range(copied):
        layers += conv_bn_relu(channels, width, kernel)
        channels = width
    return _closed(layers, channels, point, head_bn=False)


def _closed(
    layers: list[nn.Module], channels: int, point: AttachPoint, *, head_bn: bool
) -> Classifier:
    if point.spec.classifier is not None:
        return Classifier(nn.Sequential(*layers, point.spec.classifier(point.classes)))
    norm = [nn.BatchNorm1d(channels)] if head_bn else []
    linear = nn.Linear(channels, point.classes)
    return Classifier(nn.Sequential(*layers, GlobalAveragePool(), nn.Flatten(), *norm, linear))


GRID = 16
"""Steps of the multiplier of plain convolutions in one unit."""


def matched_width(kernel: int, options: AugLocal, point: AttachPoint) -> float:
    """Return the channel multiplier whose plain nets come closest to uniform ones in FLOPs.

    Args:
        kernel: 1 or 3.
        options: depth and decay of the nets that are compared.
        point: any of the network; all share one multiplier.
    """
    uniform_nets = AugLocal(depth=options.depth, decay=options.decay, head_bn=options.head_bn)
    return _matched_width(kernel, uniform_nets, replace(point, layer=point.ends[0], module=0))


@lru_cache(maxsize=256)
def _matched_width(kernel: int, options: AugLocal, point: AttachPoint) -> float:
    target = auxiliary_flops(options, point)
    below_top = [point.specs[end] for end in point.ends[:-1]]
    copied = [
        copied_layers(options.depth, options.decay, module, point.modules)
        for module in range(point.modules - 1)
    ]
    best = (float("inf"), 0.0)
    for multiplier in (step / GRID for step in count(GRID // 2)):
        flops = sum(
            plain_flops(kernel, spec, int(multiplier * spec.channels), layers, point.classes)
            for spec, layers in zip(below_top, copied, strict=True)
        )
        best = min(best, (abs(flops - target), multiplier))
        if flops > 2 * target:
            return best[1]
    raise AssertionError("FLOPs grow with the multiplier, so the loop ends")


def auxiliary_flops(options: AugLocal, point: AttachPoint) -> int:
    """Return the forward FLOPs of a network's auxiliary nets, of one image.

    Args:
        options: of the nets.
        point: any of the network.
    """
    total = 0
    for module in range(point.modules - 1):
        here = replace(point, layer=point.ends[module], module=module)
        shape = (here.spec.channels, here.spec.side, here.spec.side)
        total += forward_flops(partial(build, options, here), shape).flops
    return total


def plain_flops(kernel: int, spec: LayerSpec, width: int, layers: int, classes: int) -> int:
    """Return the forward FLOPs of ``layers`` conv-BN-ReLU of one width and of what ends the net.

    Counted as everywhere in locbench: one per multiply-accumulate, two per BatchNorm element, one
    per pooled element.

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
    classifier = pooled if spec.classifier is None else _classifier_flops(spec.classifier, classes)
    return first + later + layers * 2 * width * positions + classifier


@lru_cache(maxsize=256)
def _classifier_flops(classifier: ClassifierBuilder, classes: int) -> int:
    # It makes the same of a map of any size.
    return forward_flops(partial(classifier, classes), (1, 1, 1)).flops
