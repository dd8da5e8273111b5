"""Local learning with label smoothing on a net of two convolutions."""

import torch.nn.functional as F
from torch import nn

from locbench import BRANCHES, METHODS, AuxiliaryNet, Branch, Composition, Method, part_of


class SmoothedNet(AuxiliaryNet):
    def __init__(self, options, point):
        super().__init__()
        channels, self.smoothing = point.spec.channels, options.smoothing
        self.layers = nn.Sequential(
            *(nn.Conv2d(channels, 32, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, point.classes)),
        )

    def forward(self, features):
        return self.layers(features)

    def criterion(self, output, targets):
        return F.cross_entropy(output, targets.labels, label_smoothing=self.smoothing)


@BRANCHES.built_by(SmoothedNet)
class Smoothed(Branch, frozen=True, tag="smoothed"):
    smoothing: float = 0.1


@METHODS.register("smoothed")
class SmoothedLearning(Method, frozen=True):
    """Cross-entropy with smoothed labels on two convolutions and one linear layer.

    Attributes:
        smoothing: the share of each label that is spread over all classes.
    """

    smoothing: float = 0.1

    def compose(self, context):
        return Composition(branches=(part_of(self, Smoothed),))
