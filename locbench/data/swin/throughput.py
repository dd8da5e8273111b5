"""Images per second of the Swin pipeline, batched here and image by image in timm: ``python -m`` this module.

Both augment the same random images, held in memory as uint8, on the CPU; no decoding of files is timed. The rounds
alternate between the ways, so that what else the machine does falls on all of them; the median over the rounds and the
median of the rounds' ratios to timm are printed. On a machine that is not idle set ``OMP_WAIT_POLICY=passive``: two
threads that wait for each other in a loop are slower than one by an order of magnitude.
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

from locbench.data.images import Images
from locbench.data.swin.pipeline import swin_train_batches

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
    pixels = torch.randint(256, (options.images, options.stored, options.stored, 3), dtype=torch.uint8)
    images = Images(pixels, torch.zeros(options.images, dtype=torch.int64))
    print(f"{options.stored} to {options.side} pixels, batches of {options.batch}, {options.rounds} rounds")
    _report(_speeds(_ways(images, options.side, options.batch), options.images, options.rounds))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    sizes = {"stored": 32, "side": 224, "batch": 140, "images": 840, "rounds": 7}
    for name, default in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"default {default}")
    return parser.parse_args()


def _ways(images: Images, side: int, batch: int) -> dict[str, Callable[[], Iterable[object]]]:
    loader = DataLoader(
        _PerImage(images, side), batch_size=batch, shuffle=True, num_workers=_WORKERS, persistent_workers=True
    )
    return {
        f"timm, {_WORKERS} worker processes": lambda: loader,
        "batched, 1 thread": lambda: _batched(images, side, batch, 1),
        "batched, 2 threads": lambda: _batched(images, side, batch, 2),
    }


def _batched(images: Images, side: int, batch: int, threads: int) -> Iterable[object]:
    torch.set_num_threads(threads)
    return swin_train_batches(images, batch, side=side, seed=0, epoch=0)


def _speeds(ways: dict[str, Callable[[], Iterable[object]]], count: int, rounds: int) -> dict[str, list[float]]:
    """Return images per second, one number a round; a first round, in which the workers start, is left out."""
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
        print(f"{name:28}{median(found):8.0f} images/s, {median(ratios):.2f} times timm's ({spread})")


if __name__ == "__main__":
    main()
