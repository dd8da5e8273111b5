"""Every method with its options, read from the structs of options."""

from __future__ import annotations

import inspect
import re
from typing import Any, Literal

import msgspec
from msgspec.inspect import (
    BoolType,
    FloatType,
    IntType,
    LiteralType,
    Metadata,
    NoneType,
    StrType,
    TupleType,
    Type,
    UnionType,
    type_info,
)

from locbench.spec.components import MOST
from locbench.spec.methods import METHODS
from locbench.spec.modifiers import MODIFIERS

_ENTRY = re.compile(r"^ {4}(?P<name>\w+): (?P<text>.*(?:\n {8,}.*)*)", re.MULTILINE)


class Option(msgspec.Struct, frozen=True):
    """An option of a method.

    Attributes:
        values: what ``--set NAME=VALUE`` takes, in words.
        default: None where it depends on network, data set and K; ``meaning`` says how.
        meaning: one or more sentences.
    """

    name: str
    values: str
    default: Any
    meaning: str


class MethodDescription(msgspec.Struct, frozen=True):
    """A name that a method expression may hold.

    Attributes:
        base: of a modifier, the base method that it works on where none is named; empty for a base.
        meaning: one sentence or more.
        plugin: that it is of; empty for locbench's own.
    """

    name: str
    kind: Literal["base", "modifier"]
    base: str
    meaning: str
    options: tuple[Option, ...]
    plugin: str = ""


def describe_methods() -> list[MethodDescription]:
    """Return all base methods, then all modifiers, each by name."""
    bases = [_described(name, METHODS[name], "base", "") for name in METHODS]
    return bases + [
        _described(name, MODIFIERS[name], "modifier", MODIFIERS[name].base) for name in MODIFIERS
    ]


def _described(
    name: str, struct: type[msgspec.Struct], kind: Literal["base", "modifier"], base: str
) -> MethodDescription:
    meanings = _meanings(struct)
    info: Any = type_info(struct)
    options = tuple(
        Option(
            field.name,
            _values(field.type),
            msgspec.to_builtins(field.default),
            _sentence(meanings.get(field.name, "")),
        )
        for field in info.fields
    )
    summary = _joined(inspect.getdoc(struct) or "").partition(" Attributes: ")[0]
    owner = (METHODS if kind == "base" else MODIFIERS).plugin_of(name)
    return MethodDescription(name, kind, base, summary, options, owner)


def _meanings(struct: type[msgspec.Struct]) -> dict[str, str]:
    """Return the entries of the docstrings' ``Attributes``, a subclass before its bases."""
    meanings: dict[str, str] = {}
    for base in reversed(struct.__mro__):
        attributes = inspect.cleandoc(base.__doc__ or "").partition("Attributes:\n")[2]
        meanings |= {match["name"]: _joined(match["text"]) for match in _ENTRY.finditer(attributes)}
    return meanings


def _joined(text: str) -> str:
    return " ".join(text.split())


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") or not text else ".")


def _values(kind: Type) -> str:
    """Return in words which values a type takes."""
    match kind:
        case Metadata(type=inner):
            return _values(inner)
        case UnionType(types=types):
            return ", or ".join(_values(each) for each in types if not isinstance(each, NoneType))
        case LiteralType(values=values):
            return ", ".join(map(str, values))
        case BoolType():
            return "true, false"
        case TupleType(item_types=items) if all(isinstance(each, FloatType) for each in items):
            return "first,last"
        case TupleType(item_types=items):
            return f"{len(items)} of them joined by commas"
        case IntType(ge=least, le=most):
            return "whole number" + _bounds(least, most, MOST)
        case FloatType(ge=least, gt=above, le=most):
            return "number" + _bounds(least, most, 1000) + (" above 0" if above == 0 else "")
        case StrType():
            return "text"
        case _:  # of a plugin; the package's own have words
            return "value"


def _bounds(least: float | None, most: float | None, endless: float) -> str:
    """Return the bounds in words; one that is only there to keep numbers sane is left out."""
    lower = f" from {least:g}" if least is not None and abs(least) < endless else ""
    return lower + (f" to {most:g}" if most is not None and most < endless else "")
