"""The published numbers: how many, which, and which cells share a record."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

import pytest

from locbench.datasets.catalogue import names
from locbench.spec.expression import compose
from locbench.spec.methods import MethodContext
from locbench.spec.table_files import load_table, table_ids
from locbench.spec.tables import Cell, Table

VALUES = {
    "pgl-blocks": 68,
    "pgl-costs": 63,
    "pgl-period": 13,
    "auglocal-depth": 54,
    "auglocal-aux": 40,
    "auglocal-auxnets": 9,
    "auglocal-matched-flops": 20,
    "auglocal-infopro": 16,
    "hpff-benchmarks": 78,
    "hpff-imagenet": 24,
    "hpff-ablation": 12,
    "hpff-pff": 12,
    "hpff-memory": 14,
    "auglocal-memory": 9,
    "auglocal-costs": 39,
    "auglocal-vgg19": 12,
    "auglocal-convnets": 15,
    "auglocal-imagenet": 14,
    "auglocal-pyramid": 25,
    "auglocal-coco": 12,
    "swin-splits": 9,
    "swin-tiny-pretrained": 55,
    "swin-tiny-scratch": 33,
    "swin-losses": 8,
    "swin-base": 9,
    "swin-large": 9,
}
RUNS = {
    "pgl-blocks": 68,
    "pgl-costs": 21,
    "pgl-period": 13,
    "auglocal-depth": 54,
    "auglocal-aux": 40,
    "auglocal-auxnets": 4,
    "auglocal-matched-flops": 20,
    "auglocal-ablation": 7,
    "auglocal-infopro": 16,
    "hpff-benchmarks": 78,
    "hpff-imagenet": 12,
    "hpff-ablation": 8,
    "hpff-pff": 6,
    "hpff-memory": 14,
    "auglocal-memory": 9,
    "auglocal-costs": 10,
    "auglocal-vgg19": 12,
    "auglocal-convnets": 15,
    "auglocal-imagenet": 7,
    "auglocal-pyramid": 25,
    "auglocal-coco": 2,
    "swin-splits": 9,
    "swin-tiny-pretrained": 44,
    "swin-tiny-scratch": 33,
    "swin-losses": 4,
    "swin-base": 6,
    "swin-large": 6,
}
TABLES = sorted(RUNS)
CONVOLUTIONAL = [table_id for table_id in TABLES if not table_id.startswith("swin-")]
R32 = "CIFAR-10 / ResNet-32"
R110_K55 = "CIFAR-10 / ResNet-110 K=55"
DGL_ABLATION = "CIFAR-10 / ResNet-32 K=16 / DGL"

# Typed from the papers, apart from the files. (table, row, column, metric, printed)
SPOT = [
    ("pgl-blocks", f"{R32} / PGL (2Conv-2FC)", "J=4", "test_acc", "91.62"),
    ("pgl-blocks", "CIFAR-10 / ResNet-110 / Backprop", "Backprop", "test_acc", "93.39"),
    ("pgl-blocks", "SVHN / ResNet-110 / InfoPro", "J=8", "test_acc", "95.97"),
    ("pgl-blocks", "STL-10 / ResNet-110 / DGL (Baseline)", "J=4", "test_acc", "72.65"),
    ("pgl-costs", f"{R32} / PGL (2Conv-2FC)", "J=16", "params", "1.24"),
    ("pgl-costs", f"{R32} / InfoPro (SOTA)", "J=8", "gpu_memory", "2.96"),
    ("pgl-costs", "Backprop", "J=16", "test_acc", "93.4"),
    ("auglocal-depth", "ResNet-32 / DGL", "STL-10", "test_acc", "73.13 ± 1.08"),
    ("auglocal-depth", "ResNet-110 / PredSim", "SVHN", "test_acc", "89.90 ± 0.76"),
    ("auglocal-depth", "ResNet-32 / AugLocal d=4", "CIFAR-10", "test_acc", "93.08 ± 0.10"),
    ("auglocal-aux", "C1x1", "d=4", "test_acc", "88.40 ± 0.51"),
    ("auglocal-aux", "Seq.", "d=9", "test_acc", "91.85 ± 0.04"),
    ("auglocal-auxnets", "Stage 2", "InfoPro", "architecture", "64C3-AP-128FC-10FC / 12C3-3C3"),
    ("auglocal-matched-flops", "PredSim", "d=5", "test_acc", "88.27 ± 0.72"),
    ("auglocal-matched-flops", "InfoPro", "d=2", "test_acc", "83.71 ± 0.20"),
    ("auglocal-ablation", "Replace with repe. in Stage 2", "Acc.", "test_acc", "91.73 ± 0.11"),
    (
        "auglocal-ablation",
        "Replace with repe. in Stage 1",
        "Stage 3",
        "architecture",
        "Uniform Selection",
    ),
    ("auglocal-infopro", "CE + reconstruction", "d=3", "test_acc", "92.75 ± 0.50"),
    ("auglocal-vgg19", "SVHN", "DGL", "test_acc", "96.63 ± 0.08"),
    ("auglocal-convnets", "RegNetX_400MF", "AugLocal d=5", "test_acc", "95.09 ± 0.10"),
    ("auglocal-imagenet", "VGG13 / AugLocal", "Top-1 Acc.", "test_acc", "70.92"),
    ("auglocal-imagenet", "ResNet-101 / AugLocal", "Top-5 Acc.", "top5_acc", "93.29"),
    ("auglocal-coco", "AugLocal", "Box AP75", "box_ap75", "39.1"),
    ("auglocal-coco", "BP", "Mask AP", "mask_ap", "33.8"),
    ("hpff-imagenet", "VGG13 K=10 / DGL*", "Top1-Error", "top1_err", "32.49"),
    ("hpff-imagenet", "ResNet-101 K=4 / InfoPro", "Top5-Error", "top5_err", "6.54"),
    ("hpff-benchmarks", "CIFAR-10 / PredSim*", "ResNet-110 K=32", "test_err", "16.51"),
    ("hpff-benchmarks", "STL-10 / InfoPro", "ResNet-32 K=16", "test_err", "29.28"),
    ("hpff-benchmarks", "STL-10 / BP", "ResNet-110", "test_err", "19.67"),
    ("hpff-benchmarks", "SVHN / DGL*", "ResNet-110 K=55", "test_err", "3.53"),
    (
        "hpff-ablation",
        "ImageNet / ResNet-101 K=4 / InfoPro / IL+CL",
        "Top5-Error",
        "top5_err",
        "5.68",
    ),
    ("hpff-pff", "CIFAR-10 / ResNet-32 K=16 / InfoPro+HPFF", "GPU Memory", "gpu_memory", "2.31"),
    ("hpff-pff", f"{R110_K55} / InfoPro", "Test Error", "test_err", "13.62"),
]


def cell(table_id: str, row: str, column: str) -> Cell:
    return next(
        each for each in load_table(table_id).cells if (each.row, each.column) == (row, column)
    )


def key(table_id: str, row: str, column: str) -> str:
    recipe = cell(table_id, row, column).recipe
    assert recipe is not None
    return recipe.key


def test_every_table_of_the_four_papers_is_there() -> None:
    assert table_ids() == TABLES


@pytest.mark.parametrize("table_id", sorted(VALUES))
def test_number_of_values(table_id: str) -> None:
    assert load_table(table_id).values == VALUES[table_id]


def test_number_of_values_by_metric() -> None:
    counts = {table_id: values_by_metric(load_table(table_id)) for table_id in TABLES}
    assert counts["pgl-costs"] == {"test_acc": 21, "params": 21, "gpu_memory": 21}
    assert counts["auglocal-ablation"] == {"test_acc": 7, "architecture": 9}
    assert counts["hpff-ablation"] == {"test_err": 4, "top1_err": 4, "top5_err": 4}
    assert counts["hpff-pff"] == {"gpu_memory": 6, "test_err": 6}
    assert counts["auglocal-imagenet"] == {"test_acc": 7, "top5_acc": 7}
    assert counts["hpff-imagenet"] == {"top1_err": 12, "top5_err": 12}


def values_by_metric(table: Table) -> Counter[str]:
    return Counter(metric for each in table.cells for metric in each.published)


def test_benchmarks_are_seventy_two_local_and_six_end_to_end() -> None:
    recipes = [each.recipe for each in load_table("hpff-benchmarks").cells if each.recipe]
    assert Counter(each.composition.end_to_end for each in recipes) == {False: 72, True: 6}


def test_illegible_architectures_are_cells_without_a_number() -> None:
    table = load_table("auglocal-auxnets")
    assert len(table.cells) == 12
    assert [(each.row, each.column) for each in table.cells if not each.published] == [
        (f"Stage {stage}", "DGL") for stage in (1, 2, 3)
    ]
    assert any("illegible" in note for note in table.notes)


@pytest.mark.parametrize(("table_id", "row", "column", "metric", "printed"), SPOT)
def test_spot_values(table_id: str, row: str, column: str, metric: str, printed: str) -> None:
    assert cell(table_id, row, column).published[metric].text == printed


@pytest.mark.parametrize("table_id", TABLES)
def test_percentages_and_notes_are_plausible(table_id: str) -> None:
    table = load_table(table_id)
    for each in table.cells:
        for metric, published in each.published.items():
            if table.metrics[metric].unit == "%":
                assert published.value is not None
                assert (
                    0 < published.value < (100 if table.metrics[metric].kind == "trained" else 300)
                )
                assert published.std is None or published.std < 2
    assert table.notes
    assert all(note.endswith(".") for note in table.notes)


@pytest.mark.parametrize(
    "table_id", ["auglocal-depth", "auglocal-aux", "auglocal-matched-flops", "auglocal-infopro"]
)
def test_auglocal_prints_a_spread_everywhere(table_id: str) -> None:
    for each in load_table(table_id).cells:
        assert each.published["test_acc"].std is not None
        assert each.published["test_acc"].decimals == 2


def test_printed_drops_follow_from_the_errors() -> None:
    drops = {
        table_id: list(derived_pairs(load_table(table_id)))
        for table_id in ("hpff-benchmarks", "hpff-ablation")
    }
    assert len(drops["hpff-benchmarks"]) == 36
    assert len(drops["hpff-ablation"]) == 9
    wrong = [
        pair
        for pairs in drops.values()
        for pair in pairs
        if not math.isclose(pair[2], pair[3], abs_tol=1e-6)
    ]
    assert wrong == []  # no exception is known


def derived_pairs(table: Table) -> Iterator[tuple[str, str, float, float]]:
    """Yield row, column, the printed derived value and the one worked out from the table."""
    columns = [column.label for column in table.columns]
    for derived in table.derived:
        assert derived.formula == "difference"
        for row, texts in derived.printed.items():
            for column, text in zip(columns, texts, strict=True):
                if text:
                    value = value_of(table, row, column, derived.metric)
                    reference = value_of(table, derived.against[row], column, derived.metric)
                    yield row, column, float(text), round(reference - value, 2)


def value_of(table: Table, row: str, column: str, metric: str) -> float:
    found = next(each for each in table.cells if (each.row, each.column) == (row, column))
    value = found.published[metric].value
    assert value is not None
    return value


def test_every_starred_row_has_its_drops() -> None:
    table = load_table("hpff-benchmarks")
    starred = {row.label for row in table.rows if row.label.endswith("*")}
    assert set(table.derived[0].printed) == starred
    assert {row: row.rstrip("*") for row in starred} == table.derived[0].against


@pytest.mark.parametrize("table_id", TABLES)
def test_number_of_different_runs(table_id: str) -> None:
    recipes = [each.recipe for each in load_table(table_id).cells if each.recipe]
    assert len({recipe.key for recipe in recipes}) == RUNS[table_id]


@pytest.mark.parametrize("table_id", ["auglocal-auxnets", "auglocal-ablation"])
def test_cells_of_one_run_share_a_key_within_a_table(table_id: str) -> None:
    table = load_table(table_id)
    axis = "column" if table_id == "auglocal-auxnets" else "row"
    keys: dict[str, set[str]] = {}
    for each in table.cells:
        assert each.recipe is not None
        keys.setdefault(getattr(each, axis), set()).add(each.recipe.key)
    assert all(len(found) == 1 for found in keys.values())


DEPTHS = [f"d={depth}" for depth in range(2, 10)]
PLACES = {"ResNet-32 K=16": "ResNet-32", "ResNet-110 K=55": "ResNet-110"}
SHARED = [
    # Guidance period: the published default is Table 1's run.
    (
        ("pgl-period", f"{R32} J=16 / PGL (Aux-Adapt) Q=2", "P=10"),
        ("pgl-blocks", f"{R32} / PGL (Aux-Adapt)", "J=16"),
    ),
    (("pgl-period", f"{R32} J=16 / DGL", "P=5"), ("pgl-blocks", f"{R32} / DGL (Baseline)", "J=16")),
    (("pgl-costs", "Backprop", "J=16"), ("pgl-blocks", f"{R32} / Backprop", "Backprop")),
    *(
        (
            ("pgl-costs", f"{R32} / {there}", f"J={modules}"),
            ("pgl-blocks", f"{R32} / {here}", f"J={modules}"),
        )
        for modules in (16, 8, 4, 2)
        for there, here in {
            "DGL (Baseline)": "DGL (Baseline)",
            "InfoPro (SOTA)": "InfoPro",
            "PGL (1Conv-2FC)": "PGL (1Conv-2FC)",
            "PGL (Aux-Adapt)": "PGL (Aux-Adapt)",
            "PGL (2Conv-2FC)": "PGL (2Conv-2FC)",
        }.items()
    ),
    # AugLocal's depths on ResNet-110 and CIFAR-10.
    *((("auglocal-aux", "Unif.", depth), ("auglocal-infopro", "CE", depth)) for depth in DEPTHS),
    *(
        (
            ("auglocal-aux", "Unif.", depth),
            ("auglocal-depth", f"ResNet-110 / AugLocal {depth}", "CIFAR-10"),
        )
        for depth in DEPTHS[:5]
    ),
    *(
        (("auglocal-matched-flops", "AugLocal", depth), ("auglocal-aux", "Unif.", depth))
        for depth in DEPTHS[:5]
    ),
    *(
        (("auglocal-matched-flops", "DGL", depth), ("auglocal-aux", "C3x3", depth))
        for depth in DEPTHS[:5]
    ),
    (("auglocal-ablation", "AugLocal d=6", "Acc."), ("auglocal-aux", "Unif.", "d=6")),
    (("auglocal-ablation", "DGL", "Acc."), ("auglocal-depth", "ResNet-110 / DGL", "CIFAR-10")),
    *(
        (
            ("auglocal-auxnets", "Stage 1", method),
            ("auglocal-depth", f"ResNet-110 / {method}", "CIFAR-10"),
        )
        for method in ("PredSim", "InfoPro", "DGL", "AugLocal d=2")
    ),
    # HPFF: the ablation and the memory table repeat runs of Table 1.
    (
        ("hpff-ablation", f"{DGL_ABLATION} / IL", "Test Error"),
        ("hpff-benchmarks", "CIFAR-10 / DGL", "ResNet-32 K=16"),
    ),
    (
        ("hpff-ablation", f"{DGL_ABLATION} / IL+CL+PFF", "Test Error"),
        ("hpff-benchmarks", "CIFAR-10 / DGL*", "ResNet-32 K=16"),
    ),
    *(
        (
            ("hpff-pff", f"CIFAR-10 / {place} / {there}", "Test Error"),
            ("hpff-benchmarks", f"CIFAR-10 / {here}", place),
        )
        for place in PLACES
        for there, here in {"InfoPro": "InfoPro", "InfoPro+HPFF": "InfoPro*"}.items()
    ),
    # Across papers: the same 400-epoch recipe with one local layer for each module.
    *(
        (
            ("hpff-benchmarks", f"{dataset} / DGL", place),
            ("auglocal-depth", f"{network} / DGL", dataset),
        )
        for place, network in PLACES.items()
        for dataset in ("CIFAR-10", "SVHN", "STL-10")
    ),
    *(
        (
            ("hpff-benchmarks", f"{dataset} / BP", network),
            ("auglocal-depth", f"{network} / BP", dataset),
        )
        for network in ("ResNet-32", "ResNet-110")
        for dataset in ("CIFAR-10", "SVHN", "STL-10")
    ),
    *(
        (
            ("hpff-benchmarks", "CIFAR-10 / InfoPro", place),
            ("auglocal-depth", f"{network} / InfoPro", "CIFAR-10"),
        )
        for place, network in PLACES.items()
    ),
]


@pytest.mark.parametrize(("one", "other"), SHARED, ids=lambda place: "|".join(place))
def test_shared_runs_have_one_key(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    assert key(*one) == key(*other)


def test_runs_that_only_look_alike_have_two_keys() -> None:
    benchmarks = {
        method: key("hpff-benchmarks", f"CIFAR-10 / {method}", "ResNet-32 K=16")
        for method in ("DGL", "DGL*")
    }
    assert benchmarks["DGL"] != benchmarks["DGL*"]
    assert benchmarks["DGL"] != key("pgl-blocks", f"{R32} / DGL (Baseline)", "J=16")
    matched = key("auglocal-matched-flops", "DGL", "d=6")
    assert matched != key("auglocal-depth", "ResNet-110 / DGL", "CIFAR-10")
    assert key("hpff-benchmarks", "CIFAR-10 / PredSim", "ResNet-32 K=16") != key(
        "auglocal-depth", "ResNet-32 / PredSim", "CIFAR-10"
    )


@pytest.mark.parametrize(
    ("dataset", "schedule"),
    [("cifar10", (1024, 0.8)), ("svhn", (1024, 0.8)), ("stl10", (128, 0.1))],
)
def test_batch_and_learning_rate_follow_the_data_set(
    dataset: str, schedule: tuple[int, float]
) -> None:
    recipes = [
        each.recipe
        for table_id in CONVOLUTIONAL
        for each in load_table(table_id).cells
        if each.recipe
    ]
    found = [each for each in recipes if each.dataset == dataset]
    assert found
    assert {(each.batch_size, each.lr) for each in found} == {schedule}


ONE_TRIAL = {"auglocal-imagenet", "auglocal-coco", "hpff-imagenet"}


@pytest.mark.parametrize("table_id", CONVOLUTIONAL)
def test_schedule_and_trials_follow_the_paper(table_id: str) -> None:
    table = load_table(table_id)
    epochs, trials = {"pgl": (160, 3), "auglocal": (400, 3), "hpff": (400, 5)}[table.paper]
    trained = any(metric.kind == "trained" for metric in table.metrics.values())
    trials = 1 if table_id in ONE_TRIAL or not trained else trials
    assert table.trials == trials or table_id == "auglocal-auxnets"
    small = {"cifar10", "cifar100", "svhn", "stl10"}
    assert {
        each.recipe.epochs for each in table.cells if each.recipe and each.recipe.dataset in small
    } <= {epochs}


# Epochs, batch and learning rate of each network, from the papers' implementation details.
ON_IMAGENET = {
    "auglocal": {
        "vgg13": (90, 256, 0.1),
        "resnet34": (200, 1024, 0.4),
        "resnet101": (200, 512, 0.2),
    },
    "hpff": {
        "vgg13": (90, 64, 0.025),
        "resnet101": (90, 128, 0.05),
        "resnet152": (90, 128, 0.05),
        "resnext101-32x8d": (90, 64, 0.025),
    },
}


@pytest.mark.parametrize("paper", ["auglocal", "hpff"])
def test_schedule_on_imagenet_follows_the_network(paper: str) -> None:
    cells = [
        each
        for table_id in TABLES
        if table_id.startswith(paper)
        for each in load_table(table_id).cells
    ]
    recipes = [each.recipe for each in cells if each.recipe and each.recipe.dataset == "imagenet"]
    assert {
        each.network: (each.epochs, each.batch_size, each.lr) for each in recipes
    } == ON_IMAGENET[paper]
    for each in recipes:
        assert ON_IMAGENET[paper][each.network] == (each.epochs, each.batch_size, each.lr)
        assert (each.rate, each.warmup_epochs, each.augmentation) == (
            "cosine-epoch0",
            0,
            "imagenet",
        )


def test_every_data_set_is_known() -> None:
    recipes = [
        each.recipe for table_id in TABLES for each in load_table(table_id).cells if each.recipe
    ]
    found = {recipe.dataset for recipe in recipes}
    assert found == {"cifar10", "cifar100", "svhn", "stl10", "imagenet", "coco"} <= set(names())


def test_no_cell_is_blocked() -> None:
    assert not [each for table_id in TABLES for each in load_table(table_id).cells if each.blocked]


def test_rows_on_imagenet() -> None:
    tables = {
        table_id: [each for each in load_table(table_id).cells if _on_imagenet(each)]
        for table_id in TABLES
    }
    counts = {
        table_id: len({each.row for each in cells}) for table_id, cells in tables.items() if cells
    }
    assert counts == {
        "auglocal-imagenet": 7,
        "auglocal-memory": 4,
        "hpff-imagenet": 12,
        "hpff-ablation": 4,
        "hpff-memory": 6,
    }


def _on_imagenet(each: Cell) -> bool:
    return each.recipe is not None and each.recipe.dataset == "imagenet"


def test_task_weight_ramps_the_cross_entropy_of_auglocal() -> None:
    context = MethodContext(network="resnet110", dataset="cifar10", modules=55)
    plain = compose("auglocal", {}, context)
    assert plain.branches[0].weight == (1.0, 1.0)
    ramped = compose(
        "reconstruction+auglocal",
        {"task_weight": [0, 1], "reconstruction_weight": [5, 0.5]},
        context,
    )
    assert [branch.weight for branch in ramped.branches] == [(0.0, 1.0), (5.0, 0.5)]
    assert compose("auglocal", {"task_weight": [1, 1]}, context) == plain
