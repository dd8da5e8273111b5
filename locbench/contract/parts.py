"""What every network and every data set must do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from locbench.contract.findings import Breach, Check
from locbench.data.images import Images, Split, load
from locbench.networks.chain import Chain, build_chain
from locbench.networks.flops import forward_flops
from locbench.spec.networks import NETWORKS
from locbench.spec.recipe import Recipe
from locbench.training.input import train_loader


class NetworkContract:
    """A network as a chain of local layers; nothing is computed.

    Args:
        name: of the network.
        classes: number of classes.
        side: of the images in pixels.
    """

    def __init__(self, name: str, classes: int, side: int) -> None:
        self.name, self.classes, self.side = name, classes, side
        self.chain: Chain

    def checks(self) -> Iterator[Check]:
        """Yield all checks, each of which may need those before it."""
        yield Check("it is built with as many local layers as it says", self._builds, basic=True)
        yield Check("its layers give maps of the channels and sides that they say", self._fits)
        yield Check("its parameters and operations can be counted", self._counts)
        yield Check("its published divisions have all of its layers", self._divides)

    def _builds(self) -> None:
        with torch.device("meta"):
            self.chain = build_chain(self.name, self.classes, self.side)
        found = (self.chain.classes, self.chain.side)
        if found != (self.classes, self.side):
            raise Breach(f"its classes and side are {found}, not {(self.classes, self.side)}")

    def _fits(self) -> None:
        x = torch.empty(2, 3, self.side, self.side, device="meta")
        for number, (unit, spec) in enumerate(
            zip(self.chain.units, self.chain.specs, strict=True), 1
        ):
            x = unit(x)
            said = (2, spec.channels, spec.side, spec.side)
            if x.shape != said:
                raise Breach(f"layer {number} gives {tuple(x.shape)}, and its spec says {said}")
        scores = self.chain.head(x)
        if scores.shape != (2, self.classes):
            raise Breach(f"its classifier gives {tuple(scores.shape)}, not {(2, self.classes)}")

    def _counts(self) -> None:
        def build() -> Chain:
            return build_chain(self.name, self.classes, self.side)

        counted = forward_flops(build, (3, self.side, self.side))
        if not counted.flops >= counted.macs > 0:
            raise Breach("no operation is counted of it")

    def _divides(self) -> None:
        info = NETWORKS[self.name]
        for modules, split in (info.splits | info.carried_splits).items():
            if (len(split), sum(split)) != (modules, info.units):
                raise Breach(f"its division into {modules} modules is {split}")


class DatasetContract:
    """A data set in memory.

    Args:
        recipe: a run on it.
        root: folder of the data sets.
    """

    def __init__(self, recipe: Recipe, root: Path) -> None:
        self.recipe, self.root = recipe, root
        self.split: Split

    def checks(self) -> Iterator[Check]:
        """Yield all checks, each of which may need those before it."""
        yield Check("it is read with the sizes that it says", self._reads, basic=True)
        yield Check("read twice, it has the same images", self._repeats)
        yield Check("every class is among its training images", self._has_all_classes)
        yield Check("batches are made of it", self._batches)

    def _reads(self) -> None:
        self.split = load(self.recipe.dataset, self.root)

    def _repeats(self) -> None:
        again = load(self.recipe.dataset, self.root)
        if again.fingerprint != self.split.fingerprint:
            raise Breach("its images differ; let random ones be drawn from a fixed seed")

    def _has_all_classes(self) -> None:
        labels = set(self.split.train.labels.tolist())
        missing = set(range(self.split.info.classes)) - labels
        if missing:
            raise Breach(f"no training image is of class {min(missing)}")

    def _batches(self) -> None:
        if not isinstance(self.split.train, Images):
            return
        batch = next(iter(train_loader(self.recipe, self.split, 1, pixels=False)))
        size, side = min(self.recipe.batch_size, len(self.split.train)), self.recipe.side
        if batch.images.shape != (size, 3, side, side):
            raise Breach(f"a batch is {tuple(batch.images.shape)}")
