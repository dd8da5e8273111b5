"""Tables and records built by hand for the tests of the report."""

from __future__ import annotations

from typing import Any

import msgspec

from locbench.results.record import DataUsed, Provenance, Record
from locbench.spec.recipe import Recipe
from locbench.spec.tables import Axis, Cell, Metric, Table

BASE = {
    "network": "resnet32",
    "modules": 16,
    "dataset": "cifar10",
    "epochs": 160,
    "batch_size": 1024,
    "lr": 0.8,
}
METHODS = {"DGL": "dgl", "BP": "bp", "PredSim": "predsim", "Head": "head"}


def make_table(published: dict[str, dict[str, list[str]]] | None = None, **changes: Any) -> Table:
    """Four methods by two numbers of modules, each printed as 90.00 unless ``published`` says
    otherwise.
    """
    grid = published or {"test_acc": {name: ["90.00", "80.00"] for name in METHODS}}
    known = {"test_acc": Metric(unit="%")}
    settings: dict[str, Any] = {
        "id": "example",
        "paper": "pgl",
        "number": "Table 9",
        "title": "An example",
        "source": "Nobody 2024, Table 9",
        "rows": [
            Axis(f"CIFAR-10 / {name}", {"method": method}) for name, method in METHODS.items()
        ],
        "columns": [Axis("K=16", {"modules": 16}), Axis("K=8", {"modules": 8})],
        "metrics": known,
        "published": {
            m: {f"CIFAR-10 / {row}": texts for row, texts in rows.items()}
            for m, rows in grid.items()
        },
        "recipe": BASE,
    }
    return Table(**settings | changes)


def recipe_at(table: Table, row: str, column: str = "K=16") -> Recipe:
    """The recipe of a cell; ``row`` without its prefix."""
    recipe = cell_at(table, row, column).recipe
    assert recipe is not None
    return recipe


def cell_at(table: Table, row: str, column: str = "K=16") -> Cell:
    return next(cell for cell in table.cells if cell.row.endswith(row) and cell.column == column)


# Of the tests' own, so that they do not move with the presets.
SMALL = {"batch_size": 64, "lr": 0.05, "warmup_epochs": 1, "test_every": 4}
REDUCED = {
    "quick": {"epochs": 12, "train_limit": 5000, **SMALL},
    "smoke": {"dataset": "digits", "epochs": 4, **SMALL},
}


def reduced(recipe: Recipe, how: str) -> Recipe:
    """The recipe on a reduced schedule."""
    return msgspec.structs.replace(recipe, **REDUCED[how])


def make_record(
    recipe: Recipe, accuracy: float | None = None, seed: int = 0, **changes: Any
) -> Record:
    """A finished record, or a failed one without an accuracy."""
    recipe = msgspec.structs.replace(recipe, seed=seed)
    metrics = {}
    if accuracy is not None:
        metrics = {"test_acc": accuracy, "test_err": 100 - accuracy, "best_acc": accuracy}
    provenance = {
        "device": "a processor",
        "versions": {"torch": "2.6"},
        "commit": "0123456789abcdef",
        "dirty": False,
    }
    rows: list[dict[str, float | None]] = [
        {"epoch": epoch, "test_acc": None, "seconds": 1.0} for epoch in range(1, recipe.epochs + 1)
    ]
    rows[-1]["test_acc"] = accuracy
    if accuracy is not None and len(rows) > 1 and "history" not in changes:
        rows[0]["test_acc"] = metrics["best_acc"] = min(accuracy + 0.5, 100.0)
    images = min(50000, recipe.train_limit or 50000), min(10000, recipe.test_limit or 10000)
    settings: dict[str, Any] = {
        "key": recipe.key,
        "status": "failed" if accuracy is None else "done",
        "recipe": recipe,
        "described": {},
        "metrics": metrics,
        "history": rows,
        "local_losses": [],
        "parameters": {},
        "data": DataUsed(
            recipe.dataset,
            changes.pop("label", "CIFAR-10"),
            changes.pop("fingerprint", "f00"),
            *images,
        ),
        "provenance": Provenance(
            **{"started": "2024-05-01T00:00:00", "seconds": 60.0}
            | provenance
            | changes.pop("provenance", {})
        ),
        "error": "" if accuracy is not None else "loss is nan",
    }
    return Record(**settings | changes)
