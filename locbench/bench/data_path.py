"""The speed of the data path and of evaluation, ours and the reference's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import cast

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from locbench.data.batches import eval_batches, laid_out, train_batches
from locbench.data.images import Images
from locbench.datasets.catalogue import info
from locbench.datasets.known import DatasetInfo
from locbench.networks.chain import build_chain
from locbench.spec.recipe import Recipe
from locbench.training.device import memory_layout
from locbench.training.evaluation import accuracy
from locbench.training.input import eval_batch_size


def random_images(recipe: Recipe, count: int) -> Images:
    """Return random images of a data set's shape, on the CPU."""
    data, draws = info(recipe.dataset), torch.Generator().manual_seed(0)
    pixels = torch.randint(
        256, (count, data.side, data.side, 3), dtype=torch.uint8, generator=draws
    )
    return Images(pixels, torch.randint(data.classes, (count,), generator=draws))


TESTED = 8
"""Of so many images one is evaluated in a round: evaluation takes the longest."""

WORKERS = 2
"""Processes that load the reference's images."""

TEST_BATCH = 256
"""The reference's batch of evaluation."""


class Batched:
    """Locbench's way: images on the device, cropped and mirrored by the batch.

    Args:
        recipe: data set and batch.
        count: images of an epoch; a round of evaluation takes fewer.
        device: of the images.
    """

    def __init__(self, recipe: Recipe, count: int, device: torch.device) -> None:
        self.recipe, self.device, self.epoch = recipe, device, 0
        self.info, self.images = info(recipe.dataset), random_images(recipe, count).to(device)
        self.tests = random_images(recipe, max(1, count // TESTED)).to(device)

    def train_epoch(self) -> float:
        """Make one epoch's training batches and return images per second."""
        self.epoch += 1
        batches = laid_out(
            train_batches(
                self.images,
                self.info,
                self.recipe.batch_size,
                seed=0,
                epoch=self.epoch,
                pixels=False,
            ),
            memory_layout(self.recipe.precision, self.device),
        )
        return _speed(
            self.device, len(self.images), lambda: _run_through(batch.images for batch in batches)
        )

    def evaluation(self, network: str) -> float:
        """Evaluate a network with its pipeline and return images per second."""
        torch.manual_seed(0)
        chain = build_chain(network, self.info.classes, self.info.side)
        layout = memory_layout(self.recipe.precision, self.device)
        chain = chain.to(self.device, memory_format=layout)  # type: ignore[call-overload]
        size = eval_batch_size(self.info.side, self.device)
        batches = laid_out(eval_batches(self.tests, self.info, size, pixels=False), layout)
        return _speed(self.device, len(self.tests), lambda: accuracy(chain, batches, self.device))


class OneByOne:
    """The reference's way: torchvision's transforms in worker processes, tests in batches of 256.

    See `Batched`.
    """

    def __init__(self, recipe: Recipe, count: int, device: torch.device) -> None:
        self.recipe, self.device = recipe, device
        self.info, self.images = info(recipe.dataset), random_images(recipe, count)
        self.tests = random_images(recipe, max(1, count // TESTED))
        self.train = loader(self.images, self.info, recipe.batch_size, augmented=True)
        self.test = loader(self.tests, self.info, TEST_BATCH, augmented=False)

    def train_epoch(self) -> float:
        """Make one epoch's training batches and return images per second."""
        batches = (pixels.to(self.device) for pixels, _ in self.train)
        return _speed(self.device, len(self.images), lambda: _run_through(batches))

    def evaluation(self, network: str) -> float:
        """Evaluate a network with its pipeline and return images per second."""
        torch.manual_seed(0)
        chain = build_chain(network, self.info.classes, self.info.side).to(self.device)
        return _speed(self.device, len(self.tests), lambda: evaluate(chain, self.test, self.device))


class PerImage(Dataset[tuple[Tensor, int]]):
    """Images that torchvision's transforms change one by one.

    Args:
        images: as stored, on the CPU.
        info: padding, flips and normalisation.
        augmented: crop and mirror at random, for training.
    """

    def __init__(self, images: Images, info: DatasetInfo, *, augmented: bool) -> None:
        self.pixels, self.labels = images.pixels.numpy(), images.labels.tolist()
        mode = "constant" if info.padding == "zero" else "reflect"
        drawn: list[object] = []
        if augmented:
            drawn.append(transforms.RandomCrop(info.side, padding=info.pad, padding_mode=mode))
        if augmented and info.flip:
            drawn.append(transforms.RandomHorizontalFlip())
        last = [transforms.ToTensor(), transforms.Normalize(info.mean, info.std)]
        self.transform = transforms.Compose([*drawn, *last])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.pixels[index])), self.labels[index]


def loader(
    images: Images, info: DatasetInfo, batch_size: int, *, augmented: bool
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Return a loader with worker processes, which stay alive between epochs."""
    dataset = cast(Dataset[tuple[Tensor, Tensor]], PerImage(images, info, augmented=augmented))
    return DataLoader(
        dataset, batch_size, shuffle=augmented, num_workers=WORKERS, persistent_workers=True
    )


def evaluate(
    net: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], device: torch.device
) -> float:
    """Return the share of right first guesses in percent, a count read back for every batch."""
    net.eval()
    right = images = 0.0
    with torch.no_grad():
        for pixels, labels in batches:
            logits, targets = net(pixels.to(device)), labels.to(device)
            F.cross_entropy(logits, targets).item()
            right += (logits.argmax(dim=1) == targets).sum().item()
            images += len(labels)
    net.train()
    return 100 * right / images


def _run_through(batches: Iterable[object]) -> None:
    for _ in batches:
        pass


def _speed(device: torch.device, count: int, work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return count / (time.perf_counter() - begun)
