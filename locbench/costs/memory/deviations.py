"""Steps whose peak on a CUDA device is known to differ from the prediction."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from locbench.spec.components import Decoder, SharedStem
from locbench.spec.networks import NETWORKS
from locbench.spec.recipe import Recipe


class Deviation(NamedTuple):
    """The peak of what PyTorch's CUDA allocator gives out, over the predicted one.

    Attributes:
        most, least: of the ratio, over the recipes that were observed; workspaces of libraries are
            not in it.
        why: they differ, as far as it is known; empty where they do not.
    """

    most: float = 1.0
    least: float = 1.0
    why: str = ""

    @property
    def words(self) -> str:
        """The deviation in words, such as ``up to 3 % more``; empty without one."""
        shares = [
            f"up to {100 * share:.2g} % {word}"
            for word, share in (("more", self.most - 1), ("less", 1 - self.least))
            if share > 0
        ]
        return " or ".join(shares)


_Rule: TypeAlias = Callable[[Recipe], bool]


def _in_bf16(recipe: Recipe) -> bool:
    return recipe.precision == "bf16"


def _restores_images(recipe: Recipe) -> bool:
    return any(isinstance(branch, Decoder) for branch in recipe.composition.branches)


def _has_stem(recipe: Recipe) -> bool:
    return any(isinstance(branch, SharedStem) for branch in recipe.composition.branches)


def _retains(recipe: Recipe) -> bool:
    patches = recipe.composition.patches
    return patches is not None and patches.passes == "retain"


def _network(kind: str) -> _Rule:
    return lambda recipe: str(NETWORKS[recipe.network].builder).startswith(
        f"locbench.networks.{kind}:"
    )


_CAST = "autocast is traced by the CPU's rules, by which other operations cast"
_LAYOUTS = "gradients of the last weights are in two layouts for a moment"

DEVIATIONS: tuple[tuple[_Rule, Deviation], ...] = (
    (lambda recipe: _in_bf16(recipe) and _restores_images(recipe), Deviation(1.45, why=_CAST)),
    (_in_bf16, Deviation(1.015, why=_CAST)),
    (_retains, Deviation(least=0.94, why="the graphs that patches retain take less")),
    (
        _network("resnet_imagenet"),
        Deviation(1.05, why="a block about as large as the indices of the first pooling"),
    ),
    (
        _restores_images,
        Deviation(1.03, why="the gradient of the images' cross-entropy has another layout"),
    ),
    (
        _has_stem,
        Deviation(1.035, why="sums over large maps, as of biases' gradients, take buffers"),
    ),
    (_network("vgg"), Deviation(1.02, why=_LAYOUTS)),
    (_network("efficientnet"), Deviation(1.01, why=_LAYOUTS)),
)
"""Which steps deviate, and how; the first rule that a recipe fulfils holds."""


def deviation_of(recipe: Recipe) -> Deviation:
    """Return how a recipe's step deviates from its prediction."""
    deviations = (deviation for fulfils, deviation in DEVIATIONS if fulfils(recipe))
    return next(deviations, Deviation())
