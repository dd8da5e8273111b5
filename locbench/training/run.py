"""One classifier being trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from locbench.data.batches import Batch
from locbench.data.images import Split
from locbench.learning.auxiliary.branch import Targets
from locbench.learning.learner import Learner, build_learner
from locbench.spec.choices import EngineName
from locbench.spec.phases import is_global
from locbench.spec.recipe import Recipe
from locbench.training.device import memory_layout
from locbench.training.distributed import SINGLE_PROCESS, ProcessGroup
from locbench.training.engine import Engine, make_engine
from locbench.training.evaluation import accuracy
from locbench.training.events import EpochMetrics
from locbench.training.input import eval_loader, train_loader
from locbench.training.loop import TrainingRun
from locbench.training.optimizer import make_optimizer
from locbench.training.state import Keeper, Origin, Stateful

MANY_CLASSES = 200
"""From so many classes on, and where ImageNet is stood in for, the share among the first five
guesses is recorded.
"""


class Run(TrainingRun):
    """One recipe of a classifier being trained; within an epoch nothing is read from the device.

    Args:
        recipe: what to train.
        split: the images, on the device that is to train.
        checkpoint: where the state is kept between epochs; None keeps none.
        dtype: of images and weights; float64 for tests.
        weights: file of pretrained weights, for a recipe that starts from them; None asks their
            hub.
        world: the processes that share the run; every one of them makes its own `Run`.
        engine: how steps are run, as `choose_engine` allows.
        origin: the code that trains, and what is recorded already.
    """

    engine: Engine

    learner: Learner

    def __init__(
        self,
        recipe: Recipe,
        split: Split,
        checkpoint: Path | None = None,
        dtype: torch.dtype = torch.float32,
        weights: Path | None = None,
        world: ProcessGroup = SINGLE_PROCESS,
        engine: EngineName = "eager",
        origin: Origin = Origin(),
    ) -> None:
        self.split, self.dtype, self.weights, self._engine_name = split, dtype, weights, engine
        keeper = Keeper(checkpoint, recipe.key, split.fingerprint, origin, is_main=world.is_main)
        super().__init__(recipe, len(split.train), split.train.pixels.device, keeper, world)

    def _build(self) -> dict[str, int]:
        recipe, classes = self.recipe, self.split.info.classes
        learner = build_learner(recipe, classes, self.side)
        if recipe.init != "scratch":
            from locbench.networks.pretrained import load_pretrained

            load_pretrained(learner.chain, recipe.network, self.weights)
        layout = memory_layout(recipe.precision, self.device)
        self.learner = learner.to(self.device, self.dtype, memory_format=layout)  # type: ignore[call-overload]
        self.optimizer = make_optimizer(self.learner, recipe)
        self.engine = make_engine(
            self._engine_name, self.learner, self.optimizer, recipe, self.world, self.device
        )
        return self.learner.parameter_counts()

    def _parts(self) -> dict[str, Stateful]:
        return {"learner": self.learner, "optimizer": self.optimizer}

    @property
    def trained(self) -> Learner:
        """The network and its auxiliary nets."""
        return self.learner

    @property
    def engine_name(self) -> str:
        """What really runs the steps; an engine may have given up."""
        return self.engine.name

    @property
    def side(self) -> int:
        """Side of the images that the network sees, in pixels."""
        return self.recipe.image_size or self.split.info.side

    def _steps(
        self, epoch: int, steps: int, step_done: Callable[[], None]
    ) -> tuple[list[float], EpochMetrics]:
        self.learner.train()
        recipe, count = self.recipe, self.images_per_epoch
        losses = torch.zeros(self.learner.modules_count, dtype=self.dtype, device=self.device)
        correct = torch.zeros((), dtype=torch.int64, device=self.device)
        wanted = self.learner.restores_image
        batches = train_loader(
            recipe, self.split, epoch, pixels=wanted, dtype=self.dtype, world=self.world
        )
        prepare = self._preparation(epoch)
        guided_steps = 0
        for index, batch in enumerate(batches, (epoch - 1) * steps):
            guided = is_global(recipe.composition.phases, index, recipe.epochs * steps)
            guided_steps += guided
            self._set_rate(index, steps)
            global_batch = min(recipe.batch_size, count - index % steps * recipe.batch_size)
            output = self.engine.step(*prepare(batch), guided=guided, global_batch=global_batch)
            losses += output.losses * len(batch.labels)
            correct += (output.logits.argmax(dim=1) == batch.labels).sum()
            step_done()
        self.world.sum(losses, correct)
        self.world.average_buffers(self.learner)
        row: EpochMetrics = {
            "train_acc": 100 * correct.item() / count,
            "global_share": guided_steps / steps,
        }
        return (losses / count).tolist(), row

    def metrics(self) -> dict[str, float]:
        """Return the numbers of the record; see `accuracy_metrics`."""
        return accuracy_metrics(self.state.history)

    def _preparation(self, epoch: int) -> Callable[[Batch], tuple[Batch, Targets]]:
        """Return what makes a batch and its targets ready for a step, images mixed or not."""
        if not self.recipe.mixup:
            return lambda batch: (batch, Targets(batch.labels, batch.pixels))
        from locbench.training.mixup import Mixup

        return Mixup(self.split.info.classes, self.recipe.seed * 1_000_003 + epoch)

    def _evaluate(self) -> EpochMetrics:
        batches = eval_loader(self.recipe, self.split, self.dtype, self.world)
        found = accuracy(self.learner.chain, batches, self.device, self.world)
        many = self.split.info.classes >= MANY_CLASSES or self.recipe.augmentation == "imagenet"
        row: EpochMetrics = {"test_acc": found.top1}
        return row | {"test_top5": found.top5} if many else row


def accuracy_metrics(history: Sequence[EpochMetrics]) -> dict[str, float]:
    """Return a classifier's accuracy and error after the last epoch, and the best with its epoch.

    The error has two names, as in the papers: ``test_err``, and ``top1_err`` on ImageNet. Where the
    first five guesses were counted, on ImageNet and with 200 classes or more, there are
    ``top5_acc`` and ``top5_err`` too.
    """
    tested, top5 = _by_epoch(history, "test_acc"), _by_epoch(history, "test_top5")
    best_epoch, best = max(tested, key=lambda pair: (pair[1], -pair[0]))
    accuracy, loss = tested[-1][1], _by_epoch(history, "train_loss")[-1][1]
    metrics = {
        "test_acc": round(accuracy, 4),
        "test_err": round(100 - accuracy, 4),
        "top1_err": round(100 - accuracy, 4),
        "best_acc": round(best, 4),
        "best_epoch": best_epoch,
        "train_loss": loss,
    }
    if top5:
        metrics["top5_acc"] = round(top5[-1][1], 4)
        metrics["top5_err"] = round(100 - top5[-1][1], 4)
    return metrics


def _by_epoch(history: Sequence[EpochMetrics], name: str) -> list[tuple[float, float]]:
    """Return a number with its epoch, wherever there is one."""
    return [(row["epoch"] or 0.0, value) for row in history if (value := row.get(name)) is not None]
