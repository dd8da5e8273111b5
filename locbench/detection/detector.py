"""A locbench network as the backbone of torchvision's Mask R-CNN."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.rpn import AnchorGenerator
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from locbench.datasets.catalogue import info
from locbench.errors import DivergedError, FailureError
from locbench.networks.chain import Chain, build_chain
from locbench.networks.pretrained import load_state
from locbench.spec.choices import Precision
from locbench.spec.detector import Detection
from locbench.spec.recipe import Recipe
from locbench.training.device import autocast

RATIOS = (0.5, 1.0, 2.0)

MASK_LAYERS = 4


class Pyramid(nn.Module):
    """A chain without its classifier, and a feature pyramid on the ends of its last stages.

    Args:
        chain: the network; its layers are used, not copied.
        detection: which layers are trained, what becomes of BatchNorm, and how many channels the
            pyramid has.
        precision: of the layers and the pyramid; whatever it is, the maps are float32, since
            torchvision makes anchors and boxes in the maps' type, and bfloat16 has not the digits
            for coordinates in pixels.

    Attributes:
        out_channels: channels of every map.
        levels: number of maps that the chain gives; the pyramid adds one more, pooled from the
            last.
    """

    def __init__(self, chain: Chain, detection: Detection, precision: Precision = "fp32") -> None:
        super().__init__()
        self.units, self.norm, self.precision = chain.units, detection.norm, precision
        stages = [spec.stage for spec in chain.specs]
        ends = [
            index
            for index, stage in enumerate(stages)
            if stage and stage not in stages[index + 1 :]
        ]
        self.ends = tuple(ends[-detection.levels :])
        channels = [chain.specs[index].channels for index in self.ends]
        self.out_channels, self.levels = detection.width, len(self.ends)
        self.fpn = FeaturePyramidNetwork(channels, detection.width, LastLevelMaxPool())
        first = max(stages) - detection.trained_stages + 1
        for unit, stage in zip(self.units, stages, strict=True):
            unit.requires_grad_(stage >= first)
        if self.norm == "frozen":
            for each in self._norms():
                each.requires_grad_(False)

    def _norms(self) -> list[nn.Module]:
        return [
            each
            for each in self.units.modules()
            if isinstance(each, nn.modules.batchnorm._BatchNorm)
        ]

    def train(self, mode: bool = True) -> Pyramid:
        """Set the mode; a frozen BatchNorm keeps its statistics in both."""
        super().train(mode)
        if self.norm == "frozen":
            for each in self._norms():
                each.eval()
        return self

    def features(self, images: Tensor) -> list[Tensor]:
        """Return the backbone's maps below the pyramid, finest first, from images (B, 3, H, W)."""
        maps, x = [], images
        for index, unit in enumerate(self.units):
            x = unit(x)
            if index in self.ends:
                maps.append(x)
        return maps

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return the pyramid's maps in float32 by name, finest first, from images (B, 3, H, W)."""
        with autocast(self.precision, images.device):
            maps = self.features(images)
            found: dict[str, Tensor] = self.fpn(
                OrderedDict((str(level), each) for level, each in enumerate(maps))
            )
        return {name: each.float() for name, each in found.items()}


def backbone_chain(backbone: Recipe) -> Chain:
    """Return the network of a backbone's recipe, freshly drawn, with the classes of its data."""
    return build_chain(backbone.network, info(backbone.dataset).classes, backbone.side)


def build_detector(recipe: Recipe, chain: Chain, classes: int) -> MaskRCNN:
    """Return the detector of a recipe, its heads freshly drawn.

    Args:
        recipe: a detector's.
        chain: the backbone; the detector holds its layers.
        classes: number of categories, without the background.
    """
    detection, backbone = recipe.detection, recipe.backbone
    assert detection is not None
    assert backbone is not None
    body, seen = Pyramid(chain, detection, recipe.precision), info(backbone.dataset)
    names = [str(level) for level in range(body.levels)]
    sides = tuple((detection.anchor * 2**level,) for level in range(body.levels + 1))
    return MaskRCNN(
        body,
        min_size=detection.short_side,
        max_size=detection.long_side,
        image_mean=seen.mean,
        image_std=seen.std,
        rpn_anchor_generator=AnchorGenerator(sides, (RATIOS,) * len(sides)),
        rpn_pre_nms_top_n_train=detection.candidates,
        rpn_post_nms_top_n_train=detection.candidates,
        rpn_pre_nms_top_n_test=detection.candidates // 2,
        rpn_post_nms_top_n_test=detection.candidates // 2,
        rpn_batch_size_per_image=detection.proposals // 2,
        box_batch_size_per_image=detection.proposals,
        **_heads(detection, names, classes + 1),
    )


def _heads(detection: Detection, names: list[str], classes: int) -> dict[str, Any]:
    """Return the heads of He et al. 2017 (Figure 4, right); ``classes`` counts the background."""
    width, sampled = detection.width, 2
    return {
        "box_roi_pool": MultiScaleRoIAlign(names, 7, sampled),
        "box_head": TwoMLPHead(width * 7 * 7, detection.box_width),
        "box_predictor": FastRCNNPredictor(detection.box_width, classes),
        "mask_roi_pool": MultiScaleRoIAlign(names, 14, sampled),
        "mask_head": MaskRCNNHeads(width, (width,) * MASK_LAYERS, 1),
        "mask_predictor": MaskRCNNPredictor(width, width, classes),
    }


class BackboneError(DivergedError):
    """A detector's backbone could not be trained.

    The cell is recorded as failed and the sweep goes on.
    """


def load_backbone(chain: Chain, network: str, path: Path) -> None:
    """Give a chain the weights in a file, in its own or in torchvision's naming.

    Raises:
        FailureError: there is no such file, it holds no weights, or those of another network.
    """
    from locbench.networks.weight_files import weights_in

    try:
        load_state(chain, network, weights_in(path))
    except FailureError as error:
        message = error.message if str(path) in error.message else f"{path}: {error.message}"
        raise FailureError(
            message, f"Give the weights of {network} with --weights, or train them here."
        ) from None
