"""PredSim's two branches (Nokland & Eidnes 2019, section 2).

They have the form of AugLocal's code.
"""

from __future__ import annotations

from math import ceil

from torch import Tensor, nn

from locbench.learning.auxiliary.branch import AttachPoint, AuxiliaryNet, Classifier, Targets
from locbench.learning.losses import map_deviation, similarity_matching
from locbench.spec.components import PooledLinear, Similarity


def pooling(
    channels: int, side: int, limit: int
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Return an average pooling that leaves at most ``limit`` features.

    The kernel's height and then its width double in turn until the features fit. Padding makes the
    kernel divide the map where it does not.

    Args:
        channels: of the map.
        side: of the map in pixels.
        limit: largest number of features.

    Returns:
        Kernel, padding and output size, each as height and width.
    """
    kernel, out = [1, 1], [side, side]
    while channels * out[0] * out[1] > limit and kernel[0] < side:
        for axis in (0, 1):
            if channels * out[0] * out[1] > limit:
                kernel[axis] *= 2
                out[axis] = ceil(side / kernel[axis])
    padding = [(k * (size - side // k)) // 2 for k, size in zip(kernel, out, strict=True)]
    return (kernel[0], kernel[1]), (padding[0], padding[1]), (out[0], out[1])


def build_pooled_linear(options: PooledLinear, point: AttachPoint) -> Classifier:
    """Return the pooled linear classifier.

    A patch is pooled to the same grid as the whole map, so the layer is one.
    """
    channels = point.spec.channels
    kernel, padding, out = pooling(channels, point.spec.side, options.features)
    pool: nn.Module = nn.AvgPool2d(kernel, stride=kernel, padding=padding)
    if point.patches > 1:
        pool = nn.AdaptiveAvgPool2d(out)
    linear = nn.Linear(channels * out[0] * out[1], point.classes)
    if options.zero_init:
        nn.init.zeros_(linear.weight)
    return Classifier(nn.Sequential(pool, nn.Flatten(), linear))


def build_similarity(options: Similarity, point: AttachPoint) -> SimilarityBranch:  # noqa: ARG001
    """Return the similarity branch."""
    return SimilarityBranch(point.spec.channels, point.classes)


class SimilarityBranch(AuxiliaryNet):
    """A 3x3 convolution trained by similarity matching.

    The batch's similarity matrix of its maps' deviations is compared with that of the labels.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.classes = classes

    def forward(self, features: Tensor) -> Tensor:
        """Map B x C x H x W to the maps' deviations, B x C.

        Patches average these vectors, not the matrices.
        """
        return map_deviation(self.conv(features))

    def criterion(self, output: Tensor, targets: Targets) -> Tensor:
        """Return the similarity matching loss."""
        return similarity_matching(output, targets.labels, self.classes)
