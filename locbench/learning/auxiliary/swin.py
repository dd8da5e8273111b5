"""The auxiliary block of Swin feature reconstruction (Pathak et al. 2023, section 3.2): stem, task branch, decoder.

The paper gives LayerNorm, a convolutional block that reduces dimensions, one linear layer for the contrastive branch
and three kinds of decoder; widths, kernels and pooling are ours and are options of `SharedStem`.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from locbench.errors import UsageError
from locbench.learning.auxiliary.branch import Branch, Classifier, Cut, Targets, ramp
from locbench.learning.auxiliary.infopro import Contrast
from locbench.learning.auxiliary.restoration import decoder_of, feature_target
from locbench.learning.handover import give
from locbench.learning.losses import reconstruction, supervised_contrast
from locbench.learning.options import SharedStem
from locbench.networks.pooling import GlobalAveragePool


def build(options: SharedStem, cut: Cut) -> Branch:
    """Return the block of a cut; without a decoder it is a plain classifier or contrastive head."""
    channels = max(1, round(cut.spec.channels * options.stem_width))
    stem = Stem(cut.spec.channels, channels)
    softmax = options.task == "softmax"
    task = task_net(channels, cut.classes if softmax else options.feature_dim)
    if options.decoder == "none":
        net = nn.Sequential(stem, task)
        return Classifier(net) if softmax else Contrast(net, options.temperature)
    return SharedStemBlock(options, cut, stem, task)


def task_net(channels: int, outputs: int) -> nn.Sequential:
    """Return global average pooling and one linear layer: B x channels x H x W to B x outputs."""
    return nn.Sequential(GlobalAveragePool(), nn.Flatten(), nn.Linear(channels, outputs))


class Stem(nn.Module):
    """LayerNorm over channels, 3x3 convolution, BatchNorm, ReLU.

    Args:
        channels: of the module's output.
        outputs: of the convolution.
    """

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.conv = nn.Conv2d(channels, outputs, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map B x channels x H x W to B x outputs x H x W."""
        normalised = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.relu(self.bn(self.conv(normalised)))  # type: ignore[no-any-return]


class SharedStemBlock(Branch):
    """The whole block, trained with alpha times the reconstruction loss plus beta times the task loss.

    Args:
        options: decoder, target and weights.
        cut: where it hangs.
        stem: of the module's output.
        task: of the stem's output, B x classes or B x feature_dim.
    """

    def __init__(self, options: SharedStem, cut: Cut, stem: Stem, task: nn.Module) -> None:
        super().__init__()
        self.options = options
        self.alpha = ramp(options.reconstruction_weight, cut.position)
        self.beta = ramp(options.task_weight, cut.position)
        self.restores_features = options.target == "features"
        self.restores_image = not self.restores_features
        goal = cut.source if self.restores_features else cut.image
        scale = goal.side // cut.spec.side
        if scale * cut.spec.side != goal.side:
            raise UsageError(
                f"a map of {cut.spec.side} pixels does not scale to the {goal.side} that a decoder is to restore",
                "Use images whose side every stage halves.",
            )
        self.stem, self.task = stem, task
        self.decoder = decoder_of(options, stem.conv.out_channels, goal.channels, scale)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Return the task branch's output and the restored features or image, B x C' x H' x W'."""
        h = self.stem(features)
        return self.task(h), self.decoder(h)

    def backward(self, features: Tensor, targets: Targets, weight: float) -> Tensor:
        """Train the block; see `Branch.backward`. What one branch keeps is freed before the other runs."""
        h = self.stem(features)
        leaf = h.detach().requires_grad_()
        loss = features.new_zeros(())
        if self.alpha:
            loss = loss + _trained(self.alpha * self.reconstruction(self.decoder(leaf), targets), weight)
        if self.beta:
            loss = loss + _trained(self.beta * self.task_loss(self.task(leaf), targets.labels), weight)
        held = [leaf.grad]
        del leaf
        if held[0] is not None:
            give(h, held)
        return loss

    def criterion(self, output: tuple[Tensor, Tensor], targets: Targets) -> Tensor:  # type: ignore[override]
        """Return alpha * L_XX + beta * L_XY (Pathak et al. 2023, eq. 1)."""
        task, restored = output
        return self.alpha * self.reconstruction(restored, targets) + self.beta * self.task_loss(task, targets.labels)

    def reconstruction(self, restored: Tensor, targets: Targets) -> Tensor:
        """Return L_XX: the mean binary cross-entropy over all elements, or the squared error of raw features."""
        if not self.restores_features:
            assert targets.pixels is not None
            return reconstruction(restored, targets.pixels)
        assert targets.features is not None
        goal = feature_target(targets.features, self.options.feature_target)
        if self.options.feature_target == "raw-mse":
            return F.mse_loss(restored.to(goal.dtype), goal)
        return reconstruction(restored, goal)

    def task_loss(self, output: Tensor, labels: Tensor) -> Tensor:
        """Return L_XY."""
        if self.options.task == "softmax":
            return F.cross_entropy(output, labels)
        return supervised_contrast(output, labels, self.options.temperature)


def _trained(loss: Tensor, weight: float) -> Tensor:
    (loss * weight).backward()  # type: ignore[no-untyped-call]
    return loss.detach()
