"""Modifiers of methods: further branches, HPFF's levels and patches, PGL's phases."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal, TypeAlias, get_args

import msgspec

from locbench.errors import UsageError
from locbench.registry import Registry, struct_fault
from locbench.spec.components import (
    Always,
    AnyRouting,
    Branch,
    Cascade,
    CascadeEngine,
    Checkpointed,
    Composition,
    Count,
    Cycle,
    Decoder,
    DecoderVariant,
    Fraction,
    Head,
    Isolated,
    Levels,
    Passes,
    Patches,
    Periodic,
    Positive,
    Ramp,
    SharedStem,
    Side,
    Similarity,
    Weight,
    Whole,
    part_of,
)
from locbench.spec.methods import MethodContext, PredSim
from locbench.spec.networks import NETWORKS
from locbench.spec.published_weights import infopro_nets, infopro_weights

Stage: TypeAlias = Literal["branches", "levels", "phases"]

_STAGES: tuple[Stage, ...] = get_args(Stage)


class Modifier(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The options of a modifier; ``modify`` changes a base method's composition.

    Attributes:
        changes: what it changes, which decides the order in which modifiers are applied: branches
            before levels before phases, and by name among themselves.
        base: the base method that it works on where none is named.
    """

    changes: ClassVar[Stage] = "branches"
    base: ClassVar[str] = "head"

    def modify(self, composition: Composition, context: MethodContext) -> Composition:
        """Return the composition with this modifier applied."""
        raise TypeError(f"{type(self).__name__} modifies nothing in {composition} at {context}")


MODIFIERS: Registry[type[Modifier]] = Registry(
    "method", lambda _name, modifier: struct_fault(modifier, Modifier)
)


def in_order(modifiers: Iterable[str]) -> list[str]:
    """Return names of modifiers in the order in which they are applied."""
    return sorted(modifiers, key=lambda name: (_STAGES.index(MODIFIERS[name].changes), name))


@MODIFIERS.register("checkpointed")
class Checkpointing(Modifier, frozen=True):
    """Backpropagation with gradient checkpointing over runs of residual blocks.

    Attributes:
        segments: number of runs; 0 checkpoints every block.
    """

    base = "bp"

    segments: Count = Checkpointed().segments

    def modify(self, composition: Composition, context: MethodContext) -> Composition:  # noqa: ARG002
        """Return backpropagation with recomputation."""
        if composition.branches:
            raise UsageError(
                "'checkpointed' goes with 'bp' only", "Use the method 'bp+checkpointed'."
            )
        return msgspec.structs.replace(composition, routing=part_of(self, Checkpointed))


@MODIFIERS.register("reconstruction")
class Reconstruction(Modifier, frozen=True):
    """InfoPro's decoder beside any other auxiliary net (AugLocal, appendix A.9).

    Attributes:
        reconstruction_weight: weight of the decoder at the first and at the last auxiliary net,
            linear between. The default is InfoPro's for the network, data set and K.
        decoder: how the map becomes an image: resized at once (resize), or doubled between
            convolutions (doubling). The default is resize, and doubling for ImageNet's networks.
    """

    reconstruction_weight: Ramp | None = None
    decoder: DecoderVariant | None = None

    def modify(self, composition: Composition, context: MethodContext) -> Composition:
        """Add the decoder.

        Its weights default to InfoPro's for the network, data set and K, its form likewise.
        """
        weight = (
            self.reconstruction_weight
            or infopro_weights(context.network, context.dataset, context.modules)[0]
        )
        variant = self.decoder or infopro_nets(context.network)[1]
        return _with_branch(composition, Decoder(variant=variant, weight=weight))


@MODIFIERS.register("similarity")
class SimilarityMatching(Modifier, frozen=True):
    """PredSim's similarity matching beside any other auxiliary net.

    Attributes:
        similarity: the weight of similarity matching; the other net's is scaled by 1 minus it.
    """

    similarity: Fraction = PredSim().similarity

    def modify(self, composition: Composition, context: MethodContext) -> Composition:  # noqa: ARG002
        """Add the similarity branch and scale the others down."""
        rest = round(1 - self.similarity, 12)
        scaled = tuple(
            msgspec.structs.replace(
                branch, weight=(branch.weight[0] * rest, branch.weight[1] * rest)
            )
            for branch in composition.branches
        )
        added = Similarity(weight=(self.similarity, self.similarity))
        return msgspec.structs.replace(composition, branches=(*scaled, added))


@MODIFIERS.register("hpff")
class HierarchicalPatchFeatureFusion(Modifier, frozen=True):
    """HPFF: independent and cascade levels with patch feature fusion (Su et al. 2024).

    Attributes:
        levels: which losses train: independent (IL), cascade (CL) or both. A level alone has weight
            1.
        independent_weight: weight of the independent losses when both levels train.
        cascade_weight: weight of the cascade losses when both levels train.
        official_edges: the released code's first module: without an independent loss, and, where
            every local layer is a module, of the stem and the first block.
        engine: run each module forward once (reuse), or once per loss as the released code does
            (recompute).
        pff: patches along each side; 0 turns patch feature fusion off.
        pff_scope: which auxiliary nets see patches: every one (all), or the cascade decoder alone,
            through four separate decoders, as the released code does (cascade_decoder).
        passes: keep one patch's graph at a time (two; small nets keep all), or all of them
            (retain), which gives the same gradients and saves no memory.
    """

    changes = "levels"
    base = "dgl"

    levels: Levels = Cascade().levels
    independent_weight: Weight = Cascade().independent_weight
    cascade_weight: Weight = Cascade().cascade_weight
    official_edges: bool = Cascade().official_edges
    engine: CascadeEngine = Cascade().engine
    pff: Side = Patches().n
    pff_scope: Literal["all", "cascade_decoder"] = "all"
    passes: Passes = Patches().passes

    def modify(self, composition: Composition, context: MethodContext) -> Composition:
        """Route by levels, drop the decoder from the independent one, patch auxiliary nets."""
        _refuse_shared_stem(composition, "hpff")
        branches, patches = _by_level(composition.branches, self.levels), None
        if self.pff > 1 and self.pff_scope == "all":
            patches = Patches(n=self.pff, passes=self.passes)
        elif self.pff > 1:
            branches = tuple(_in_quadrants(branch) for branch in branches)
        network = NETWORKS[context.network]
        return msgspec.structs.replace(
            composition,
            branches=branches,
            routing=self._routing(),
            patches=patches,
            join_stem=self.official_edges and network.stem and context.modules == network.units,
        )

    def _routing(self) -> AnyRouting:
        if self.levels == "IL" and not self.official_edges:
            return Isolated()  # the plain local method, and the same record
        usual = Cascade()  # a level alone has no weight
        weights = {name: getattr(usual, name) for name in ("independent_weight", "cascade_weight")}
        return part_of(self, Cascade, **({} if self.levels == "IL+CL" else weights))


@MODIFIERS.register("pff")
class PatchFeatureFusion(Modifier, frozen=True):
    """Patch feature fusion alone, on any local method (Su et al. 2024, section 3.3).

    Attributes:
        pff: patches along each side; 0 turns patch feature fusion off.
        passes: keep one patch's graph at a time (two; small nets keep all), or all of them
            (retain), which gives the same gradients and saves no memory.
    """

    changes = "levels"
    base = "dgl"

    pff: Side = Patches().n
    passes: Passes = Patches().passes

    def modify(self, composition: Composition, context: MethodContext) -> Composition:  # noqa: ARG002
        """Patch every auxiliary net."""
        _refuse_shared_stem(composition, "pff")
        patches = Patches(n=self.pff, passes=self.passes) if self.pff > 1 else None
        return msgspec.structs.replace(composition, patches=patches)


@MODIFIERS.register("pgl")
class PeriodicGlobalGuidance(Modifier, frozen=True):
    """PGL: global epochs between local ones (Bhatti & Moon 2022, section 2.2).

    Attributes:
        period: P, in epochs of the published schedule.
        duration: Q, in epochs of the published schedule; 0 is local only.
        cycle: which reading of the paper: the last Q of every P epochs are global (period), Q after
            every P (sum), or the first Q of every P once P epochs have passed (hybrid).
        schedule_epochs: length of the published schedule; a shorter run scales P and Q to its own
            length.
    """

    changes = "phases"

    period: Whole = Periodic().period
    duration: Whole = Periodic().duration
    cycle: Cycle = Periodic().cycle
    schedule_epochs: Positive = Periodic().schedule_epochs

    def modify(self, composition: Composition, context: MethodContext) -> Composition:  # noqa: ARG002
        """Let local and global phases alternate."""
        if (
            self.period < 1
            or self.duration < 0
            or (self.cycle != "sum" and self.duration > self.period)
        ):
            raise UsageError(
                f"PGL cannot guide for {self.duration} of every {self.period} epochs",
                "Set period to 1 or more and duration between 0 and period.",
            )
        if self.duration == 0:
            return msgspec.structs.replace(composition, phases=Always())
        return msgspec.structs.replace(composition, phases=part_of(self, Periodic))


def _refuse_shared_stem(composition: Composition, name: str) -> None:
    if any(
        isinstance(branch, SharedStem) and branch.decoder != "none"
        for branch in composition.branches
    ):
        raise UsageError(
            f"{name!r} cannot split what a module's decoder restores into patches",
            "Use it with 'swin-greedy', 'swin-contrast' or a convolutional method.",
        )


def _with_branch(composition: Composition, branch: Branch) -> Composition:
    return msgspec.structs.replace(composition, branches=(*composition.branches, branch))


def _in_quadrants(branch: Branch) -> Branch:
    return (
        msgspec.structs.replace(branch, quadrants=True) if isinstance(branch, Decoder) else branch
    )


def _by_level(branches: tuple[Branch, ...], levels: str) -> tuple[Branch, ...]:
    """Give a decoder to the cascade level alone; the task head has weight 1 beside it.

    That is how HPFF's code treats InfoPro, whose ramps belong to the cascade losses. With the
    independent level alone the method is the plain baseline, decoder included.
    """
    if levels == "IL" or not any(isinstance(branch, Decoder) for branch in branches):
        return branches
    levelled: list[Branch] = []
    for branch in branches:
        if levels == "IL+CL" and not isinstance(branch, Decoder):
            weight = (1.0, 1.0) if isinstance(branch, Head) else branch.weight
            levelled.append(msgspec.structs.replace(branch, level="independent", weight=weight))
        levelled.append(msgspec.structs.replace(branch, level="cascade"))
    return tuple(levelled)
