"""Local modules of a network, each with its auxiliary nets."""

from __future__ import annotations

from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from locbench.errors import UsageError
from locbench.learning.auxiliary.branch import AttachPoint, AuxiliaryNet, Targets, ramp
from locbench.learning.auxiliary.hpff import PatchFusion
from locbench.learning.auxiliary.stacked import stackable
from locbench.networks.chain import Chain, FeatureLayout
from locbench.networks.low_memory import save_memory
from locbench.spec.choices import Memory
from locbench.spec.components import BRANCHES, Branch, Cascade, Composition, Isolated
from locbench.spec.partition import Partition


class Auxiliary(nn.Module):
    """All branches on one module's output at one level, independent or cascade.

    Args:
        branches: the nets with their criteria.
        weights: one per branch; a branch of weight 0 is not run.
        layout: how the map that the branches see lies in the module's output; None where it is
            that.
    """

    def __init__(
        self,
        branches: list[AuxiliaryNet],
        weights: list[float],
        layout: FeatureLayout | None = None,
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.weights = weights
        self.layout = layout

    def backward(self, features: Tensor, targets: Targets, scale: float = 1.0) -> Tensor:
        """Back-propagate every branch in turn, each graph freed before the next.

        Args:
            features: a leaf, B x C x H x W or as the layout says; its ``grad`` gathers the gradient
                if it asks for one.
            targets: of the batch.
            scale: multiplies the gradients, not the returned loss.

        Returns:
            The weighted sum of the branches' losses, a scalar without a graph.
        """
        if self.layout is None:
            return self._backward(features, targets, scale)
        maps = self.layout.map_of(features.detach()).requires_grad_(features.requires_grad)
        total = self._backward(maps, targets, scale)
        if maps.grad is not None:
            features.grad = self.layout.laid_out(maps.grad)
        return total

    def _backward(self, features: Tensor, targets: Targets, scale: float) -> Tensor:
        total = features.new_zeros(())
        for branch, weight in zip(self.branches, self.weights, strict=True):
            if weight:
                total = total + weight * cast(AuxiliaryNet, branch).backward(
                    features, targets, weight * scale
                )
        if features.requires_grad and features.grad is None:
            features.grad = torch.zeros_like(features)
        return total


def build_branch(options: Branch, point: AttachPoint) -> AuxiliaryNet:
    """Return the auxiliary branch that options describe, built for its place in the network.

    Raises:
        UsageError: the branch does not fit there.
    """
    tag = str(options.__struct_config__.tag)
    net = BRANCHES.call(tag, BRANCHES[tag].net, options, point)
    if not isinstance(net, AuxiliaryNet):
        raise UsageError(
            f"the {BRANCHES.kind} {tag!r} is built as a {type(net).__name__}",
            "Let it be a subclass of locbench.AuxiliaryNet, which has a criterion.",
        )
    return net


class LocalModules(nn.Module):
    """The network in K local modules and, for every module but the last, auxiliary nets.

    Args:
        chain: the network.
        partition: which local layers make a module.
        composition: the method.
        memory: ``lean`` recomputes within layers, see `save_memory`.

    Attributes:
        independents: the `Auxiliary` of each module's own loss, by its index as a string.
        cascades: the `Auxiliary` of HPFF's window that a module ends, by the same.

    Raises:
        UsageError: a branch does not fit its module.
    """

    def __init__(
        self, chain: Chain, partition: Partition, composition: Composition, memory: Memory = "plain"
    ) -> None:
        super().__init__()
        assert memory == "plain" or isinstance(composition.routing, Isolated)
        self.chain = chain
        self.partition = partition
        self.composition = composition
        self.memory = memory
        routing = composition.routing
        levels, first = "IL", 0
        if isinstance(routing, Cascade):
            levels, first = routing.levels, int(routing.official_edges)
        self.independents = (
            self._auxiliaries("independent", first) if "IL" in levels else nn.ModuleDict()
        )
        self.cascades = self._auxiliaries("cascade", 1) if "CL" in levels else nn.ModuleDict()
        self._branches = tuple(net for net in self.modules() if isinstance(net, AuxiliaryNet))
        if memory == "lean":
            save_memory(self)

    @property
    def modules_count(self) -> int:
        """The number of local modules, K."""
        return self.partition.modules

    def stem(self, images: Tensor) -> Tensor:
        """Return what comes before the first block: the images where there is no stem."""
        return cast(Tensor, self.chain.units[0](images)) if self._stem_units else images

    @property
    def _stem_units(self) -> int:
        return int(self.chain.specs[0].stage == 0)

    def run_module(self, index: int, x: Tensor, *, after_stem: bool = False) -> Tensor:
        """Run one local module; the last one includes the classifier and gives class scores.

        Args:
            index: which one.
            x: its input.
            after_stem: ``x`` is what `stem` gives, for the first module.
        """
        for unit in self.partition.ranges[index][self._stem_units if after_stem else 0 :]:
            x = self.chain.units[unit](x)
        return cast(Tensor, self.chain.head(x)) if index == self.partition.modules - 1 else x

    def run_module_with_features(self, index: int, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Run a local module below the last one, for its auxiliary nets.

        Returns:
            Its output, and its input features, detached, if a branch is to restore them; see
            `AttachPoint.input_features`.
        """
        if not self.restores_features:
            return self.run_module(index, x), None
        if index > 0:
            before = self.chain.specs[self.partition.ends[index - 1]]
            return self.run_module(index, x), before.map_of(x.detach())
        if len(self.partition.ranges[0]) == 1:
            return self.run_module(index, x), x.detach()
        first, *others = self.module_units(0)
        x = first(x)
        features = self.chain.specs[0].map_of(x.detach())
        for unit in others:
            x = unit(x)
        return x, features

    @property
    def restores_features(self) -> bool:
        """Whether a branch restores a module's input features."""
        return any(branch.restores_features for branch in self._branches)

    @property
    def restores_image(self) -> bool:
        """Whether a branch restores the un-normalised image."""
        return any(branch.restores_image for branch in self._branches)

    def module_units(self, index: int) -> list[nn.Module]:
        """Return the local layers of one local module, without the classifier."""
        return [self.chain.units[unit] for unit in self.partition.ranges[index]]

    def module_parameters(self, index: int) -> list[Tensor]:
        """Return the parameters of one local module, at the top the classifier's included."""
        nets = self.module_units(index)
        if index == self.modules_count - 1:
            nets.append(self.chain.head)
        return [parameter for net in nets for parameter in net.parameters()]

    def auxiliary_parameters(self, index: int) -> list[Tensor]:
        """Return the parameters of all auxiliary nets on one local module."""
        return [
            parameter
            for level in (self.independents, self.cascades)
            if str(index) in level
            for parameter in level[str(index)].parameters()
        ]

    def local_parameters(self, index: int) -> list[Tensor]:
        """Return the parameters of one local module and of its auxiliary nets."""
        return [*self.module_parameters(index), *self.auxiliary_parameters(index)]

    def independent(
        self, index: int, features: Tensor, targets: Targets, scale: float = 1.0
    ) -> Tensor:
        """Back-propagate a module's own auxiliary loss; see `Auxiliary.backward`."""
        return cast(Auxiliary, self.independents[str(index)]).backward(features, targets, scale)

    def cascade(self, index: int, features: Tensor, targets: Targets, scale: float = 1.0) -> Tensor:
        """Back-propagate the loss of the window that a module ends; see `Auxiliary.backward`."""
        return cast(Auxiliary, self.cascades[str(index)]).backward(features, targets, scale)

    def parameter_counts(self) -> dict[str, int]:
        """Return the number of parameters of the network and of all auxiliary nets."""
        primary = sum(parameter.numel() for parameter in self.chain.parameters())
        total = sum(parameter.numel() for parameter in self.parameters())
        return {"primary": primary, "auxiliary": total - primary}

    def _auxiliaries(self, level: str, first: int) -> nn.ModuleDict:
        return nn.ModuleDict(
            {
                str(index): self._auxiliary(level, index)
                for index in range(first, self.partition.modules - 1)
            }
        )

    def _auxiliary(self, level: str, index: int) -> Auxiliary:
        patches = self.composition.patches
        point = AttachPoint(
            layer=self.partition.ends[index],
            module=index,
            modules=self.partition.modules,
            ends=self.partition.ends,
            specs=self.chain.specs,
            classes=self.chain.classes,
            image_side=self.chain.side,
            patches=patches.n if patches else 1,
            joined=int(self.composition.join_stem),
        )
        chosen = [part for part in self.composition.branches if part.level in ("both", level)]
        branches = [build_branch(part, point) for part in chosen]
        if patches:
            plain = self.memory == "plain"
            branches = [
                PatchFusion(
                    branch,
                    patches,
                    stacked=plain and stackable(partial(build_branch, part, point), point),
                )
                for branch, part in zip(branches, chosen, strict=True)
            ]
        weights = [ramp(part.weight, point.position) for part in chosen]
        return Auxiliary(branches, weights, point.spec.layout)
