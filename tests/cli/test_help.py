"""What ``--help`` prints: every option has its text, every default is shown, with the oldest typer
and the newest.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
import typer.main

from locbench.cli.app import app

GROUP: Any = typer.main.get_command(app)
PARAMETERS = [
    (name, each)
    for name, command in GROUP.commands.items()
    for each in command.params
    if each.name != "help"
]


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    """Return what each command prints, its lines joined and its frames left out."""
    from typer.testing import CliRunner

    found = {}
    for name in GROUP.commands:
        done = CliRunner(env={"COLUMNS": "300", "TERMINAL_WIDTH": "300"}).invoke(
            app, [name, "--help"]
        )
        assert done.exit_code == 0
        found[name] = re.sub(r"[│\s]+", " ", done.output)
    return found


@pytest.mark.parametrize(
    ("command", "parameter"), PARAMETERS, ids=[f"{name}-{each.name}" for name, each in PARAMETERS]
)
def test_text_and_default_are_printed(pages: dict[str, str], command: str, parameter: Any) -> None:
    page, text = pages[command], parameter.help
    assert text
    assert text.endswith(".")
    assert " ".join(text.split()) in page
    default = parameter.show_default
    if isinstance(default, str):
        assert f"{text} [default: ({default})]" in page
    elif (
        parameter.default is not None
        and not isinstance(parameter.default, bool)
        and not parameter.required
    ):
        assert f"{text} [default: {getattr(parameter.default, 'value', parameter.default)}]" in page


@pytest.mark.parametrize("command", GROUP.commands)
def test_no_markup_is_lost_and_no_full_stop_left(pages: dict[str, str], command: str) -> None:
    assert " . " not in pages[command]
    assert "[default: ]" not in pages[command]


DEFAULTS = {
    "run": [
        "(160, or 4 on digits)",
        "(the papers' for the data set)",
        "(the papers', scaled to the batch)",
        "digits",
    ],
    "table": [
        "(the paper's; 1 if reduced)",
        "(fp32)",
        "(plain)",
        "($LOCBENCH_DATA or .data)",
        "paper",
        "(if it is a GPU)",
    ],
    "bench": ["(a standard list)", "(1024, on the CPU 128)", "(all that can run)", "10.0"],
    "campaign": ["(CIFAR-10 cells of three papers)", "30min"],
    "report": ["(all with records)", "($LOCBENCH_RESULTS or results)"],
    "costs": ["(every local layer)", "(cifar10)"],
    "fit": ["(every local layer)", "cifar10"],
}


@pytest.mark.parametrize("command", DEFAULTS)
def test_defaults_by_hand(pages: dict[str, str], command: str) -> None:
    assert [each for each in DEFAULTS[command] if f"[default: {each}]" not in pages[command]] == []


MANUAL = {
    "table": [
        "400 for ImageNet",
        "torchrun --nproc-per-node N",
        "the extra coco of this package",
        "IMAGENET1K_V1",
    ],
    "run": ["`locbench list --methods`", "graphed makes a whole step one CUDA graph"],
    "campaign": ["results/checks"],
    "costs": ["rounded up to 512 bytes", "raised by hand"],
    "data": ["imagefolder:PATH", "CIFAR-10 (JPEG q75)"],
    "splits": ["--recipe split=3,4,9"],
    "bench": ["one unfused SGD per module"],
}


@pytest.mark.parametrize("command", MANUAL)
def test_the_manual_stands_below_the_options(pages: dict[str, str], command: str) -> None:
    assert [words for words in MANUAL[command] if words not in pages[command]] == []
