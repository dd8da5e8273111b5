"""An invented table of accuracies by method and number of modules."""

from __future__ import annotations

from typing import Any

from locbench.spec.tables import Axis, Metric, Table

ROWS = {
    "CIFAR-10 / ResNet-32 / DGL": {"method": "dgl"},
    "CIFAR-10 / ResNet-32 / DGL*": {"method": "hpff+dgl"},
    "CIFAR-10 / ResNet-32 / PredSim": {"method": "predsim"},
    "SVHN / ResNet-32 / DGL": {"method": "dgl", "dataset": "svhn"},
    "SVHN / ResNet-32 / DGL*": {"method": "hpff+dgl", "dataset": "svhn"},
    "Backprop": {"method": "bp"},
}
COLUMNS = ["J=16", "J=8", "J=1,2"]


def make_table(**changes: Any) -> Table:
    settings: dict[str, Any] = {
        "id": "example",
        "paper": "hpff",
        "number": "Table 9",
        "title": "An example",
        "source": "Nobody 2024, Table 9",
        "trials": 3,
        "rows": [Axis(label, recipe, alone=label == "Backprop") for label, recipe in ROWS.items()],
        "columns": [
            Axis(label, {"modules": modules})
            for label, modules in zip(COLUMNS, (16, 8, 2), strict=True)
        ],
        "metrics": {"test_err": Metric("%", better="lower")},
        "published": {
            "test_err": {
                row: ["9.0"] if row == "Backprop" else ["9.0", "8.0", "7.0"] for row in ROWS
            }
        },
        "recipe": {
            "network": "resnet32",
            "dataset": "cifar10",
            "epochs": 400,
            "batch_size": 1024,
            "lr": 0.8,
        },
    }
    settings["published"]["test_err"]["Backprop"] = ["9.0", "", ""]
    return Table(**settings | changes)
