"""Base methods: each name is one composition of branches."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from locbench.errors import UsageError
from locbench.registry import Registry, struct_fault
from locbench.spec.components import (
    AugLocal,
    Composition,
    Decoder,
    DecoderVariant,
    Factor,
    FeatureTarget,
    Fraction,
    Head,
    HeadLoss,
    HeadNet,
    Mlp,
    MlpVariant,
    PooledLinear,
    Positive,
    Ramp,
    Selection,
    SharedStem,
    Similarity,
    Whole,
    part_of,
)
from locbench.spec.published_weights import infopro_nets, infopro_weights, reconstruction_weights


class MethodContext(msgspec.Struct, frozen=True):
    """What a method may depend on besides its own options: where it is applied."""

    network: str
    dataset: str
    modules: int


class Method(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The options of a base method; ``compose`` turns them into branches."""

    def compose(self, context: MethodContext) -> Composition:
        """Return the composition that this method is."""
        raise TypeError(f"{type(self).__name__} composes nothing for {context}")


METHODS: Registry[type[Method]] = Registry(
    "method", lambda _name, method: struct_fault(method, Method)
)


@METHODS.register("bp")
class Backpropagation(Method, frozen=True):
    """End-to-end backpropagation: one module, one cross-entropy loss."""

    def compose(self, context: MethodContext) -> Composition:  # noqa: ARG002
        """Return the composition without auxiliary nets."""
        return Composition(end_to_end=True)


@METHODS.register("dgl")
class DecoupledGreedyLearning(Method, frozen=True):
    """DGL: cross-entropy on an MLP-SR auxiliary net (Belilovsky et al. 2020).

    Attributes:
        variant: the auxiliary net: MLP-SR of AugLocal's code (auglocal: two hidden layers without
            bias), DGL's own MLP-SR (official: three with bias), the same without 1x1 convolutions
            (mlp), or DGL's net of two convolutions (cnn).
    """

    variant: MlpVariant = Mlp().variant

    def compose(self, context: MethodContext) -> Composition:  # noqa: ARG002
        """Return DGL's single branch."""
        return Composition(branches=(part_of(self, Mlp),))


@METHODS.register("predsim")
class PredSim(Method, frozen=True):
    """PredSim: similarity matching and a pooled linear classifier (Nokland & Eidnes 2019).

    Attributes:
        similarity: the weight of similarity matching; the classifier's is 1 minus it.
        features: the most inputs of the linear layer, to which maps are pooled.
        zero_init: whether the linear layer starts from zeros.
    """

    similarity: Fraction = 0.99
    features: Positive = PooledLinear().features
    zero_init: bool = PooledLinear().zero_init

    def compose(self, context: MethodContext) -> Composition:  # noqa: ARG002
        """Return the classifier branch and the similarity branch."""
        rest = round(1 - self.similarity, 12)
        return Composition(
            branches=(
                part_of(self, PooledLinear, weight=(rest, rest)),
                Similarity(weight=(self.similarity, self.similarity)),
            )
        )


@METHODS.register("infopro")
class InfoPro(Method, frozen=True):
    """InfoPro: image reconstruction and a task head, weights ramped (Wang et al. 2021).

    Attributes:
        net: the task head: x 3x3 convolutions and y linear layers (xCyF), PGL's Aux-Adapt by
            residual stage (adapt), or InfoPro's head on ImageNet (imagenet). The default is 1C2F,
            and imagenet for ImageNet's networks.
        decoder: how the map becomes an image: resized at once (resize), or doubled between
            convolutions (doubling). The default is resize, and doubling for ImageNet's networks.
        loss: cross-entropy on class scores (softmax), or the supervised contrastive loss on a
            normalised feature (contrast).
        reconstruction_weight: weight of the decoder at the first and at the last auxiliary net,
            linear between. The default is the published one for the network, data set and K.
        task_weight: weight of the task head, likewise. The default is the published one.
    """

    net: HeadNet | None = None
    decoder: DecoderVariant | None = None
    loss: HeadLoss = Head().loss
    reconstruction_weight: Ramp | None = None
    task_weight: Ramp | None = None

    def compose(self, context: MethodContext) -> Composition:
        """Return the task head and the decoder, with their weights filled in."""
        reconstruction, task = infopro_weights(context.network, context.dataset, context.modules)
        net, decoder = infopro_nets(context.network)
        return Composition(
            branches=(
                Head(net=self.net or net, loss=self.loss, weight=self.task_weight or task),
                Decoder(
                    variant=self.decoder or decoder,
                    weight=self.reconstruction_weight or reconstruction,
                ),
            )
        )


@METHODS.register("head")
class LocalHead(Method, frozen=True):
    """Cross-entropy or contrastive loss on an xCyF head: PGL's DGL has 1C2F, Greedy SL 0C1F.

    Attributes:
        net: the head: x 3x3 convolutions and y linear layers (xCyF), PGL's Aux-Adapt by residual
            stage (adapt), or InfoPro's head on ImageNet (imagenet).
        loss: cross-entropy on class scores (softmax), or the supervised contrastive loss on a
            normalised feature (contrast).
        literal_stem: with adapt, the stem has the 16-channel net, as the paper's text says.
    """

    net: HeadNet = Head().net
    loss: HeadLoss = Head().loss
    literal_stem: bool = Head().literal_stem

    def compose(self, context: MethodContext) -> Composition:  # noqa: ARG002
        """Return the single head."""
        return Composition(branches=(part_of(self, Head),))


@METHODS.register("auglocal")
class AugLocalMethod(Method, frozen=True):
    """AugLocal: auxiliary nets made of later layers (Ma et al. 2024); for convolutional networks.

    Attributes:
        depth: the paper's d, 2 or more, classifier included (the code's aux_net_depth is d - 1).
        decay: tau of the pyramidal depth (eq. 3); 0 keeps the depth constant.
        selection: how layers are selected, one word or one for each of three stages.
        width: channel multiplier of the plain convolutions. The default is solved for the FLOPs of
            uniform selection.
        head_bn: BatchNorm before the classifier of nets with at most one copied layer, an
            undocumented rule of the official code.
        merge_top: train the top depth local layers and the classifier jointly, an undocumented rule
            of the official code; without it every local layer below the last keeps an auxiliary
            net, as the paper's text says.
        task_weight: weight of the cross-entropy at the first and at the last auxiliary net, linear
            between, where another loss is added to it. The default is 1 everywhere.
    """

    depth: Whole = AugLocal().depth
    decay: Fraction = AugLocal().decay
    selection: Selection | tuple[Selection, Selection, Selection] = AugLocal().selection
    width: Factor | None = AugLocal().width
    head_bn: bool = AugLocal().head_bn
    merge_top: bool = True
    task_weight: Ramp | None = None

    def compose(self, context: MethodContext) -> Composition:  # noqa: ARG002
        """Return the auxiliary net and how many top layers it merges."""
        if self.depth < 2:
            raise UsageError(
                f"an AugLocal auxiliary net of depth {self.depth} has no copied layer",
                "Set depth to 2 or more.",
            )
        branch = part_of(self, AugLocal, weight=self.task_weight or AugLocal().weight)
        return Composition(branches=(branch,), merge_top=self.depth - 1 if self.merge_top else 0)


class SharedStemMethod(Method, frozen=True):
    """What the methods of Swin feature reconstruction share (Pathak et al. 2023).

    Attributes:
        stem_width: output channels of the auxiliary block's convolution as a share of the module's
            channels.
        task_weight: beta, the weight of the task's loss at the first and at the last auxiliary
            block, linear between. The default is the paper's: 1 at the first module, towards 4 at
            the last, which has no auxiliary block.
    """

    stem_width: Factor = SharedStem().stem_width
    task_weight: Ramp | None = None

    def compose(self, context: MethodContext) -> Composition:
        """Return the one branch, its weights filled in."""
        return Composition(branches=(part_of(self, SharedStem, **self.derived(context)),))

    def derived(self, context: MethodContext) -> dict[str, Any]:  # noqa: ARG002
        """Return the branch's options that are not the method's own."""
        raise TypeError(f"{type(self).__name__} derives nothing")


class RestoringMethod(SharedStemMethod, frozen=True):
    """A method whose modules restore something beside the contrastive loss.

    Attributes:
        decoder: one linear layer as in SimMIM (linear), a stack of deconvolutions (deconv), or
            InfoPro's bilinear resizing (interp).
        decoder_width: channels between two deconvolutions, which the paper leaves open.
        feature_dim: width of the contrastive feature, which the paper leaves open.
        temperature: temperature of the contrastive loss, which the paper leaves open.
        reconstruction_weight: alpha, the weight of the decoder at the first and at the last
            auxiliary block, linear between. The default is the paper's: 3 at the first module,
            towards 0 at the last.
    """

    decoder: Literal["linear", "deconv", "interp"] = "deconv"
    decoder_width: Positive = SharedStem().decoder_width
    feature_dim: Positive = SharedStem().feature_dim
    temperature: Factor = SharedStem().temperature
    reconstruction_weight: Ramp | None = None

    def derived(self, context: MethodContext) -> dict[str, Any]:
        """Return both weights, and no width where the decoder has none."""
        alpha, beta = reconstruction_weights(context.modules)
        width = {} if self.decoder == "deconv" else {"decoder_width": SharedStem().decoder_width}
        return width | {
            "reconstruction_weight": self.reconstruction_weight or alpha,
            "task_weight": self.task_weight or beta,
        }


@METHODS.register("swin-reconstruction")
class FeatureReconstruction(RestoringMethod, frozen=True):
    """Each module restores its own input features (Pathak et al. 2023, section 3.2).

    Attributes:
        feature_target: how features become a target in [0, 1]: sigmoid after LayerNorm
            (sigmoid-ln), sigmoid, or scaled by minimum and maximum (minmax). With raw-mse they stay
            as they are and the loss is the squared error.
    """

    feature_target: FeatureTarget = SharedStem().feature_target


@METHODS.register("swin-infopro")
class InfoProTransformer(RestoringMethod, frozen=True):
    """InfoPro-Transformer: modules restore the input image (Pathak et al. 2023, section 4.1)."""

    def derived(self, context: MethodContext) -> dict[str, Any]:
        """Return the target besides."""
        return super().derived(context) | {"target": "image"}


@METHODS.register("swin-greedy")
class GreedyCrossEntropy(SharedStemMethod, frozen=True):
    """Cross-entropy alone on the shared stem (Pathak et al. 2023, Table 4).

    Attributes:
        task_weight: weight of the cross-entropy at the first and at the last auxiliary block,
            linear between. The default is 1 everywhere.
    """

    def derived(self, context: MethodContext) -> dict[str, Any]:  # noqa: ARG002
        """Return the loss; no decoder."""
        weights = {
            "weight": self.task_weight or SharedStem().weight,
            "task_weight": SharedStem().task_weight,
        }
        return weights | {"decoder": "none", "task": "softmax"}


@METHODS.register("swin-contrast")
class GreedyContrast(SharedStemMethod, frozen=True):
    """The supervised contrastive loss alone on the shared stem (Pathak et al. 2023, Table 4).

    Attributes:
        feature_dim: width of the contrastive feature, which the paper leaves open.
        temperature: temperature of the contrastive loss, which the paper leaves open.
    """

    feature_dim: Positive = SharedStem().feature_dim
    temperature: Factor = SharedStem().temperature

    def derived(self, context: MethodContext) -> dict[str, Any]:
        """Return the weight; no decoder."""
        weight = self.task_weight or reconstruction_weights(context.modules)[1]
        return {"decoder": "none", "weight": weight, "task_weight": SharedStem().task_weight}
