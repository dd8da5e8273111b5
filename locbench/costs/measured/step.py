"""The training loop's own step, on random images: what a measurement repeats."""

from __future__ import annotations

import msgspec
import torch

from locbench.costs.measured.allocator import storage_bytes
from locbench.costs.memory.options import TraceOptions
from locbench.data.batches import Batch
from locbench.data.images import Images, Split
from locbench.datasets.catalogue import info
from locbench.learning.auxiliary.branch import Targets
from locbench.spec.recipe import Recipe, without_schedule
from locbench.training.eager import EagerEngine
from locbench.training.run import Run

_RATE = 1e-3
"""Small, so that no step ends in infinities on random images; the rate decides no cost."""


class TrainingStep(Run):
    """A training run of which one step after the other is taken on the same random batch.

    Args:
        recipe: what to train; pretrained weights are not loaded, since they cost what others do.
        device: where.
        setting: image size, classes, batch size, phase, and whether gradients stay allocated between steps.
    """

    def __init__(self, recipe: Recipe, device: torch.device, setting: TraceOptions = TraceOptions()) -> None:
        recipe = without_schedule(recipe, lr=_RATE)
        data, side = info(recipe.dataset), setting.side or recipe.side
        data = msgspec.structs.replace(data, classes=setting.classes or data.classes, side=side)
        nothing = Images(torch.empty(0, side, side, 3, dtype=torch.uint8), torch.empty(0, dtype=torch.int64)).to(device)
        super().__init__(
            msgspec.structs.replace(recipe, image_size=setting.side or recipe.image_size),
            Split(data, nothing, nothing, fingerprint=""),
        )
        self.setting = setting
        self.learner.train()
        self.batch = self._random(setting.batch_size or recipe.batch_size)

    def __call__(self) -> None:
        """Take a step; nothing is read back from the device."""
        self.clear()
        plain = EagerEngine(self.learner, self.optimizer, self.recipe, self.world, self.device)
        plain.accumulate_and_step(self.batch, Targets(self.batch.labels, self.batch.pixels), guided=self.setting.guided)

    def clear(self) -> None:
        """Set the gradients to zero, or free them, as the setting says."""
        self.optimizer.zero_grad(set_to_none=not self.setting.keep_gradients)

    def resident_bytes(self) -> int:
        """Free what a step frees first, and return the bytes of the tensors that live between steps."""
        self.clear()
        parameters = list(self.learner.parameters())
        state = [value for each in self.optimizer.state.values() for value in each.values()]
        return storage_bytes(
            [
                *parameters,
                *(each.grad for each in parameters),
                *self.learner.buffers(),
                *(each for each in state if isinstance(each, torch.Tensor)),
                *(self.batch.images, self.batch.labels, self.batch.pixels),
            ]
        )

    def _random(self, size: int) -> Batch:
        pixels = torch.rand(size, self.side, self.side, 3, device=self.device).permute(0, 3, 1, 2)  # channels last
        labels = torch.randint(self.split.info.classes, (size,), device=self.device)
        # As in the prediction: the Swin pipeline makes un-normalised images on demand alone.
        wanted = self.recipe.augmentation == "standard" or self.learner.restores_image
        return Batch(images=(pixels - 0.5) / 0.5, labels=labels, pixels=pixels if wanted else None)
