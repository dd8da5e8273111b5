"""``locbench analyse``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from locbench.cli.options import RESULTS, DataRoot, Json, Results, data_root
from locbench.spec.choices import AnalysisKind

Images = Annotated[int, typer.Option(help="Test images, balanced over classes.")]
AnalysisSeed = Annotated[
    int, typer.Option("--analysis-seed", help="Of a probe's halves and of t-SNE.")
]
Target = Annotated[int, typer.Option(help="Class that t-SNE shows against the rest.")]
DataFile = Annotated[Path | None, typer.Option("--data", help="Write the numbers as CSV.")]


def analyse(
    kind: Annotated[
        AnalysisKind,
        typer.Argument(
            help="cka: similarity with the first record's network, layer by layer; probe: accuracy "
            "of a linear classifier on every layer; tsne: last features in the plane; features: "
            "maps at the ends of stages; curves: training loss by epoch."
        ),
    ],
    records: Annotated[
        list[str],
        typer.Argument(
            metavar="RECORD...", help="A record's file, its key, or a part of its name."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Draw it: FILE.png, FILE.pdf or FILE.svg.")
    ] = None,
    data: DataFile = None,
    images: Images = 2000,
    analysis_seed: AnalysisSeed = 0,
    target: Target = 0,
    root: DataRoot = None,
    results: Results = RESULTS,
    as_json: Json = False,
) -> None:
    """Analyse trained networks beyond their accuracy; all but curves take kept weights."""
    from locbench.analysis.analyses import Settings
    from locbench.commands.analyse import analyse_records
    from locbench.console import Output

    analyse_records(
        kind,
        records,
        Settings(data_root(root), images, analysis_seed, target),
        results,
        Output(as_json),
        out=out,
        data=data,
    )
