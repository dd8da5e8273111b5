"""Base methods: each name is one composition of branches."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from locbench.errors import UsageError
from locbench.registry import Registry
from locbench.spec.components import (
    AugLocal,
    Composition,
    Decoder,
    DecoderVariant,
    Factor,
    Fraction,
    Head,
    HeadNet,
    Mlp,
    PooledLinear,
    Positive,
    Ramp,
    Selection,
    SharedStem,
    Similarity,
    Whole,
)
from locbench.spec.published_weights import infopro_nets, infopro_weights, reconstruction_weights


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

    ``reconstruction_weight`` and ``task_weight`` default to the published values for the network, data set and K,
    ``net`` and ``decoder`` to the published nets: 1C2F and one resizing, or on ImageNet's networks those of ImageNet.
    """

    net: HeadNet | None = None
    decoder: DecoderVariant | None = None
    loss: Literal["softmax", "contrast"] = "softmax"
    reconstruction_weight: Ramp | None = None
    task_weight: Ramp | None = None

    def compose(self, site: Site) -> Composition:
        """Return the task head and the decoder, with their weights filled in."""
        reconstruction, task = infopro_weights(site.network, site.dataset, site.modules)
        net, decoder = infopro_nets(site.network)
        return Composition(
            branches=(
                Head(net=self.net or net, loss=self.loss, weight=self.task_weight or task),
                Decoder(variant=self.decoder or decoder, weight=self.reconstruction_weight or reconstruction),
            )
        )


@METHODS.register("head")
class LocalHead(Method, frozen=True):
    """Cross-entropy (or a contrastive loss) on an ``xCyF`` head: PGL's DGL with 1C2F, Greedy SL with 0C1F."""

    net: HeadNet = "1C2F"
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

    depth: Whole = 2
    decay: Fraction = 0.5
    selection: Selection | tuple[Selection, Selection, Selection] = "uniform"
    width: Factor | None = None
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


class SharedStemMethod(Method, frozen=True):
    """What the methods of Swin feature reconstruction share (Pathak et al. 2023); options as in `options.SharedStem`.

    The weights default to the paper's, which run over the modules 1 ... K from alpha = 3, beta = 1 to alpha = 0,
    beta = 4; the last module has no auxiliary block.
    """

    stem_width: Factor = 0.5
    task_weight: Ramp | None = None

    def compose(self, site: Site) -> Composition:
        """Return the one branch, its weights filled in."""
        return Composition(branches=(SharedStem(**{"stem_width": self.stem_width} | self.own(site)),))

    def own(self, site: Site) -> dict[str, Any]:  # noqa: ARG002
        """Return the branch's other options."""
        raise TypeError(f"{type(self).__name__} has no options of its own")


class RestoringMethod(SharedStemMethod, frozen=True):
    """A method whose modules restore something beside the contrastive loss."""

    decoder: Literal["linear", "deconv", "interp"] = "deconv"
    decoder_width: Positive = 256
    feature_dim: Positive = 128
    temperature: Factor = 0.07
    reconstruction_weight: Ramp | None = None

    def own(self, site: Site) -> dict[str, Any]:
        """Return both weights, the decoder and the feature."""
        alpha, beta = reconstruction_weights(site.modules)
        width = {"decoder_width": self.decoder_width} if self.decoder == "deconv" else {}
        return width | {
            "decoder": self.decoder,
            "feature_dim": self.feature_dim,
            "temperature": self.temperature,
            "reconstruction_weight": self.reconstruction_weight or alpha,
            "task_weight": self.task_weight or beta,
        }


@METHODS.register("swin-reconstruction")
class FeatureReconstruction(RestoringMethod, frozen=True):
    """Each module restores its own input features (Pathak et al. 2023, section 3.2)."""

    feature_target: Literal["sigmoid-ln", "sigmoid", "minmax", "raw-mse"] = "sigmoid-ln"

    def own(self, site: Site) -> dict[str, Any]:
        """Return the target besides."""
        return super().own(site) | {"target": "features", "feature_target": self.feature_target}


@METHODS.register("swin-infopro")
class InfoProTransformer(RestoringMethod, frozen=True):
    """InfoPro-Transformer: each module restores the input image (Pathak et al. 2023, section 4.1)."""

    def own(self, site: Site) -> dict[str, Any]:
        """Return the target besides."""
        return super().own(site) | {"target": "image"}


@METHODS.register("swin-greedy")
class GreedyCrossEntropy(SharedStemMethod, frozen=True):
    """Cross-entropy alone on the shared stem (Pathak et al. 2023, Table 4); its weight is 1."""

    def own(self, site: Site) -> dict[str, Any]:  # noqa: ARG002
        """Return the loss; no decoder."""
        return {"decoder": "none", "task": "softmax", "weight": self.task_weight or (1.0, 1.0)}


@METHODS.register("swin-contrast")
class GreedyContrast(SharedStemMethod, frozen=True):
    """The supervised contrastive loss alone on the shared stem (Pathak et al. 2023, Table 4)."""

    feature_dim: Positive = 128
    temperature: Factor = 0.07

    def own(self, site: Site) -> dict[str, Any]:
        """Return the loss; no decoder."""
        weight = self.task_weight or reconstruction_weights(site.modules)[1]
        own = {"feature_dim": self.feature_dim, "temperature": self.temperature}
        return own | {"decoder": "none", "weight": weight}
