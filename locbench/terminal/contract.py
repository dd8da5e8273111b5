"""How the findings of a contract are printed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from locbench.console import Terminal
from locbench.contract.findings import Finding
from locbench.terminal.lines import hang, say


class Checked(Protocol):
    """A component and what its contract found."""

    @property
    def kind(self) -> str:
        """Method, network and so on."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def plugin(self) -> str:
        """The plugin that it is of; empty for locbench's own."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """One per check."""


def print_check(console: Terminal, checked: Sequence[Checked]) -> None:
    """Print what holds of each component and what fails, a sentence each."""
    for each in checked:
        owner = f", of the plugin {each.plugin}" if each.plugin else ""
        say(console, f"{each.kind} {each.name}{owner}", "bold")
        for finding in each.findings:
            if finding.fault:
                hang(console, "  FAILS  ", f"{finding.holds}: {finding.fault}")
            else:
                hang(console, "  holds  ", finding.holds)
    total = [finding for each in checked for finding in each.findings]
    kept = sum(not finding.fault for finding in total)
    say(console, f"{kept} of {len(total)} checks hold.")
