"""How fast images arrive without training, and how fast a network is evaluated: batched here, one
by one elsewhere.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable
from statistics import median

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from locbench.bench.baseline import TEST_BATCH, evaluate, loader
from locbench.data.batches import test_batches, train_batches
from locbench.data.images import Images
from locbench.data.swin.pipeline import swin_train_batches
from locbench.datasets.catalogue import info
from locbench.networks.chain import build_chain
from locbench.spec.recipe import Recipe
from locbench.training.evaluation import accuracy
from locbench.training.input import testing_size


def random_images(recipe: Recipe, count: int) -> Images:
    """Return random images of a data set's shape, on the CPU: how long they take does not depend on
    what they show.
    """
    data, draws = info(recipe.dataset), torch.Generator().manual_seed(0)
    pixels = torch.randint(
        256, (count, data.side, data.side, 3), dtype=torch.uint8, generator=draws
    )
    return Images(pixels, torch.randint(data.classes, (count,), generator=draws))


TESTED = 8
"""Of so many images one is evaluated in a round: evaluation takes the longest."""


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
        batches = train_batches(
            self.images, self.info, self.recipe.batch_size, seed=0, epoch=self.epoch
        )
        return _speed(
            self.device, len(self.images), lambda: _run_through(each.images for each in batches)
        )

    def evaluation(self, network: str) -> float:
        """Evaluate a network with its pipeline and return images per second."""
        torch.manual_seed(0)
        chain = build_chain(network, self.info.classes, self.info.side)
        chain = chain.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        batches = test_batches(self.tests, self.info, testing_size(self.info.side, self.device))
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


def _run_through(batches: Iterable[object]) -> None:
    for _ in batches:
        pass


def _speed(device: torch.device, count: int, work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return count / (time.perf_counter() - begun)


__all__ = ["main"]

_WORKERS = 2


class _PerImage(Dataset[tuple[Tensor, int]]):
    """Images augmented one by one, by timm's transforms as the Swin repository asks for them."""

    def __init__(self, images: Images, side: int) -> None:
        from timm.data import create_transform

        self.images = images
        self.transform = create_transform(
            side,
            is_training=True,
            color_jitter=0.4,
            auto_augment="rand-m9-mstd0.5-inc1",
            re_prob=0.25,
            re_mode="pixel",
            re_count=1,
            interpolation="bicubic",
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        try:
            changed = self.transform(Image.fromarray(self.images.pixels[index].numpy()))
        except ValueError:  # recent versions of Pillow refuse to keep no bits, which timm asks of one image in 1,300
            return self[index]
        return changed, int(self.images.labels[index])


def main() -> None:
    """Measure, and print one line for each way."""
    options = _options()
    pixels = torch.randint(
        256, (options.images, options.stored, options.stored, 3), dtype=torch.uint8
    )
    images = Images(pixels, torch.zeros(options.images, dtype=torch.int64))
    print(
        f"{options.stored} to {options.side} pixels, batches of {options.batch}, {options.rounds} rounds"
    )
    _report(_speeds(_ways(images, options.side, options.batch), options.images, options.rounds))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    sizes = {"stored": 32, "side": 224, "batch": 140, "images": 840, "rounds": 7}
    for name, default in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"default {default}")
    return parser.parse_args()


def _ways(images: Images, side: int, batch: int) -> dict[str, Callable[[], Iterable[object]]]:
    loader = DataLoader(
        _PerImage(images, side),
        batch_size=batch,
        shuffle=True,
        num_workers=_WORKERS,
        persistent_workers=True,
    )
    return {
        f"timm, {_WORKERS} worker processes": lambda: loader,
        "batched, 1 thread": lambda: _batched(images, side, batch, 1),
        "batched, 2 threads": lambda: _batched(images, side, batch, 2),
    }


def _batched(images: Images, side: int, batch: int, threads: int) -> Iterable[object]:
    torch.set_num_threads(threads)
    return swin_train_batches(images, batch, side=side, seed=0, epoch=0)


def _speeds(
    ways: dict[str, Callable[[], Iterable[object]]], count: int, rounds: int
) -> dict[str, list[float]]:
    """Return images per second, one number a round.

    A first round, in which the workers start, is left out.
    """
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            for _batch in way():
                pass
            found[name].append(count / (time.perf_counter() - start))
    return {name: speeds[1:] for name, speeds in found.items()}


def _report(speeds: dict[str, list[float]]) -> None:
    reference = next(iter(speeds.values()))
    for name, found in speeds.items():
        ratios = [one / other for one, other in zip(found, reference, strict=True)]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(
            f"{name:28}{median(found):8.0f} images/s, {median(ratios):.2f} times timm's ({spread})"
        )


if __name__ == "__main__":
    main()
