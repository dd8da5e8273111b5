"""Training steps on random images, for measuring and checking."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from locbench.data.batches import Batch
from locbench.datasets.catalogue import info
from locbench.learning.auxiliary.branch import Targets
from locbench.learning.learner import Learner, build_learner
from locbench.learning.routing import StepOutput
from locbench.spec.choices import EngineName
from locbench.spec.recipe import Recipe
from locbench.training.device import memory_layout, set_precision
from locbench.training.distributed import SINGLE_PROCESS
from locbench.training.eager import EagerEngine
from locbench.training.engine import make_engine
from locbench.training.optimizer import make_optimizer

PROBE_RATE = 1e-3
"""A learning rate so small that no step ends in infinities on random images; it decides no cost."""


class ProbeStep:
    """A training loop's own step, taken on one random batch as often as it is called.

    Args:
        recipe: what to train; pretrained weights are not loaded, since they cost what others do.
        device: where.
        engine: how steps are taken, as `choose_engine` allows.
        guided: a step of PGL's global phase.
        classes: how many; None takes the data set's.
        keep_gradients: gradients stay allocated between steps, and are set to zero; for the engine
            ``eager`` alone.
        dtype: of images and weights.
    """

    learner: Learner

    def __init__(
        self,
        recipe: Recipe,
        device: torch.device,
        engine: EngineName = "eager",
        *,
        guided: bool = False,
        classes: int | None = None,
        keep_gradients: bool = False,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.recipe, self.device, self.dtype = recipe, device, dtype
        self.guided, self.keep_gradients = guided, keep_gradients
        self.classes = classes or info(recipe.dataset).classes
        set_precision(recipe.precision, device)
        self.layout = memory_layout(recipe.precision, device)
        learner = build_learner(recipe, self.classes, recipe.side)
        self.learner = learner.to(device, dtype, memory_format=self.layout).train()  # type: ignore[call-overload]
        self.optimizer = make_optimizer(self.learner, recipe)
        self.engine = make_engine(
            engine, self.learner, self.optimizer, recipe, SINGLE_PROCESS, device
        )
        self.draw_batch()

    def draw_batch(self, seed: int = 0) -> None:
        """Take another batch, drawn from a seed, in the next steps."""
        self.batch = random_batch(
            self.learner,
            self.recipe,
            self.classes,
            self.device,
            layout=self.layout,
            dtype=self.dtype,
            seed=seed,
        )

    def __call__(self) -> StepOutput:
        """Take a step; nothing is read back from the device."""
        targets = Targets(self.batch.labels, self.batch.pixels)
        if not self.keep_gradients:
            return self.engine.step(self.batch, targets, guided=self.guided)
        self.clear()
        assert isinstance(self.engine, EagerEngine)
        return self.engine.accumulate_and_step(self.batch, targets, guided=self.guided)

    def clear(self) -> None:
        """Set the gradients to zero, or free them."""
        self.optimizer.zero_grad(set_to_none=not self.keep_gradients)

    def resident_bytes(self) -> int:
        """Free what a step frees first, and return the bytes that live between steps."""
        self.clear()
        return resident_bytes(self.learner, [self.optimizer], self.batch)


def random_batch(
    learner: Learner,
    recipe: Recipe,
    classes: int,
    device: torch.device,
    *,
    layout: torch.memory_format,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> Batch:
    """Return a batch of random images, the same on every device and in every memory layout."""
    draws = torch.Generator().manual_seed(seed)
    shape = (recipe.batch_size, 3, recipe.side, recipe.side)
    pixels = torch.rand(shape, generator=draws, dtype=dtype)
    labels = torch.randint(classes, (recipe.batch_size,), generator=draws).to(device)
    pixels = pixels.contiguous(memory_format=layout).to(device)
    # As in the prediction: the Swin pipeline makes un-normalised images on demand alone.
    restored = recipe.augmentation == "standard" or learner.restores_image
    return Batch((pixels - 0.5) / 0.5, labels, pixels if restored else None)


def resident_bytes(
    net: nn.Module, optimizers: Iterable[torch.optim.Optimizer], batch: Batch
) -> int:
    """Return the bytes of a net, its gradients, its optimizers' state and a batch."""
    parameters = list(net.parameters())
    states = [state for optimizer in optimizers for state in optimizer.state.values()]
    tensors = [
        *parameters,
        *(parameter.grad for parameter in parameters),
        *net.buffers(),
        *(value for state in states for value in state.values()),
        batch.images,
        batch.labels,
        batch.pixels,
    ]
    storages = [value.untyped_storage() for value in tensors if isinstance(value, Tensor)]
    return sum({id(storage): storage.nbytes() for storage in storages}.values())
