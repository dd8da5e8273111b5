"""Parts of methods as data: branches of the auxiliary loss, routing, phases.

Every class here is frozen and canonical: two recipes that train the same thing encode to the same
bytes, whatever names the user called them by. Values equal to a default are left out of the
encoding, so an option can be added later without changing the key of any record; a default, once
published, never changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypeAlias, TypeVar

import msgspec

from locbench.registry import Registry, Target, struct_fault, suggestion

MOST = 100_000
"""Largest count that a method takes: far beyond any network, and nothing that never ends."""

Weight: TypeAlias = Annotated[float, msgspec.Meta(ge=0.0)]

Ramp: TypeAlias = tuple[Weight, Weight]
"""A weight that runs linearly from the first local module to the last one that carries an auxiliary
net.
"""

Fraction: TypeAlias = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]

Factor: TypeAlias = Annotated[float, msgspec.Meta(gt=0.0, le=1000.0)]

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=MOST)]

Positive: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=MOST)]

Whole: TypeAlias = Annotated[int, msgspec.Meta(ge=-MOST, le=MOST)]

Side: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=64)]

Level: TypeAlias = Literal["both", "independent", "cascade"]


class Part(
    msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, tag_field="kind"
):
    """A part of a method; its tag is the name of its builder."""


P = TypeVar("P", bound=Part)


def part_of(options: msgspec.Struct, kind: type[P], **changes: Any) -> P:
    """Return a part that has the options of the same names, apart from the changes."""
    names = set(kind.__struct_fields__) & set(options.__struct_fields__) - changes.keys()
    return kind(**{name: getattr(options, name) for name in names}, **changes)


class Branch(Part, frozen=True, kw_only=True):
    """A branch of the auxiliary loss of a local module: a net, a criterion and a weight.

    Attributes:
        weight: the branch's weight at the first and at the last auxiliary net, linear between
            (InfoPro, eq. 7).
        level: which of HPFF's losses the branch belongs to; outside HPFF only the independent level
            exists.
    """

    weight: Ramp = (1.0, 1.0)
    level: Level = "both"


B = TypeVar("B", bound=Branch)


class BranchKind(NamedTuple):
    """What a branch's tag stands for.

    Attributes:
        options: the struct of its options.
        net: makes of the options and an `AttachPoint` an `AuxiliaryNet`.
    """

    options: type[Branch]
    net: Target


class Branches(Registry[BranchKind]):
    """The kinds of branches by tag."""

    def built_by(self, net: Target) -> Callable[[type[B]], type[B]]:
        """Return a decorator that registers a struct of options with what builds its net.

        Args:
            net: see `BranchKind`.
        """

        def decorate(options: type[B]) -> type[B]:
            tag = getattr(options, "__struct_config__", None) and options.__struct_config__.tag
            self.add(str(tag or getattr(options, "__name__", options)), BranchKind(options, net))
            return options

        return decorate

    def decode(self, plain: object) -> Branch:
        """Return a branch from its encoding, or the branch itself.

        Raises:
            ValueError: it is none that is registered, or an option does not fit.
        """
        if isinstance(plain, Branch) and str(plain.__struct_config__.tag) in self:
            return plain
        config = Branch.__struct_config__
        tag = plain.get(config.tag_field) if isinstance(plain, dict) else type(plain).__name__
        if not isinstance(tag, str) or tag not in self:
            raise ValueError(f"unknown {self.kind} {tag!r}. {suggestion(str(tag), self)}")
        try:
            return msgspec.convert(plain, self[tag].options)
        except msgspec.ValidationError as error:
            raise ValueError(f"{self.kind} {tag!r}: {error}") from None


def _branch_fault(_name: str, kind: BranchKind) -> str:
    if fault := struct_fault(kind.options, Branch):
        return fault
    called = isinstance(kind.net, str) or callable(kind.net)
    return "" if called else f"what builds its net is no function and no class: {kind.net!r}"


BRANCHES = Branches("auxiliary branch", _branch_fault)


MlpVariant: TypeAlias = Literal["auglocal", "official", "mlp", "cnn"]


@BRANCHES.built_by("locbench.learning.auxiliary.dgl:build")
class Mlp(Branch, frozen=True, tag="mlp"):
    """DGL's auxiliary net, MLP-SR: pooled 1x1 convolutions, then linear layers (Belilovsky 2020).

    The variants are described where the method is: `methods.DecoupledGreedyLearning`.
    """

    variant: MlpVariant = "auglocal"


@BRANCHES.built_by("locbench.learning.auxiliary.predsim:build_pooled_linear")
class PooledLinear(Branch, frozen=True, tag="pooled-linear"):
    """PredSim's classifier: pooling to at most ``features`` inputs, then one linear layer."""

    features: int = 512
    zero_init: bool = False


@BRANCHES.built_by("locbench.learning.auxiliary.predsim:build_similarity")
class Similarity(Branch, frozen=True, tag="similarity"):
    """PredSim's similarity matching: a 3x3 convolution, compared with the labels' similarity."""


HeadNet: TypeAlias = Literal[
    "0C1F", "0C2F", "1C1F", "1C2F", "1C3F", "2C1F", "2C2F", "2C3F", "adapt", "imagenet"
]
HeadLoss: TypeAlias = Literal["softmax", "contrast"]


@BRANCHES.built_by("locbench.learning.auxiliary.infopro:build_head")
class Head(Branch, frozen=True, tag="head"):
    """InfoPro's ``xCyF`` heads, which PGL uses too; ``adapt`` is PGL's Aux-Adapt, by stage.

    ``imagenet`` is InfoPro's head on ImageNet, which narrows the map to four times fewer channels,
    strides twice and widens to 2048.

    Attributes:
        net: number of 3x3 convolutions (0-2) and of linear layers (1-3), or one of the other two.
        loss: cross-entropy on class scores, or the supervised contrastive loss on a normalised
            feature.
        feature_dim: width of the hidden linear layers and of the contrastive feature.
        literal_stem: Aux-Adapt only: give the stem's cut the 16-channel net as the paper's text
            says.
    """

    net: HeadNet = "1C2F"
    loss: HeadLoss = "softmax"
    feature_dim: int = 128
    temperature: float = 0.07
    literal_stem: bool = False


DecoderVariant: TypeAlias = Literal["resize", "doubling"]


@BRANCHES.built_by("locbench.learning.auxiliary.infopro:build_decoder")
class Decoder(Branch, frozen=True, tag="decoder"):
    """InfoPro's reconstruction of the input image from the module's output.

    Attributes:
        quadrants: the form of HPFF's released code: four separate decoders, one per image quadrant,
            losses summed.
        variant: ``resize`` brings the map to the image's size at once; ``doubling``, InfoPro's
            decoder on ImageNet, doubles it between convolutions.
    """

    quadrants: bool = False
    variant: DecoderVariant = "resize"


Selection: TypeAlias = Literal[
    "uniform",
    "sequential",
    "repetitive",
    "repetitive-downsampled",
    "conv1x1",
    "conv3x3",
    "conv3x3-plain",
    "dgl",
]


@BRANCHES.built_by("locbench.learning.auxiliary.auglocal:build")
class AugLocal(Branch, frozen=True, tag="auglocal"):
    """AugLocal's auxiliary net: fresh copies of later layers (Ma et al. 2024, section 3.2).

    Its fields are described where the method is: `methods.AugLocalMethod`.
    """

    depth: int = 2
    decay: float = 0.5
    selection: Selection | tuple[Selection, Selection, Selection] = "uniform"
    width: float | None = None
    head_bn: bool = True


FeatureTarget: TypeAlias = Literal["sigmoid-ln", "sigmoid", "minmax", "raw-mse"]


@BRANCHES.built_by("locbench.learning.auxiliary.swin:build")
class SharedStem(Branch, frozen=True, tag="shared-stem"):
    """The auxiliary block of Swin feature reconstruction (Pathak et al. 2023, section 3.2).

    LayerNorm and a convolution feed a task branch and, unless ``decoder`` is ``none``, a decoder.

    The other fields are described where the methods are: `methods.RestoringMethod`.

    Attributes:
        target: what the decoder restores: the module's input features, or the input image
            (InfoPro-Transformer).
        task: the supervised contrastive loss on a feature, or cross-entropy on class scores.
    """

    decoder: Literal["none", "linear", "deconv", "interp"] = "deconv"
    target: Literal["features", "image"] = "features"
    feature_target: FeatureTarget = "sigmoid-ln"
    task: Literal["contrast", "softmax"] = "contrast"
    reconstruction_weight: Ramp = (1.0, 1.0)
    task_weight: Ramp = (1.0, 1.0)
    feature_dim: int = 128
    temperature: float = 0.07
    stem_width: float = 0.5
    decoder_width: int = 256


if TYPE_CHECKING:
    _AnyBranch: TypeAlias = Branch
else:
    # Which structs there are is known where one is decoded: plugins register theirs.
    _AnyBranch = Any


Passes: TypeAlias = Literal["two", "retain"]


class Patches(Part, frozen=True, tag="patches"):
    """HPFF's patch feature fusion: auxiliary nets see n x n patches and are averaged.

    Su et al. 2024, section 3.3; its fields are described where the method is:
    `modifiers.PatchFeatureFusion`.
    """

    n: int = 2
    passes: Passes = "two"


class Isolated(Part, frozen=True, tag="isolated"):
    """Each local module is trained by its own loss.

    No gradient crosses a cut. One module alone is backpropagation.
    """


class Checkpointed(Part, frozen=True, tag="checkpointed"):
    """Backpropagation with gradient checkpointing: the residual blocks in ``segments`` runs.

    0 means block by block.
    """

    segments: int = 8


Levels: TypeAlias = Literal["IL", "CL", "IL+CL"]


CascadeEngine: TypeAlias = Literal["reuse", "recompute"]


class Cascade(Part, frozen=True, tag="cascade"):
    """HPFF's two levels over windows of two modules (Su et al. 2024, section 3.2).

    Its fields are described where the method is: `modifiers.HierarchicalPatchFeatureFusion`.
    ``official_edges`` leaves out the first module's independent loss alone; what the released code
    does besides is `Composition.join_stem`.
    """

    levels: Levels = "IL+CL"
    independent_weight: float = 0.001
    cascade_weight: float = 0.999
    official_edges: bool = False
    engine: CascadeEngine = "reuse"


AnyRouting: TypeAlias = Isolated | Checkpointed | Cascade


class Always(Part, frozen=True, tag="always"):
    """The same routing in every step."""


Cycle: TypeAlias = Literal["period", "sum", "hybrid"]


class Periodic(Part, frozen=True, tag="periodic"):
    """PGL: global epochs between local ones (Bhatti & Moon 2022, section 2.2).

    Its fields are described where the method is: `modifiers.PeriodicGlobalGuidance`.
    """

    period: int = 10
    duration: int = 2
    cycle: Cycle = "period"
    schedule_epochs: int = 160


AnyPhases: TypeAlias = Always | Periodic


class Composition(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A whole method: what hangs on a cut, which gradient reaches which module, and when.

    Attributes:
        branches: branches of the auxiliary loss; none for backpropagation.
        merge_top: number of top local layers that lose their own auxiliary net and join the last
            module (AugLocal).
        end_to_end: the partition has one module, whatever K the recipe asks for.
        join_stem: the stem and the first block are one module, while ramps of weights run as if
            they were two: so HPFF's released code cuts ResNet-32 at K = 16 and ResNet-110 at K =
            55, and divides by K - 2.
    """

    branches: tuple[_AnyBranch, ...] = ()
    patches: Patches | None = None
    routing: AnyRouting = Isolated()
    phases: AnyPhases = Always()
    merge_top: int = 0
    end_to_end: bool = False
    join_stem: bool = False

    def __post_init__(self) -> None:
        """Decode the branches by their tags.

        Raises:
            ValueError: see `Branches.decode`.
        """
        msgspec.structs.force_setattr(self, "branches", tuple(map(BRANCHES.decode, self.branches)))
