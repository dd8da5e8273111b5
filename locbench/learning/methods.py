"""Base methods: each name is one composition of branches. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from locbench.errors import UsageError
from locbench.learning.lambdas import infopro_weights
from locbench.learning.options import (
    AugLocal,
    Composition,
    Decoder,
    Fraction,
    Head,
    Mlp,
    PooledLinear,
    Positive,
    Ramp,
    Selection,
    Similarity,
)
from locbench.registry import Registry


class Site(msgspec.Struct, frozen=True):
    """What a method may depend on besides its own options: where it is applied."""

    network: str
    dataset: str
    modules: int


class Method(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The options of a base method; ``compose`` turns them into branches."""

    def compose(self, site: Site) -> Composition:
        """Return the composition that this method is."""
        raise TypeError(f"{type(self).__name__} composes nothing for {site}")


METHODS: Registry[type[Method]] = Registry("method")


@METHODS.register("bp")
class Backpropagation(Method, frozen=True):
    """End-to-end backpropagation: one module, one cross-entropy loss."""

    def compose(self, site: Site) -> Composition:  # noqa: ARG002
        """Return the composition without auxiliary nets."""
        return Composition(end_to_end=True)


@METHODS.register("dgl")
class DecoupledGreedyLearning(Method, frozen=True):
    """DGL: cross-entropy on an MLP-SR auxiliary net; ``variant`` as in `options.Mlp`."""

    variant: Literal["auglocal", "official", "mlp", "cnn"] = "auglocal"

    def compose(self, site: Site) -> Composition:  # noqa: ARG002
        """Return DGL's single branch."""
        return Composition(branches=(Mlp(variant=self.variant),))


@METHODS.register("predsim")
class PredSim(Method, frozen=True):
    """PredSim: similarity matching and a pooled linear classifier (Nokland & Eidnes 2019), in AugLocal's form."""

    similarity: Fraction = 0.99
    features: Positive = 512
    zero_init: bool = False

    def compose(self, site: Site) -> Composition:  # noqa: ARG002
        """Return the classifier branch and the similarity branch."""
        rest = round(1 - self.similarity, 12)
        return Composition(
            branches=(
                PooledLinear(features=self.features, zero_init=self.zero_init, weight=(rest, rest)),
                Similarity(weight=(self.similarity, self.similarity)),
            )
        )


@METHODS.register("infopro")
class InfoPro(Method, frozen=True):
    """InfoPro: image reconstruction and a task head, weights ramped over the modules (Wang et al. 2021).

    ``reconstruction_weight`` and ``task_weight`` default to the published values for the network, data set and K.
    """

    net: Literal["0C1F", "0C2F", "1C1F", "1C2F", "1C3F", "2C1F", "2C2F", "2C3F", "adapt"] = "1C2F"
    loss: Literal["softmax", "contrast"] = "softmax"
    reconstruction_weight: Ramp | None = None
    task_weight: Ramp | None = None

    def compose(self, site: Site) -> Composition:
        """Return the task head and the decoder, with their weights filled in."""
        reconstruction, task = infopro_weights(site.network, site.dataset, site.modules)
        return Composition(
            branches=(
                Head(net=self.net, loss=self.loss, weight=self.task_weight or task),
                Decoder(weight=self.reconstruction_weight or reconstruction),
            )
        )


@METHODS.register("head")
class LocalHead(Method, frozen=True):
    """Cross-entropy (or a contrastive loss) on an ``xCyF`` head: PGL's DGL with 1C2F, Greedy SL with 0C1F."""

    net: Literal["0C1F", "0C2F", "1C1F", "1C2F", "1C3F", "2C1F", "2C2F", "2C3F", "adapt"] = "1C2F"
    loss: Literal["softmax", "contrast"] = "softmax"
    literal_stem: bool = False

    def compose(self, site: Site) -> Composition:  # noqa: ARG002
        """Return the single head."""
        return Composition(branches=(Head(net=self.net, loss=self.loss, literal_stem=self.literal_stem),))


@METHODS.register("auglocal")
class AugLocalMethod(Method, frozen=True):
    """AugLocal: auxiliary nets made of later layers (Ma et al. 2024); options as in `options.AugLocal`.

    ``merge_top`` trains the top ``depth`` local layers and the classifier jointly, as the official code does;
    without it every local layer below the last keeps an auxiliary net, as the paper's text says. ``task_weight`` is the
    ramp of the cross-entropy's weight where another loss stands beside it; by default it is 1 everywhere.
    """

    depth: int = 2
    decay: Fraction = 0.5
    selection: Selection | tuple[Selection, Selection, Selection] = "uniform"
    width: Annotated[float, msgspec.Meta(gt=0.0)] | None = None
    head_bn: bool = True
    merge_top: bool = True
    task_weight: Ramp | None = None

    def compose(self, site: Site) -> Composition:  # noqa: ARG002
        """Return the auxiliary net and how many top layers it merges."""
        if self.depth < 2:
            raise UsageError(
                f"an AugLocal auxiliary net of depth {self.depth} has no copied layer", "Set depth to 2 or more."
            )
        branch = AugLocal(
            depth=self.depth,
            decay=self.decay,
            selection=self.selection,
            width=self.width,
            head_bn=self.head_bn,
            weight=self.task_weight or (1.0, 1.0),
        )
        return Composition(branches=(branch,), merge_top=self.depth - 1 if self.merge_top else 0)
