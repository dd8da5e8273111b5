"""Auxiliary nets in AugLocal's notation, read off the nets that are built.

The notation is that of Ma et al. 2024, appendix A.3. R is a residual block, C1 and C3 are
convolutions by kernel, AP is average pooling, FC is fully connected; the number before is the
output width. Parallel nets are joined by " / ". Where a layer halves the map without widening it,
"(s2)" says so; together with a wider output the papers' strings leave it out.
"""

from __future__ import annotations

import re
from functools import lru_cache

from torch import nn

from locbench.costs.counts import countable, meta_learner
from locbench.errors import UsageError
from locbench.learning.learner import Learner
from locbench.learning.modules import Auxiliary
from locbench.networks.resnet_cifar import BasicBlock
from locbench.spec.components import AugLocal
from locbench.spec.recipe import Recipe

_STAGE = re.compile(r"Stage ([1-9])")


def names_stage(label: str) -> bool:
    """Return whether a label of a row or a column names a residual stage, as in ``Stage 2``."""
    return _STAGE.fullmatch(label) is not None


def architecture(net: nn.Module) -> str:
    """Return a net's layers in order, joined by "-".

    Normalisation, activations and resizing are left out. A ModuleList holds nets side by side.
    """
    if isinstance(net, nn.ModuleList):
        return " / ".join(architecture(part) for part in net)
    return "-".join(_layers(net))


def architecture_of(recipe: Recipe, label: str) -> str:
    """Return the auxiliary net that a recipe gives the local layers of a stage.

    The stem counts as stage 1. Of nets that differ only in depth, the first and deepest stands for
    all. Where two or more layers are selected from the network, so that every local layer has a net
    of its own, the answer is ``Uniform Selection``, as in Table 10.

    Args:
        recipe: what is trained.
        label: ``Stage 1``, ``Stage 2`` or ``Stage 3``.

    Raises:
        UsageError: the label names no stage.
    """
    match = _STAGE.fullmatch(label)
    if match is None:
        raise UsageError(
            f"{label!r} names no stage of a network",
            "Stages are called 'Stage 1', 'Stage 2' and so on.",
        )
    return _by_stage(countable(recipe)).get(int(match[1]), "none")


@lru_cache(maxsize=256)
def _by_stage(recipe: Recipe) -> dict[int, str]:
    learner = meta_learner(recipe)
    nets: dict[int, list[str]] = {}
    for index, end in enumerate(learner.partition.ends[:-1]):
        stage = max(learner.chain.specs[end].stage, 1)
        nets.setdefault(stage, []).append(architecture(_auxiliary(learner, index).branches))
    return {stage: _summary(recipe, stage, strings) for stage, strings in nets.items()}


def _auxiliary(learner: Learner, index: int) -> Auxiliary:
    """Return a module's own auxiliary nets, or its window's where it has none."""
    key = str(index)
    auxiliary = learner.independents[key] if key in learner.independents else learner.cascades[key]
    assert isinstance(auxiliary, Auxiliary)
    return auxiliary


def _summary(recipe: Recipe, stage: int, strings: list[str]) -> str:
    for branch in recipe.composition.branches:
        if isinstance(branch, AugLocal) and branch.depth > 2:
            selection = (
                branch.selection
                if isinstance(branch.selection, str)
                else branch.selection[stage - 1]
            )
            if selection in ("uniform", "sequential"):
                return f"{selection.capitalize()} Selection"
    return strings[0]


def _layers(layer: nn.Module) -> list[str]:
    if isinstance(layer, BasicBlock):
        return [_block(f"{layer.conv2.out_channels}R", layer.conv1)]
    if isinstance(layer, nn.Conv2d):
        return [_block(f"{layer.out_channels}C{layer.kernel_size[0]}", layer)]
    if isinstance(layer, nn.AdaptiveAvgPool2d | nn.AvgPool2d):
        return ["AP"]
    if isinstance(layer, nn.Linear):
        return [f"{layer.out_features}FC"]
    return [name for child in layer.children() for name in _layers(child)]


def _block(name: str, first: nn.Conv2d) -> str:
    narrowing = first.stride[0] > 1 and first.out_channels <= first.in_channels
    return f"{name}(s2)" if narrowing else name
