"""AugLocal's official code, imported from a folder of the user's."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import nn

from locbench.bench.baseline import is_plain
from locbench.costs.measured.step_meter import message_of
from locbench.data.batches import Batch
from locbench.datasets.catalogue import info
from locbench.errors import FailureError, UsageError
from locbench.learning.learner import build_learner
from locbench.results.provenance import code_of
from locbench.spec.components import (
    AugLocal,
    Composition,
    Decoder,
    Head,
    Mlp,
    PooledLinear,
    Similarity,
)
from locbench.spec.networks import NETWORKS
from locbench.spec.recipe import Recipe
from locbench.training.probe import random_batch, resident_bytes

OFFICIAL = "official"
"""Its name among the engines."""

FILE = Path("networks", "resnet.py")
"""Where its networks are, in a checkout."""

OFFICIAL_SOURCES = ("networks", "utils")
"""What is imported from a checkout, and what that imports."""

CHECKOUT = "Give a checkout: git clone https://github.com/ChenxiangMA/AugLocal FOLDER"

OFFICIAL_NETWORKS = ("resnet32", "resnet110")


@dataclass(frozen=True)
class OfficialArguments:
    """What the official code is called with to train what a recipe trains.

    Attributes:
        network: of the function that builds the network.
        weights: of a forward pass: the weights of both losses at the first and at the last
            auxiliary net, linear between.
    """

    network: dict[str, Any]
    weights: dict[str, float]

    @classmethod
    def of(cls, recipe: Recipe) -> OfficialArguments:
        """Return the arguments for a recipe.

        Raises:
            UsageError: the official code does not train it.
        """
        rule = _rule(recipe.composition) if is_plain(recipe) else None
        known = recipe.network in OFFICIAL_NETWORKS and recipe.precision != "bf16"
        if rule is None or not known or recipe.split is not None:
            raise UsageError(
                f"AugLocal's official code has no {recipe.network} {recipe.method} of this kind",
                "It has bp, dgl, predsim, infopro and auglocal in full precision, with their usual "
                f"auxiliary nets, on {' and '.join(OFFICIAL_NETWORKS)}.",
            )
        units, whole = NETWORKS[recipe.network].units, recipe.composition.end_to_end
        if recipe.modules not in (None, units) and not whole:
            raise UsageError(
                f"AugLocal's official code has no division into {recipe.modules} local modules",
                f"Leave --modules out, for {units}: one local layer each.",
            )
        modules = 1 if whole else units - recipe.composition.merge_top
        weights = [branch.weight for branch in recipe.composition.branches]
        task, other = [*weights, *[(1.0, 1.0), (0.0, 0.0)][len(weights) :]]
        return cls(
            rule | {"local_module_num": modules},
            {"ixy_1": task[0], "ixy_2": task[1], "ixx_1": other[0], "ixx_2": other[1]},
        )


def _rule(composition: Composition) -> dict[str, Any] | None:
    """Return the official name of a method and what its nets are built with, if it has them."""
    branches, merged = composition.branches, composition.merge_top
    plain = Composition(branches, merge_top=merged, end_to_end=composition.end_to_end)
    if composition != plain:
        return None
    match [msgspec.structs.replace(branch, weight=(1.0, 1.0)) for branch in branches]:
        case []:
            return {"rule": "BP"}
        case [Mlp() as net] if net == Mlp():
            return {"rule": "DGL", "aux_net_config": "DGL"}
        case [PooledLinear(features=features, zero_init=False), Similarity()]:
            return {"rule": "PredSim", "aux_net_config": "PredSim", "hidden_dim": features}
        case [Head() as head, Decoder() as decoder] if (head, decoder) == (Head(), Decoder()):
            nets = {"aux_net_config": "InfoPro", "aux_net_config_aux_loss": "2c"}
            return {"rule": "InfoPro", **nets}
        case [AugLocal(depth=depth, decay=decay) as net] if merged == depth - 1:
            depths = {"aux_net_depth": depth - 1, "is_pyramid": True, "paramid_coeff": decay}
            if net == AugLocal(depth=depth, decay=decay):
                return {"rule": "AugLocal", "aux_net_config": "unifSamp", **depths}
    return None


def refuse_folder(folder: Path) -> None:
    """Refuse a folder that is no checkout of the official code.

    Raises:
        UsageError: it is not there, or is something else.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}", CHECKOUT)
    if not (folder / FILE).is_file():
        text = f"{folder} is no checkout of AugLocal's official code: it has no {FILE}"
        raise UsageError(text, CHECKOUT)


def official_commit(folder: Path) -> str:
    """Return the commit of a checkout, ``modified`` behind it where its files have changed.

    Empty outside a checkout.
    """
    code = code_of(folder, OFFICIAL_SOURCES)
    return code.commit + " modified" * bool(code.commit and code.dirty)


class OfficialCode:
    """The official code in the present process.

    Its folder is searched for modules while it is imported and builds networks, since it imports
    some only then.

    Args:
        folder: a checkout.
        device: where what asks for CUDA goes.

    Raises:
        UsageError: the folder is no checkout.
        FailureError: it cannot be imported.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        refuse_folder(folder)
        self.folder, self.device = folder.resolve(), device
        try:
            with self._found():
                self.module = import_module(".".join(FILE.with_suffix("").parts))
        except Exception as error:  # whatever a foreign module raises
            raise _unusable(f"{folder / FILE}", "imported", error) from None
        if Path(str(self.module.__file__)).resolve() != self.folder / FILE:
            raise FailureError(
                f"{folder / FILE} cannot be imported: {self.module.__file__} has its name",
                "Work in an environment without that module.",
            )

    def build(self, recipe: Recipe, classes: int) -> nn.Module:
        """Return the network with auxiliary nets for a recipe.

        Raises:
            UsageError: the network is missing, or does not take the official arguments.
            FailureError: it cannot be built.
        """
        settings = {
            "batch_size": recipe.batch_size,
            "image_size": recipe.side,
            "dataset": recipe.dataset,
            "class_num": classes,
        }
        builder: Callable[..., nn.Module] | None = getattr(self.module, recipe.network, None)
        if builder is None:
            raise UsageError(f"{self.folder / FILE} has no {recipe.network}", CHECKOUT)
        try:
            with self._found():
                return builder(**settings, **OfficialArguments.of(recipe).network)
        except TypeError as error:
            raise UsageError(
                f"{recipe.network} of {self.folder / FILE} is not the official one: {error}",
                CHECKOUT,
            ) from None
        except Exception as error:  # see above
            raise _unusable(f"{recipe.network} of {self.folder / FILE}", "built", error) from None

    @contextmanager
    def _found(self) -> Iterator[None]:
        """Find the folder's modules, and let tensors that are sent to CUDA go to the device."""
        sys.path.insert(0, str(self.folder))
        before = torch.Tensor.cuda
        try:
            if self.device.type != "cuda":
                torch.Tensor.cuda = lambda tensor: tensor.to(self.device)  # type: ignore[method-assign, assignment, misc]
            yield
        finally:
            torch.Tensor.cuda = before  # type: ignore[method-assign]
            sys.path.remove(str(self.folder))


def _unusable(what: str, done: str, error: Exception) -> FailureError:
    return FailureError(
        f"{what} cannot be {done}: {message_of(error)}",
        "Install what it imports, or time the engines alone, without --against.",
    )


class OfficialStep:
    """A training step of the official code, with what its loop reads back after it.

    One SGD steps all parameters, with the rates of the recipe. Images lie contiguously, and the
    loss and the accuracy of the last module are read back in every step.

    Raises:
        UsageError: its network is another one than the recipe's, or see `OfficialArguments.of`.
    """

    engine, compile_seconds, captured_bytes = OFFICIAL, 0.0, 0

    def __init__(self, recipe: Recipe, code: OfficialCode, device: torch.device) -> None:
        classes = info(recipe.dataset).classes
        learner = build_learner(recipe, classes, recipe.side)
        batch = random_batch(learner, recipe, classes, device, layout=torch.contiguous_format)
        self.batch = Batch(batch.images, batch.labels, None)
        self.weights = OfficialArguments.of(recipe).weights
        self.net = code.build(recipe, classes).to(device).train()
        sizes = [sum(map(torch.numel, net.parameters())) for net in (self.net, learner)]
        if len(set(sizes)) > 1:
            theirs, ours = (f"{size:,} parameters" for size in sizes)
            raise UsageError(f"the official network has {theirs}, ours {ours}", CHECKOUT)
        self.optimizer = torch.optim.SGD(
            self.net.parameters(),
            lr=recipe.lr,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov and recipe.momentum > 0,
            weight_decay=recipe.weight_decay,
        )

    def __call__(self) -> None:
        """Take a step."""
        self.optimizer.zero_grad()
        labels = self.batch.labels
        logits, loss, *_ = self.net(img=self.batch.images, target=labels, **self.weights)
        self.optimizer.step()
        loss.item()
        (logits.detach().argmax(dim=1) == labels).float().mean().item()

    def resident_bytes(self) -> int:
        """Free the gradients, and return the bytes of the tensors that live between steps."""
        self.optimizer.zero_grad(set_to_none=True)
        return resident_bytes(self.net, [self.optimizer], self.batch)
