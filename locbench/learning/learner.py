"""A learner: a chain, its partition, its auxiliary nets and its routing, ready to take training steps."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from locbench.learning import routing
from locbench.learning.auxiliary.branch import Branch, Cut, Targets, ramp
from locbench.learning.auxiliary.pff import PatchFusion
from locbench.learning.modules import Auxiliary, build_branch
from locbench.learning.routing import Finished, isolated_lean
from locbench.networks.chain import Chain, build_chain, initialise
from locbench.networks.low_memory import lighten
from locbench.spec.components import Cascade, Checkpointed, Composition
from locbench.spec.partition import Partition, partition_of
from locbench.spec.recipe import Memory, Recipe
from locbench.spec.validation import refuse_memory


class Learner(nn.Module):
    """What is trained: the network and, for every module but the last, auxiliary nets.

    Args:
        chain: the network.
        partition: where it is cut.
        composition: the method.
        memory: ``lean`` trains isolated modules as `isolated_lean` does, of layers that `lighten` has made lean.
    """

    def __init__(self, chain: Chain, partition: Partition, composition: Composition, memory: Memory = "plain") -> None:
        super().__init__()
        refuse_memory(memory, composition)
        self.chain = chain
        self.partition = partition
        self.composition = composition
        self.memory = memory
        cascading = isinstance(composition.routing, Cascade)
        levels = composition.routing.levels if isinstance(composition.routing, Cascade) else "IL"
        first = 1 if cascading and composition.routing.official_edges else 0  # type: ignore[union-attr]
        self.independents = self._auxiliaries("independent", first) if "IL" in levels else nn.ModuleDict()
        self.cascades = self._auxiliaries("cascade", 1) if "CL" in levels else nn.ModuleDict()
        self._branches = tuple(each for each in self.modules() if isinstance(each, Branch))
        if memory == "lean":
            lighten(self)

    @property
    def modules_count(self) -> int:
        """Number of local modules."""
        return self.partition.modules

    def step(
        self, images: Tensor, targets: Targets, *, guided: bool = False, finished: Finished | None = None
    ) -> routing.Outcome:
        """Run one batch and add its gradients to the parameters' ``grad``.

        Args:
            images: B x 3 x H x W, normalised.
            targets: labels and un-normalised image.
            guided: a step of PGL's global phase.
            finished: with lean memory, told of every local module whose gradients are complete, in the order of the
                modules, so that it can be stepped at once. A guided step leaves all gradients behind and tells nothing.
        """
        how = self.composition.routing
        if guided:
            return routing.end_to_end(self, images, targets)
        if isinstance(how, Checkpointed):
            return routing.checkpointed(self, images, targets, how)
        if isinstance(how, Cascade) and self.modules_count > 1:  # one module has no window: backpropagation
            engine = routing.cascade if how.engine == "reuse" else routing.recomputed_cascade
            return engine(self, images, targets, how)
        if self.memory == "lean":
            return isolated_lean(self, images, targets, finished)
        return routing.isolated(self, images, targets)

    def stem(self, images: Tensor) -> Tensor:
        """Return what comes before the first block; the images themselves in a network without a stem."""
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

    def run_module_from(self, index: int, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Run a local module below the last one.

        Returns:
            Its output, and its input features, detached, if an auxiliary block is to restore them; see `Cut.source`.
        """
        if not self.restores_features:
            return self.run_module(index, x), None
        if index > 0 or len(self.partition.ranges[0]) == 1:
            return self.run_module(index, x), x.detach()
        first, *others = self.module_units(0)
        x = first(x)
        features = x.detach()
        for unit in others:
            x = unit(x)
        return x, features

    @property
    def restores_features(self) -> bool:
        """Whether any branch wants a module's input features."""
        return any(each.restores_features for each in self._branches)

    @property
    def restores_image(self) -> bool:
        """Whether any branch wants the un-normalised image."""
        return any(each.restores_image for each in self._branches)

    def module_units(self, index: int) -> list[nn.Module]:
        """Return the local layers of one local module, without the classifier."""
        return [self.chain.units[unit] for unit in self.partition.ranges[index]]

    def module_parameters(self, index: int) -> list[Tensor]:
        """Return the parameters of one local module, without its auxiliary nets."""
        found: list[Tensor] = [
            each for unit in self.partition.ranges[index] for each in self.chain.units[unit].parameters()
        ]
        return [*found, *self.chain.head.parameters()] if index == self.partition.modules - 1 else found

    def auxiliary_parameters(self, index: int) -> list[Tensor]:
        """Return the parameters of all auxiliary nets that hang on one local module."""
        hanging = [each[str(index)] for each in (self.independents, self.cascades) if str(index) in each]
        return [parameter for each in hanging for parameter in each.parameters()]

    def independent(self, index: int, features: Tensor, targets: Targets, scale: float = 1.0) -> Tensor:
        """Back-propagate a module's own auxiliary loss; see `Auxiliary.backward`."""
        return cast(Auxiliary, self.independents[str(index)]).backward(features, targets, scale)

    def cascade(self, index: int, features: Tensor, targets: Targets, scale: float = 1.0) -> Tensor:
        """Back-propagate the auxiliary loss of the window that a module ends; see `Auxiliary.backward`."""
        return cast(Auxiliary, self.cascades[str(index)]).backward(features, targets, scale)

    def parameter_counts(self) -> dict[str, int]:
        """Return the number of parameters of the network and of all auxiliary nets."""
        primary = sum(each.numel() for each in self.chain.parameters())
        return {"primary": primary, "auxiliary": sum(each.numel() for each in self.parameters()) - primary}

    def _auxiliaries(self, level: str, first: int) -> nn.ModuleDict:
        return nn.ModuleDict(
            {str(index): self._auxiliary(level, index) for index in range(first, self.partition.modules - 1)}
        )

    def _auxiliary(self, level: str, index: int) -> Auxiliary:
        patches = self.composition.patches
        cut = Cut(
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
        chosen = [each for each in self.composition.branches if each.level in ("both", level)]
        branches = [build_branch(each, cut) for each in chosen]
        if patches:
            branches = [PatchFusion(each, patches) for each in branches]
        return Auxiliary(branches, [ramp(each.weight, cut.position) for each in chosen])


def build_learner(recipe: Recipe, classes: int, side: int) -> Learner:
    """Return the learner of a recipe with freshly drawn weights.

    The network's weights come from the recipe's seed alone, so that two methods start from the same network.

    Args:
        recipe: what to train.
        classes: number of classes of the data set.
        side: side of its images in pixels.
    """
    torch.manual_seed(recipe.seed)
    chain = build_chain(recipe.network, classes, side, recipe.drop_path)
    torch.manual_seed(recipe.seed + 1)
    learner = Learner(chain, partition_of(recipe), recipe.composition, recipe.memory)
    for auxiliaries in (learner.independents, learner.cascades):
        initialise(auxiliaries)
    return learner
