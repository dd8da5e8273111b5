"""Method expressions: base methods and modifiers joined by ``+``.

A method is written as names joined by ``+``: one base method and any number of modifiers, in any
order, for example ``dgl``, ``hpff+dgl``, ``pgl+auglocal``, ``auglocal+reconstruction``,
``pff+infopro``. Options are flat: every name accepts its own, and an option that none of the names
knows is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from locbench.errors import UsageError
from locbench.registry import suggestion
from locbench.spec.components import Composition
from locbench.spec.methods import METHODS, MethodContext
from locbench.spec.modifiers import MODIFIERS, in_order
from locbench.spec.recipe import Recipe


def compose(method: str, options: Mapping[str, object], context: MethodContext) -> Composition:
    """Return the composition that a method expression and its options stand for.

    Args:
        method: names joined by ``+``.
        options: flat option names and values.
        context: network, data set and number of modules, on which published weights depend.

    Raises:
        UsageError: a name or an option is unknown, or a value does not fit.
    """
    base, modifiers = split_expression(method)
    kinds = [METHODS[base], *(MODIFIERS[name] for name in modifiers)]
    _refuse_unknown(method, options, kinds)
    parts = [_convert(kind, options) for kind in kinds]
    composition = _composed(base, parts[0].compose(context))
    for name, part in zip(modifiers, parts[1:], strict=True):
        composition = _composed(name, part.modify(composition, context))
    return composition


def _composed(name: str, composition: object) -> Composition:
    if not isinstance(composition, Composition):
        raise UsageError(
            f"method {name!r} composes a {type(composition).__name__}",
            "Let it return a locbench.Composition.",
        )
    return composition


def backpropagation(recipe: Recipe) -> Recipe:
    """Return plain backpropagation on a recipe's network, data and batch."""
    context = MethodContext(network=recipe.network, dataset=recipe.dataset, modules=1)
    return msgspec.structs.replace(
        recipe, method="bp", modules=None, composition=compose("bp", {}, context)
    )


def split_expression(method: str) -> tuple[str, list[str]]:
    """Split ``hpff+dgl`` into its base method and its modifiers in order of application."""
    names = [name.strip() for name in method.split("+") if name.strip()]
    bases = [name for name in names if name in METHODS]
    modifiers = [name for name in names if name in MODIFIERS]
    for name in names:
        if name not in METHODS and name not in MODIFIERS:
            raise UsageError(f"unknown method {name!r}", suggestion(name, [*METHODS, *MODIFIERS]))
    if not bases and modifiers:
        bases = [MODIFIERS[in_order(modifiers)[0]].base]
    if len(bases) != 1 or len(set(names)) != len(names):
        raise UsageError(
            f"method {method!r} must name exactly one base method, and nothing twice",
            f"Base methods: {', '.join(METHODS)}. Modifiers: {', '.join(MODIFIERS)}.",
        )
    _refuse_senseless(method, bases[0], modifiers)
    return bases[0], in_order(modifiers)


def _refuse_senseless(method: str, base: str, modifiers: list[str]) -> None:
    local = [name for name in modifiers if name != "checkpointed"]
    if base == "bp" and local:
        raise UsageError(
            f"{local[0]!r} needs a local method to work on, not 'bp'",
            f"Use for example '{local[0]}+dgl'.",
        )
    if {"hpff", "pff"} <= set(modifiers):
        raise UsageError(
            f"method {method!r} asks twice for patches",
            "'hpff' brings its own: use --set pff=0 or 2.",
        )


def _refuse_unknown(method: str, options: Mapping[str, object], kinds: list[Any]) -> None:
    known = {name for kind in kinds for name in kind.__struct_fields__}
    for name in options:
        if name not in known:
            remedy = suggestion(name, sorted(known)) if known else "It takes no options."
            raise UsageError(f"method {method!r} has no option {name!r}", remedy)


def _convert(kind: Any, options: Mapping[str, object]) -> Any:
    given = {name: value for name, value in options.items() if name in kind.__struct_fields__}
    for name, value in given.items():
        try:
            msgspec.convert({name: value}, kind, strict=False)
        except msgspec.ValidationError as error:
            expected = str(error).partition(" - at ")[0]
            raise UsageError(
                f"option {name}={_word(value)} does not fit: {expected}", "Give it another value."
            ) from None
    return msgspec.convert(given, kind, strict=False)


def _word(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
