"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class PrecisionName(StrEnum):
    """Arithmetic of the training step."""

    fp32 = "fp32"
    tf32 = "tf32"
    bf16 = "bf16"


class MemoryName(StrEnum):
    """Whether a training step keeps what it can compute again."""

    plain = "plain"
    lean = "lean"


class PresetName(StrEnum):
    """Length of the schedule."""

    smoke = "smoke"
    quick = "quick"
    paper = "paper"


class AutogradName(StrEnum):
    """Whose rules of what is kept for the backward pass."""

    current = "current"
    legacy = "torch<=1.10"


class EngineName(StrEnum):
    """How training steps are run."""

    auto = "auto"
    eager = "eager"
    compiled = "compiled"
    graphed = "graphed"


class InitName(StrEnum):
    """Initial weights."""

    pretrained = "pretrained"
    torchvision = "torchvision"
    scratch = "scratch"


class RerunName(StrEnum):
    """Which recorded cells run again."""

    failed = "failed"
    all = "all"


Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ... or auto.")]
Devices = Annotated[
    str, typer.Option(help="cpu, cuda, cuda:1, ... or auto; cuda:0,cuda:1 or all train on several side by side.")
]
JobsPerDevice = Annotated[int, typer.Option(help="Cells at a time on each device; their times are marked as shared.")]
DataRoot = Annotated[
    Path | None, typer.Option("--data-root", help="Folder of the data sets.", show_default="$LOCBENCH_DATA or .data")
]
Results = Annotated[Path, typer.Option(help="Folder of the records and reports.")]
Download = Annotated[bool, typer.Option("--download", help="Fetch a data set that is missing.")]
Precision = Annotated[PrecisionName | None, typer.Option(help="Arithmetic of the training step.", show_default="fp32")]
Memory = Annotated[
    MemoryName | None,
    typer.Option(help="lean: less memory, some layers run twice; for isolated modules and bp.", show_default="plain"),
]
Engine = Annotated[
    EngineName, typer.Option(help="How steps are run, to the same numbers; auto: the fastest that is safe there.")
]
RESULTS = Path("results")


def data_root(given: Path | None) -> Path:
    """Return the folder of the data sets."""
    from locbench.datasets.catalogue import default_root

    return given or default_root()
