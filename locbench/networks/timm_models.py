"""Models of timm as chains: every block is a local layer, what comes before the first is the stem.

A model is traced and cut after each block that passes one tensor on; blocks that pass on several
stay together. What lies between two blocks, such as a downsampling, belongs to the later one. The
layers are timm's own under timm's names, so that weights, outputs and random draws are timm's.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from math import isqrt
from typing import Any, NamedTuple

import timm
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import _disable_current_modes

from locbench.errors import UsageError
from locbench.networks.block_copies import BlockCopy, copy_of
from locbench.networks.block_graph import LOOKED_FOR, Block, BlockGraph, blocks_of
from locbench.networks.chain import Chain, FeatureLayout, LayerSpec, no_copy
from locbench.networks.weight_files import reason
from locbench.registry import close_names
from locbench.spec.networks import TIMM, TimmFacts

CLASSES = 10
"""Of models of which only the form is looked at."""


class _Cut(NamedTuple):
    """The end of a local layer: an operation, the block that it is, and the map that it gives."""

    name: str
    block: Block | None
    channels: int
    side: int
    layout: FeatureLayout | None


@lru_cache(maxsize=64)
def facts(name: str) -> TimmFacts:
    """Return what is known of a model of timm.

    Args:
        name: timm's, such as ``resnet18``.

    Raises:
        UsageError: timm has no such model, or it is no sequence of blocks.
    """
    model = _described(name)
    config, side = model.default_cfg, _usual_side(name)
    blocks = (cut.block for cut in _cuts(name, side))
    classifiers = config.get("classifier") or ()
    return TimmFacts(
        units=len(_cuts(name, side)),
        stem=_cuts(name, side)[0].block is None,
        side=side,
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        drop_path=_takes(model, "drop_path_rate"),
        copied=all(_copy(name, each) for each in blocks if each),
        classifiers=(classifiers,) if isinstance(classifiers, str) else tuple(classifiers),
    )


def check_side(name: str, side: int) -> None:
    """Refuse an image size that a model does not take.

    Args:
        name: timm's.
        side: of the images in pixels.

    Raises:
        UsageError: the size does not fit.
    """
    patch = getattr(getattr(_described(name), "patch_embed", None), "patch_size", None) or (1,)
    if side % patch[0]:
        raise _unfit(name, side, f"its patches of {patch[0]} pixels do not divide them")
    if len(_cuts(name, side)) != facts(name).units:
        raise _unfit(name, side, "it has other local layers then")


def build(name: str, classes: int, side: int, drop_path: float = 0.0) -> Chain:
    """Return a model of timm with weights drawn as timm draws them.

    Args:
        name: timm's.
        classes: number of classes.
        side: side of the images in pixels.
        drop_path: rate of stochastic depth, as timm takes it; 0 too where the model has another.

    Raises:
        UsageError: see `facts` and `check_side`.
    """
    check_side(name, side)
    return _chain_of(_model(name, side, classes, drop_path), name, classes, side)


def _chain_of(model: nn.Module, name: str, classes: int, side: int) -> Chain:
    cuts = _cuts(name, side)
    *units, head = BlockGraph(model, blocks_of(model)).pieces([cut.name for cut in cuts])
    first = next(cut.block for cut in cuts if cut.block)
    return Chain(units, head, [_spec(name, cut, first) for cut in cuts], classes, side)


def _spec(name: str, cut: _Cut, first: Block) -> LayerSpec:
    copy = _copy(name, cut.block or first)
    return LayerSpec(
        channels=cut.channels,
        side=cut.side,
        stage=cut.block.stage if cut.block else 0,
        clone=copy.clone if copy else no_copy,
        width=copy.width if copy and cut.block else None,
        layout=cut.layout,
    )


@lru_cache(maxsize=1024)
def _copy(name: str, block: Block) -> BlockCopy | None:
    with _on_meta():
        return copy_of(_described(name).get_submodule(block.path))


def timm_names(name: str, chain: Chain) -> dict[str, str]:
    """Return the chain's name of each entry in the state dict of a model of timm.

    Args:
        name: timm's.
        chain: as `build` makes it.
    """
    with _on_meta():
        model = _model(name, chain.side, chain.classes)
        in_chain = _chain_of(model, name, chain.classes, chain.side).state_dict(keep_vars=True)
    names = {id(weights): own for own, weights in in_chain.items()}
    state = model.state_dict(keep_vars=True)
    return {key: names[id(weights)] for key, weights in state.items()}


def converted(name: str, side: int, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights of a model under timm's names, as timm converts them for a size of images.

    Args:
        name: timm's.
        side: of the images in pixels.
        state: under timm's or older names.

    Raises:
        ValueError: timm cannot convert them.
    """
    with _on_meta():
        model = _model(name, side)
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    try:
        return dict(state) if convert is None else dict(convert(dict(state), model))
    except Exception as error:  # it raises many kinds
        raise ValueError(reason(error)) from error


@lru_cache(maxsize=64)
def _cuts(name: str, side: int) -> tuple[_Cut, ...]:
    with _on_meta():
        model = _model(name, side)
        blocks = blocks_of(model)
        if len(blocks) < 2:
            raise _no_sequence(
                name, f"it has no stages or blocks (looked for: {LOOKED_FOR} that hold modules)"
            )
        graph = _graph(name, model, blocks)
        try:
            shapes = graph.shapes(torch.empty(2, 3, side, side))
        except Exception as error:  # models raise many kinds
            if side == _usual_side(name):
                raise _no_sequence(name, f"it cannot be traced: {reason(error)}") from None
            raise _unfit(name, side, reason(error)) from None
    cuts: list[_Cut] = []
    for operation, block in graph.cuts():
        form = _form(shapes.get(operation, ()), model, cuts)
        if form is not None:
            cuts.append(_Cut(operation, block, *form))
    if sum(cut.block is not None for cut in cuts) < 2 or cuts[-1].block != blocks[-1]:
        raise _no_sequence(
            name, f"more than one tensor passes between its {len(blocks)} blocks, or no square map"
        )
    try:
        pieces = graph.pieces([cut.name for cut in cuts])
    except AttributeError as error:  # a constant of the trace, which no layer holds
        raise _no_sequence(name, f"it cannot be traced: {reason(error)}") from None
    _refuse_shared(name, model, pieces)
    return tuple(cuts)


def _graph(name: str, model: nn.Module, blocks: list[Block]) -> BlockGraph:
    """Return the graph of a model, which is to be the same in training and in evaluation."""
    try:
        evaluated = BlockGraph(model.eval(), blocks)
        trained = BlockGraph(model.train(), blocks)
    except Exception as error:  # what cannot be traced raises many kinds
        raise _no_sequence(name, f"it cannot be traced: {reason(error)}") from None
    if evaluated.text != trained.text:
        raise _no_sequence(name, "it takes another path in training than in evaluation")
    return evaluated


def _form(
    shape: tuple[int, ...], model: nn.Module, before: list[_Cut]
) -> tuple[int, int, FeatureLayout | None] | None:
    """Return channels, side and layout of a map of a shape; None if it is no square map.

    Args:
        shape: batch size included.
        model: whose it is.
        before: the cuts below it, whose layout decides where channels and sides are equal.
    """
    if len(shape) == 3:
        prefix = int(getattr(model, "num_prefix_tokens", 0))
        for extra in dict.fromkeys((prefix, 0)):
            side = isqrt(max(0, shape[1] - extra))
            if side and side**2 == shape[1] - extra:
                return shape[2], side, FeatureLayout(side, extra)
        return None
    if len(shape) != 4:
        return None
    _, *sizes = shape
    last = sizes[0] == sizes[1] and (
        sizes[1] != sizes[2] or bool(before and before[-1].layout is not None)
    )
    if last:
        return sizes[2], sizes[0], FeatureLayout(sizes[0], None)
    return (sizes[0], sizes[1], None) if sizes[1] == sizes[2] else None


def _refuse_shared(name: str, model: nn.Module, pieces: list[nn.Module]) -> None:
    """Refuse parameters that two local layers share, or that none has."""
    found = [id(weights) for piece in pieces for weights in piece.parameters()]
    if len(found) != len(set(found)):
        raise _no_sequence(name, "its blocks share parameters")
    if len(found) != len(list(model.parameters())):
        raise _no_sequence(name, "it has parameters that no image reaches")


@lru_cache(maxsize=64)
def _described(name: str) -> Any:
    """Return a model on the meta device, of its own image size.

    Raises:
        UsageError: timm has no such model, or it takes no square colour images.
    """
    if not name:
        raise UsageError(f"{TIMM} names no model", f"Name one of timm's, such as {TIMM}resnet18.")
    if not timm.is_model(name):
        close = " or ".join(repr(f"{TIMM}{each}") for each in close_names(name, timm.list_models()))
        raise UsageError(
            f"timm {timm.__version__} has no model {name!r}",
            f"Did you mean {close}?" if close else "timm.list_models() in Python returns all.",
        )
    with _on_meta():
        try:
            model = timm.create_model(name, num_classes=CLASSES)
        except Exception as error:  # models raise many kinds
            raise UsageError(
                f"timm cannot build {name!r}: {reason(error)}", "Choose another network."
            ) from None
    size = tuple(model.default_cfg.get("input_size") or ())
    if len(size) != 3 or size[0] != 3 or size[1] != size[2]:
        raise _no_sequence(name, f"its images are {size} instead of 3 channels and a square")
    return model


def _model(name: str, side: int, classes: int = CLASSES, drop_path: float = 0.0) -> nn.Module:
    """Return a model of timm for images of a side in pixels.

    On fake tensors it has no values: timm computes with some while it builds.
    """
    described = _described(name)
    options: dict[str, Any] = {"num_classes": classes}
    if side != _usual_side(name) and _takes(described, "img_size"):
        options["img_size"] = side
    if drop_path or _takes(described, "drop_path_rate"):
        options["drop_path_rate"] = drop_path  # some models have one of their own
    if not isinstance(torch.empty(0), FakeTensor):
        return _created(name, side, options)
    with _on_meta():
        model = _created(name, side, options)
    for module in model.modules():
        for key, weights in module._parameters.items():
            if weights is not None:
                module._parameters[key] = nn.Parameter(_empty(weights), weights.requires_grad)
        for key, buffer in module._buffers.items():
            module._buffers[key] = None if buffer is None else _empty(buffer)
    return model


def _created(name: str, side: int, options: dict[str, Any]) -> nn.Module:
    try:
        return timm.create_model(name, **options)  # type: ignore[no-any-return]
    except Exception as error:  # models raise many kinds
        raise _unfit(name, side, reason(error)) from None


@contextmanager
def _on_meta() -> Iterator[None]:
    """Let tensors have shapes alone, whatever traces them; random numbers are left as they are."""
    with _disable_current_modes(), torch.random.fork_rng(devices=[]), torch.device("meta"):
        yield


def _empty(like: Tensor) -> Tensor:
    return torch.empty(like.shape, dtype=like.dtype)


def _usual_side(name: str) -> int:
    return int(_described(name).default_cfg["input_size"][-1])


def _takes(model: nn.Module, option: str) -> bool:
    return option in inspect.signature(type(model)).parameters


def _no_sequence(name: str, why: str) -> UsageError:
    return UsageError(
        f"timm's {name} cannot be cut into local layers: {why}",
        f"Choose a network whose blocks follow one another, such as {TIMM}resnet18 or "
        f"{TIMM}vit_small_patch16_224.",
    )


def _unfit(name: str, side: int, why: str) -> UsageError:
    usual = _usual_side(name)
    return UsageError(
        f"timm's {name} does not take images of {side} pixels: {why}",
        f"Scale them to {usual} (--image-size {usual}, with run --recipe image_size={usual}), or "
        "choose another network.",
    )
