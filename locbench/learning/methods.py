"""Named methods: each name is one composition of branches, routing and phases. Imports no torch.

A method is written as names joined by ``+``: one base method and any number of modifiers, in any order, for example
``dgl``, ``hpff+dgl``, ``pgl+auglocal``, ``auglocal+reconstruction``, ``pff+infopro``. Options are flat: every name
accepts its own, and an option that none of the names knows is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_type_hints

import msgspec

from locbench.errors import UsageError
from locbench.learning.lambdas import infopro_weights
from locbench.learning.options import (
    Always,
    AnyBranch,
    AnyRouting,
    AugLocal,
    Cascade,
    Checkpointed,
    Composition,
    Decoder,
    Head,
    Isolated,
    Mlp,
    Patches,
    Periodic,
    PooledLinear,
    Ramp,
    Selection,
    Similarity,
)
from locbench.registry import Registry, suggestion


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


class Modifier(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The options of a modifier; ``modify`` changes a base method's composition.

    ``order`` says when it is applied, lowest first: branches before levels before phases.
    """

    def modify(self, composition: Composition, site: Site) -> Composition:
        """Return the composition with this modifier applied."""
        raise TypeError(f"{type(self).__name__} modifies nothing in {composition} at {site}")


METHODS: Registry[type[Method]] = Registry("method")
MODIFIERS: Registry[type[Modifier]] = Registry("method")


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

    similarity: float = 0.99
    features: int = 512
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
    decay: float = 0.5
    selection: Selection | tuple[Selection, Selection, Selection] = "uniform"
    width: float | None = None
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


@MODIFIERS.register("checkpointed")
class Checkpointing(Modifier, frozen=True):
    """Gradient checkpointing over ``segments`` runs of residual blocks; 0 checkpoints every block."""

    segments: int = 8

    def modify(self, composition: Composition, site: Site) -> Composition:  # noqa: ARG002
        """Return backpropagation with recomputation."""
        if composition.branches:
            raise UsageError("'checkpointed' goes with 'bp' only", "Use the method 'bp+checkpointed'.")
        return msgspec.structs.replace(composition, routing=Checkpointed(segments=self.segments))


@MODIFIERS.register("reconstruction")
class Reconstruction(Modifier, frozen=True):
    """InfoPro's decoder beside any other auxiliary net (AugLocal, appendix A.9)."""

    reconstruction_weight: Ramp | None = None

    def modify(self, composition: Composition, site: Site) -> Composition:
        """Add the decoder; its weights default to InfoPro's for the network, data set and K."""
        weight = self.reconstruction_weight or infopro_weights(site.network, site.dataset, site.modules)[0]
        return _with_branch(composition, Decoder(weight=weight))


@MODIFIERS.register("similarity")
class SimilarityMatching(Modifier, frozen=True):
    """PredSim's similarity branch beside any other auxiliary net, whose weight becomes 1 - ``similarity``."""

    similarity: float = 0.99

    def modify(self, composition: Composition, site: Site) -> Composition:  # noqa: ARG002
        """Add the similarity branch and scale the others down."""
        rest = round(1 - self.similarity, 12)
        scaled = tuple(
            msgspec.structs.replace(each, weight=(each.weight[0] * rest, each.weight[1] * rest))
            for each in composition.branches
        )
        added = Similarity(weight=(self.similarity, self.similarity))
        return msgspec.structs.replace(composition, branches=(*scaled, added))


@MODIFIERS.register("hpff")
class HierarchicalPatchFeatureFusion(Modifier, frozen=True):
    """HPFF: independent and cascade levels with patch feature fusion (Su et al. 2024).

    Attributes:
        levels, independent_weight, cascade_weight, official_edges, engine: as in `options.Cascade`.
        pff: patches along each side; 0 turns patch feature fusion off.
        pff_scope: ``all`` patches every auxiliary net; ``cascade_decoder`` is the released code's form, where only the
            cascade decoder sees quadrants, through four separate decoders.
        passes: as in `options.Patches`.
    """

    levels: Literal["IL", "CL", "IL+CL"] = "IL+CL"
    independent_weight: float = 0.001
    cascade_weight: float = 0.999
    official_edges: bool = False
    engine: Literal["reuse", "recompute"] = "reuse"
    pff: int = 2
    pff_scope: Literal["all", "cascade_decoder"] = "all"
    passes: Literal["two", "retain"] = "two"

    def modify(self, composition: Composition, site: Site) -> Composition:  # noqa: ARG002
        """Route by levels, drop the decoder from the independent level, and patch the auxiliary nets."""
        branches, patches = _by_level(composition.branches, self.levels), None
        if self.pff > 1 and self.pff_scope == "all":
            patches = Patches(n=self.pff, passes=self.passes)
        elif self.pff > 1:
            branches = tuple(_in_quadrants(each) for each in branches)
        return msgspec.structs.replace(composition, branches=branches, routing=self._routing(), patches=patches)

    def _routing(self) -> AnyRouting:
        if self.levels == "IL" and not self.official_edges:
            return Isolated()  # the plain local method, and the same record
        if self.levels != "IL+CL":
            return Cascade(levels=self.levels, official_edges=self.official_edges, engine=self.engine)
        return Cascade(
            independent_weight=self.independent_weight,
            cascade_weight=self.cascade_weight,
            official_edges=self.official_edges,
            engine=self.engine,
        )


@MODIFIERS.register("pff")
class PatchFeatureFusion(Modifier, frozen=True):
    """Patch feature fusion alone, on any local method (Su et al. 2024, section 3.3)."""

    pff: int = 2
    passes: Literal["two", "retain"] = "two"

    def modify(self, composition: Composition, site: Site) -> Composition:  # noqa: ARG002
        """Patch every auxiliary net."""
        return msgspec.structs.replace(composition, patches=Patches(n=self.pff, passes=self.passes))


@MODIFIERS.register("pgl")
class PeriodicGlobalGuidance(Modifier, frozen=True):
    """PGL: periodic global epochs (Bhatti & Moon 2022); options as in `options.Periodic`; duration 0 is local only."""

    period: int = 10
    duration: int = 2
    cycle: Literal["period", "sum", "hybrid"] = "period"
    schedule_epochs: int = 160

    def modify(self, composition: Composition, site: Site) -> Composition:  # noqa: ARG002
        """Let local and global phases alternate."""
        if self.period < 1 or self.duration < 0 or (self.cycle != "sum" and self.duration > self.period):
            raise UsageError(
                f"PGL cannot guide for {self.duration} of every {self.period} epochs",
                "Set period to 1 or more and duration between 0 and period.",
            )
        if self.duration == 0:
            return msgspec.structs.replace(composition, phases=Always())
        phases = Periodic(self.period, self.duration, self.cycle, self.schedule_epochs)
        return msgspec.structs.replace(composition, phases=phases)


_ORDER = ("checkpointed", "reconstruction", "similarity", "hpff", "pff", "pgl")
_DEFAULT_BASE = {"hpff": "dgl", "pff": "dgl", "pgl": "head", "checkpointed": "bp", "reconstruction": "head"}


def compose(method: str, options: Mapping[str, object], site: Site) -> Composition:
    """Return the composition that a method expression and its options stand for.

    Args:
        method: names joined by ``+``.
        options: flat option names and values.
        site: network, data set and number of modules, on which published weights depend.

    Raises:
        UsageError: a name or an option is unknown, or a value does not fit.
    """
    base, modifiers = split_expression(method)
    kinds = [METHODS[base], *(MODIFIERS[name] for name in modifiers)]
    _refuse_unknown(method, options, kinds)
    parts = [_convert(kind, options) for kind in kinds]
    composition: Composition = parts[0].compose(site)
    for part in parts[1:]:
        composition = part.modify(composition, site)
    return composition


def split_expression(method: str) -> tuple[str, list[str]]:
    """Split ``hpff+dgl`` into its base method and its modifiers in order of application."""
    names = [name.strip() for name in method.split("+") if name.strip()]
    bases = [name for name in names if name in METHODS]
    modifiers = [name for name in names if name in MODIFIERS]
    for name in names:
        if name not in METHODS and name not in MODIFIERS:
            raise UsageError(f"unknown method {name!r}", suggestion(name, [*METHODS, *MODIFIERS]))
    if not bases and modifiers:
        first = min(modifiers, key=_ORDER.index)
        bases = [_DEFAULT_BASE.get(first, "head")]
    if len(bases) != 1 or len(set(names)) != len(names):
        raise UsageError(
            f"method {method!r} must name exactly one base method, and nothing twice",
            f"Base methods: {', '.join(METHODS)}. Modifiers: {', '.join(MODIFIERS)}.",
        )
    _refuse_senseless(method, bases[0], modifiers)
    return bases[0], sorted(modifiers, key=_ORDER.index)


def _refuse_senseless(method: str, base: str, modifiers: list[str]) -> None:
    local = [name for name in modifiers if name != "checkpointed"]
    if base == "bp" and local:
        raise UsageError(
            f"{local[0]!r} needs a local method to work on, not 'bp'", f"Use for example '{local[0]}+dgl'."
        )
    if {"hpff", "pff"} <= set(modifiers):
        raise UsageError(f"method {method!r} asks twice for patches", "'hpff' brings its own: use --set pff=0 or 2.")


def option_types(method: str) -> dict[str, object]:
    """Return every option that a method expression accepts, with its type."""
    base, modifiers = split_expression(method)
    types: dict[str, object] = {}
    for kind in [METHODS[base], *(MODIFIERS[name] for name in modifiers)]:
        types.update({name: get_type_hints(kind)[name] for name in kind.__struct_fields__})
    return types


def _refuse_unknown(method: str, options: Mapping[str, object], kinds: list[Any]) -> None:
    known = {name for kind in kinds for name in kind.__struct_fields__}
    for name in options:
        if name not in known:
            remedy = suggestion(name, sorted(known)) if known else "It takes no options."
            raise UsageError(f"method {method!r} has no option {name!r}", remedy)


def _convert(kind: Any, options: Mapping[str, object]) -> Any:
    own = {name: value for name, value in options.items() if name in kind.__struct_fields__}
    try:
        return msgspec.convert(own, kind, strict=False)
    except msgspec.ValidationError as error:
        raise UsageError(f"bad option for {kind.__name__}: {error}", f"It was given {own}.") from None


def _with_branch(composition: Composition, branch: AnyBranch) -> Composition:
    return msgspec.structs.replace(composition, branches=(*composition.branches, branch))


def _in_quadrants(branch: AnyBranch) -> AnyBranch:
    return msgspec.structs.replace(branch, quadrants=True) if isinstance(branch, Decoder) else branch


def _by_level(branches: tuple[AnyBranch, ...], levels: str) -> tuple[AnyBranch, ...]:
    """Give a decoder to the cascade level alone; beside it the task head keeps weight 1 at the independent level.

    That is how HPFF's code treats InfoPro, whose ramps belong to the cascade losses. With the independent level alone
    the method is the plain baseline, decoder included.
    """
    if levels == "IL" or not any(isinstance(each, Decoder) for each in branches):
        return branches
    levelled: list[AnyBranch] = []
    for each in branches:
        if levels == "IL+CL" and not isinstance(each, Decoder):
            weight = (1.0, 1.0) if isinstance(each, Head) else each.weight
            levelled.append(msgspec.structs.replace(each, level="independent", weight=weight))
        levelled.append(msgspec.structs.replace(each, level="cascade"))
    return tuple(levelled)
