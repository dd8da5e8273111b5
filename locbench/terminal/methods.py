"""How methods and their options are printed."""

from __future__ import annotations

from collections.abc import Sequence

from locbench.console import Terminal
from locbench.spec.arguments import value_words
from locbench.spec.method_options import MethodDescription, Option
from locbench.terminal.lines import hang, say

KINDS = {
    "base": "Base methods: a method names exactly one of them",
    "modifier": "Modifiers: joined to a base by +, in any order, as in hpff+dgl or pgl+auglocal",
}


def print_methods(console: Terminal, methods: Sequence[MethodDescription]) -> None:
    """Print every method with its options, their defaults and their meaning."""
    say(console, "Options are set with --set NAME=VALUE.")
    for kind, title in KINDS.items():
        say(console, "")
        hang(console, "", title)
        for method in methods:
            if method.kind == kind:
                say(console, f"\n{_heading(method)}", "bold")
                hang(console, "  ", method.meaning)
                width = max((len(option.name) for option in method.options), default=0)
                for option in method.options:
                    hang(console, f"  {option.name.ljust(width)}  ", _words(option))


def _heading(method: MethodDescription) -> str:
    alone = f" (alone: {method.name}+{method.base})" if method.base else ""
    return f"{method.name}{alone}" + f" (plugin {method.plugin})" * bool(method.plugin)


def _words(option: Option) -> str:
    default = "" if option.default is None else f" (default {value_words(option.default)})"
    return f"{option.values}{default}. {option.meaning}"
