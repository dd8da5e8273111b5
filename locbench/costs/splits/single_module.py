"""One local module of a learner, and its training step."""

from __future__ import annotations

from torch import Tensor, nn

from locbench.costs.splits.cuts import ModuleSpan
from locbench.learning import routing
from locbench.learning.auxiliary.branch import Targets
from locbench.learning.learner import Learner
from locbench.learning.routing import Finished
from locbench.networks.chain import Chain
from locbench.spec.components import Composition
from locbench.spec.partition import Partition


class SingleModule(Learner):
    """A learner that has and trains one of its local modules alone.

    Args:
        chain: the whole network.
        span: which module, of which layers.
        modules: K.
        composition: the method; its modules are isolated.
    """

    def __init__(
        self, chain: Chain, span: ModuleSpan, modules: int, composition: Composition
    ) -> None:
        self.span = span
        super().__init__(chain, _partition(span, modules, len(chain.units) - 1), composition)

    def step(
        self,
        images: Tensor,
        targets: Targets,
        *,
        guided: bool = False,  # noqa: ARG002
        finished: Finished | None = None,  # noqa: ARG002
    ) -> routing.StepOutput:
        """Train the module as `routing.isolated` does.

        Args:
            images: the module's input, which needs no gradient.
            targets: labels and image.
            guided, finished: unused; they are for other routings.
        """
        index = self.span.module
        if index == self.modules_count - 1:
            return routing.train_top([], self.run_module(index, images), targets)
        loss, output = routing.train_module(self, index, images, targets)
        return routing.StepOutput(loss.unsqueeze(0), output)

    @property
    def nets(self) -> list[nn.Module]:
        """The module's local layers, and its auxiliary nets or, at the top, the classifier."""
        return [
            *self.module_units(self.span.module),
            *(self.independents.values() or [self.chain.head]),
        ]

    def _auxiliaries(self, level: str, first: int) -> nn.ModuleDict:
        index = self.span.module
        if not first <= index < self.modules_count - 1:
            return nn.ModuleDict()
        return nn.ModuleDict({str(index): self._auxiliary(level, index)})


def _partition(span: ModuleSpan, modules: int, top: int) -> Partition:
    """Return some division into K modules that has a module at a span."""
    below = (*range(span.module - 1), span.first - 1) if span.module else ()
    above = modules - 1 - span.module
    return Partition(
        (*below, *((span.last, *range(span.last + 1, span.last + above), top) if above else (top,)))
    )
