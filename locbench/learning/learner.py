"""A learner, built from a recipe and ready to take training steps."""

from __future__ import annotations

import torch
from torch import Tensor

from locbench.learning.auxiliary.branch import Targets
from locbench.learning.cascade import cascade, recomputed_cascade
from locbench.learning.modules import LocalModules
from locbench.learning.routing import (
    Finished,
    StepOutput,
    checkpointed,
    end_to_end,
    isolated,
    isolated_lean,
)
from locbench.networks.chain import build_chain, initialise
from locbench.spec.components import Cascade, Checkpointed
from locbench.spec.partition import partition_of
from locbench.spec.recipe import Recipe


class Learner(LocalModules):
    """What is trained: local modules and the routing of gradients between them."""

    def step(
        self,
        images: Tensor,
        targets: Targets,
        *,
        guided: bool = False,
        finished: Finished | None = None,
    ) -> StepOutput:
        """Run one batch and add its gradients to the parameters' ``grad``.

        Args:
            images: B x 3 x H x W, normalised.
            targets: of the batch.
            guided: a step of PGL's global phase.
            finished: with lean memory, called for every local module whose gradients are complete,
                in the order of the modules, so that it can be stepped at once. A guided step leaves
                all gradients behind and calls nothing.
        """
        routing = self.composition.routing
        if guided:
            return end_to_end(self, images, targets)
        if isinstance(routing, Checkpointed):
            return checkpointed(self, images, targets, routing)
        # One module has no window: that is backpropagation.
        if isinstance(routing, Cascade) and self.modules_count > 1:
            train = cascade if routing.engine == "reuse" else recomputed_cascade
            return train(self, images, targets, routing)
        if self.memory == "lean":
            return isolated_lean(self, images, targets, finished)
        return isolated(self, images, targets)


def build_learner(recipe: Recipe, classes: int, side: int) -> Learner:
    """Return the learner of a recipe with freshly drawn weights.

    The network's weights come from the recipe's seed alone, so that two methods start from the same
    network.

    Args:
        recipe: what to train.
        classes: number of classes of the data set.
        side: side of its images in pixels.

    Raises:
        UsageError: an auxiliary net does not fit the network.
    """
    torch.manual_seed(recipe.seed)
    chain = build_chain(recipe.network, classes, side, recipe.drop_path)
    torch.manual_seed(recipe.seed + 1)
    learner = Learner(chain, partition_of(recipe), recipe.composition, recipe.memory)
    for auxiliaries in (learner.independents, learner.cascades):
        initialise(auxiliaries)
    return learner
