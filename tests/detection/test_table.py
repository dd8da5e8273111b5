"""A table of detectors, from the command line to the report."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import torch
from coco_specimens import SQUARE, annotations, detector_recipe, write_coco
from report_builders import make_record
from safetensors.torch import load_file, save_file
from small_table import Bench

from locbench.detection.dataset import DetectionSplit
from locbench.detection.loading import load_detection
from locbench.execution.job import Job
from locbench.execution.readiness import refuse_unready
from locbench.execution.sweep import Sweep
from locbench.networks.weight_files import weights_in
from locbench.report.grouping import group_records
from locbench.results.store import Store
from locbench.spec.choices import Preset
from locbench.spec.presets import same_task_key, with_preset
from locbench.spec.table_files import load_table
from locbench.spec.tables import Cell
from locbench.spec.validation import make_recipe

pytest.importorskip("pycocotools")

DETECTORS = """\
id = "detectors"
paper = "auglocal"
number = "Table 9"
title = "Detectors"
source = "Nobody 2024, Table 9"

[recipe]
network = "resnet34-narrow"
dataset = "shapes"
method = "bp"
epochs = 1
batch_size = 8
lr = 2e-3
optimizer = "adamw"
rate = "steps"
warmup_epochs = 0
train_limit = 8
test_limit = 2

[recipe.detection]
short_side = 64
long_side = 64
anchor = 16
width = 16
box_width = 32
candidates = 50
proposals = 16
trained_stages = 9
norm = "trained"

[metrics.box_ap]
unit = "%"

[metrics.mask_ap]
unit = "%"

[[rows]]
label = "BP"

[rows.recipe.backbone]
network = "resnet34-narrow"
dataset = "digits"
method = "bp"
epochs = 1
batch_size = 32
lr = 0.05
train_limit = 64
test_limit = 50
image_size = 16

[[rows]]
label = "Local"

[rows.recipe.backbone]
network = "resnet34-narrow"
dataset = "digits"
method = "dgl"
modules = 4
epochs = 1
batch_size = 32
lr = 0.05
train_limit = 64
test_limit = 50
image_size = 16

[[columns]]
label = "Box"

[[columns]]
label = "Mask"

[published.box_ap]
"BP" = ["36.3", ""]
"Local" = ["36.2", ""]

[published.mask_ap]
"BP" = ["", "33.8"]
"Local" = ["", "33.4"]
"""

ONE = ("table", "detectors", "--rows", "BP")


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    made = Bench(tmp_path, monkeypatch, capsys)
    made.write(DETECTORS, "detectors")
    return made


def states(bench: Bench, *options: str) -> list[tuple[str, tuple[str, ...]]]:
    runs = bench.call(*ONE, "--plan", "--json", *options).json["runs"]
    return [(run["state"], tuple(run["backbone_of"])) for run in runs]


# From the command line to the report


def test_backbones_are_trained_first_and_then_detectors(bench: Bench) -> None:
    plan = bench.call("table", "detectors", "--plan")
    assert "4 runs, 4 to do" in " ".join(plan.out.split())
    assert [" ".join(line.split()[:4]) for line in plan.out.splitlines() if " M " in line] == [
        "BP backbone by bp",
        "Local backbone by dgl",
        "BP Box (and 1",
        "Local Box (and 1",
    ]
    said = bench.call("table", "detectors", "--json")
    assert said.code == 0
    assert [line[:5] for line in said.err.splitlines() if line.startswith("[")] == [
        f"[{i}/4]" for i in range(1, 5)
    ]
    records = bench.records()
    detectors = [each for each in records if each.recipe.detection]
    backbones = {each.key: each for each in records if not each.recipe.detection}
    assert (len(detectors), len(backbones)) == (2, 2)
    for each in detectors:
        assert each.recipe.backbone is not None
        assert each.recipe.backbone.key in backbones
        names = {f"{kind}_ap{overlap}" for kind in ("box", "mask") for overlap in ("", "50", "75")}
        assert set(each.metrics) == {"train_loss", *names}
        assert each.data is not None
        assert (each.data.label, each.data.train, each.data.test) == ("drawn shapes", 8, 2)
        assert each.parameters["auxiliary"] == 0
    assert {path.stem for path in (bench.results / "weights").iterdir()} == set(backbones)
    (comparison,) = said.json["comparisons"]
    assert [entry["measured"] for entry in comparison["entries"]] == [
        each.metrics[name]
        for row in ("bp", "dgl")
        for each in detectors
        if each.recipe.backbone is not None and each.recipe.backbone.method == row
        for name in ("box_ap", "mask_ap")
    ]
    before = bench.files()
    assert "4 runs, 4 recorded" in bench.call("table", "detectors").out
    assert bench.files() == before
    report = bench.call("report", "detectors").out
    assert "Box AP (%)" in report
    assert "36.3" in report
    listed = {entry["id"]: entry["recorded"] for entry in bench.call("list", "--json").json}
    assert listed["detectors"] == 4


def test_kept_weights_are_those_of_the_trained_network(bench: Bench) -> None:
    bench.call(*ONE)
    (path,) = (bench.results / "weights").iterdir()
    kept = load_file(path)
    assert kept["chain.units.0.1.num_batches_tracked"].item() == 2  # 64 images in batches of 32
    network = weights_in(path)  # what a detector starts from
    assert torch.equal(network["units.0.1.running_mean"], kept["chain.units.0.1.running_mean"])
    assert any(name.startswith("head.") for name in network)
    assert not [name for name in network if "independents" in name or "chain" in name]


def test_another_tables_run_keeps_the_weights_that_a_detector_wants(bench: Bench) -> None:
    _, _, after = DETECTORS.partition("[rows.recipe.backbone]\n")
    settings, _, _ = after.partition("\n\n")
    head = DETECTORS.partition("[recipe]")[0].replace("detectors", "other")
    rest = '[metrics.test_acc]\nunit = "%"\n\n[[rows]]\nlabel = "BP"\n\n[[rows]]\nlabel = "DGL"\n'
    rest += 'recipe = { method = "dgl", modules = 2 }\n\n[[columns]]\nlabel = "Acc."\n\n'
    rest += '[published.test_acc]\nBP = ["90"]\nDGL = ["80"]\n'
    bench.write(f"{head}[recipe]\n{settings}\n\n{rest}", "other")
    assert bench.call("table", "other").code == 0
    (path,) = (bench.results / "weights").iterdir()
    assert path.stem in {each.key for each in bench.records() if each.recipe.method == "bp"}
    assert states(bench) == [("done", ("BP",)), ("to do", ())]


def test_backbone_runs_again_only_where_a_detector_needs_it(bench: Bench) -> None:
    assert states(bench) == [("to do", ("BP",)), ("to do", ())]
    bench.call(*ONE)
    assert states(bench) == [("done", ("BP",)), ("done", ())]
    (weights,) = (bench.results / "weights").iterdir()
    weights.unlink()
    assert states(bench) == [("done", ("BP",)), ("done", ())]
    assert states(bench, "--seeds", "2") == [("to do", ("BP",)), ("done", ()), ("to do", ())]
    assert states(bench, "--rerun", "all") == [("to do", ("BP",)), ("to do", ())]
    bench.call(*ONE, "--seeds", "2")
    assert states(bench, "--rerun", "all") == [("done", ("BP",)), ("to do", ())]
    seeds = [
        (each.recipe.seed, each.recipe.backbone.seed)
        for each in bench.records()
        if each.recipe.backbone
    ]
    assert sorted(seeds) == [(0, 0), (1, 0)]


def test_detector_of_a_failed_backbone_fails_and_both_run_again(bench: Bench) -> None:
    wild = 'lr = 1e30\nrate = "cosine-epoch0"\nwarmup_epochs = 0'
    bench.write(DETECTORS.replace("lr = 0.05", wild, 1), "detectors")
    said = bench.call("table", "detectors", "--rows", "BP")
    assert said.code == 1
    failed = {bool(each.recipe.detection): each.error for each in bench.records()}
    assert "not finite" in failed[False]
    assert failed[True].startswith("its backbone was not trained: ")
    assert states(bench) == [("failed", ("BP",)), ("failed", ())]
    assert states(bench, "--rerun", "failed") == [("to do", ("BP",)), ("to do", ())]


def test_weights_of_a_file_take_the_backbones_place(bench: Bench) -> None:
    bench.call(*ONE)
    (path,) = (bench.results / "weights").iterdir()
    given = bench.folder / "given.safetensors"
    save_file(load_file(path), given)
    said = bench.call(*ONE, "--weights", str(given), "--results", "other", "--json")
    assert said.code == 0
    (comparison,) = said.json["comparisons"]
    assert comparison["reduced"]
    assert "backbone from file " in comparison["how"]
    assert "method unknown" in comparison["how"]
    assert [each["n"] for each in comparison["entries"]] == [1, 1]
    own = next(each for each in bench.records() if each.recipe.detection)
    # The same weights: the same numbers.
    assert comparison["entries"][0]["measured"] == own.metrics["box_ap"]


def test_any_folder_of_cocos_layout_can_stand_in(bench: Bench) -> None:
    write_coco(bench.folder / "some")
    said = bench.call(*ONE, "--dataset", "coco:some", "--json")
    assert said.code == 0
    (comparison,) = said.json["comparisons"]
    assert "data set coco:some instead of drawn shapes" in comparison["how"]
    assert comparison["data_labels"] == ["some (as COCO)"]


# What is said of a request that cannot be met


def refused(bench: Bench, code: int, *arguments: str) -> str:
    said = bench.call(*arguments)
    assert said.code == code
    assert said.out.count("error") == 0
    lines = said.err.splitlines()
    assert [line.startswith("error: ") for line in lines] == [True, False], said.err
    assert not bench.results.is_dir() or not bench.records()
    return said.err


def test_no_pycocotools_is_said_before_anything_is_trained(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("locbench.detection.evaluation.find_spec", lambda name: None)
    assert "pip install 'locbench[coco]'" in refused(bench, 1, *ONE)


def test_no_coco_is_said_before_anything_is_trained(bench: Bench) -> None:
    bench.write(DETECTORS.replace('dataset = "shapes"', 'dataset = "coco"'), "detectors")
    message = refused(bench, 1, *ONE)
    assert (
        f"COCO 2017 is missing: there is no folder {bench.folder / 'data' / 'coco' / 'train2017'}"
        in message
    )
    assert "cocodataset.org" in message


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("annotations", "is no annotation file"),
        ("image", "ten.png is missing"),
        ("folder", "no folder"),
    ],
)
def test_faults_of_a_folder_are_said_before_anything_is_trained(
    bench: Bench, fault: str, words: str
) -> None:
    folder = write_coco(bench.folder / "some", annotations(SQUARE))
    if fault == "annotations":
        (folder / "annotations" / "instances_train2017.json").write_text("{}")
    if fault == "image":
        (folder / "train2017" / "ten.png").unlink()
    name = "none" if fault == "folder" else "some"
    assert words in refused(bench, 1, *ONE, "--dataset", f"coco:{name}")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((*ONE, "--dataset", "cifar10"), "'cifar10' holds images in classes"),
        ((*ONE, "--dataset", "digits", "--preset", "smoke"), "'digits' holds images in classes"),
        (("table", "mini", "--dataset", "coco"), "'coco' holds boxes and masks"),
        (
            ("table", "mini", "--dataset", "shapes", "--preset", "smoke"),
            "'shapes' holds boxes and masks",
        ),
        (
            ("run", "--network", "resnet8", "--method", "bp", "--dataset", "coco"),
            "'coco' holds boxes and masks",
        ),
        (
            ("costs", "--network", "resnet8", "--method", "bp", "--dataset", "coco"),
            "'coco' holds boxes and masks",
        ),
        ((*ONE, "--memory", "lean"), "lean memory is not for detectors"),
        ((*ONE, "--dataset", "coca"), "unknown data set 'coca'"),
        (("costs", "detectors"), "detectors, whose memory and operations depend on what they find"),
    ],
)
def test_requests_that_do_not_fit(bench: Bench, arguments: tuple[str, ...], words: str) -> None:
    assert words in refused(bench, 2, *arguments)


def test_one_file_cannot_be_the_weights_of_two_backbones(bench: Bench) -> None:
    (bench.folder / "file.pt").write_bytes(b"no weights")
    assert "--weights is one file" in refused(
        bench, 2, "table", "detectors", "--weights", "file.pt"
    )
    assert "file.pt is no weight file" in refused(bench, 1, *ONE, "--weights", "file.pt")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("short_side = 64", "short_side = 65", "detection.long_side is 64"),
        ("proposals = 16", "proposals = 1", "$.proposals"),
        ("proposals = 16", "regions = 16", "regions"),
        ('rate = "steps"', 'rate = "cosine-epoch"', "a detector's rate is 'steps'"),
        (
            'dataset = "shapes"\nmethod = "bp"',
            'dataset = "shapes"\nmethod = "dgl"',
            "trained by backpropagation",
        ),
        (
            'network = "resnet34-narrow"\ndataset = "digits"',
            'network = "resnet8"\ndataset = "digits"',
            "'resnet8'",
        ),
        ('dataset = "digits"', 'dataset = "shapes"', "'shapes' holds boxes and masks"),
        ("[recipe.detection]", "[recipe.detector]", "detector"),
    ],
)
def test_faults_of_a_tables_detector(bench: Bench, old: str, new: str, words: str) -> None:
    bench.write(DETECTORS.replace(old, new), "detectors")
    said = bench.call("show", "detectors")
    assert said.code == 1
    assert words in said.err


# The published table


def published() -> dict[str, Cell]:
    return {each.row: each for each in load_table("auglocal-coco").cells}


def test_backbones_are_the_cells_of_table_3() -> None:
    trained = {each.row: each.recipe for each in load_table("auglocal-imagenet").cells}
    for row, each in published().items():
        own = trained[f"ResNet-34 / {row}"]
        assert own is not None
        assert each.recipe is not None
        assert each.recipe.backbone is not None
        assert each.recipe.backbone.key == own.key
        assert (each.recipe.epochs, each.recipe.batch_size, each.recipe.optimizer) == (
            12,
            16,
            "adamw",
        )


def test_keys_of_runs_without_detectors_are_what_they_were() -> None:
    """Worked out before recipes knew of detectors, from the files of that time."""
    cells = {each.row: each for each in load_table("auglocal-imagenet").cells}
    keys = {row: each.recipe.key for row, each in cells.items() if each.recipe}
    assert keys["ResNet-34 / BP"] == "f8abd6cb248e"
    assert keys["ResNet-34 / AugLocal"] == "8f178ce8db35"


def test_backbones_method_and_schedule_tell_detectors_apart_as_they_should() -> None:
    bp, local = (each.recipe for each in published().values())
    assert bp is not None
    assert local is not None
    small = [with_preset(each, "smoke") for each in (bp, local)]
    assert len({each.key for each in (bp, local, *small)}) == 4
    assert [same_task_key(each) for each in small] == [same_task_key(bp), same_task_key(local)]
    assert same_task_key(bp) != same_task_key(local)
    assert all(
        each.dataset == "shapes" and each.backbone and each.backbone.dataset == "digits"
        for each in small
    )
    assert bp.backbone is not None
    other = {**_settings(), "backbone": {**_backbone(), "method": "dgl"}}
    assert make_recipe(other).key != make_recipe(_settings()).key
    assert (
        make_recipe({**_settings(), "backbone": {**_backbone(), "modules": 17}}).key
        == make_recipe(_settings()).key
    )


def _backbone() -> dict[str, object]:
    return {
        "network": "resnet34",
        "dataset": "digits",
        "method": "bp",
        "epochs": 1,
        "batch_size": 8,
        "lr": 0.1,
    }


def _settings() -> dict[str, object]:
    own = {
        "network": "resnet34",
        "dataset": "shapes",
        "method": "bp",
        "epochs": 1,
        "batch_size": 8,
        "lr": 0.1,
    }
    return own | {"rate": "steps", "detection": {}, "backbone": _backbone()}


@pytest.mark.parametrize("preset", ["quick", "smoke"])
def test_presets_of_both_rows_stand_in_one_report(preset: Preset) -> None:
    recipes = [each.recipe for each in published().values() if each.recipe]
    records = [make_record(with_preset(each, preset), 90.0) for each in recipes]
    (group,) = group_records(load_table("auglocal-coco"), records)
    assert group.reduced
    assert {row for row, _ in group.runs} == {"BP", "AugLocal"}
    assert [len(runs) for runs in group.runs.values()] == [1] * len(group.runs)


def test_rows_with_a_given_backbone_are_not_compared() -> None:
    recipes = [each.recipe for each in published().values() if each.recipe]
    given = [msgspec.structs.replace(each, weights="0123456789ab") for each in recipes]
    records = [make_record(each, 90.0) for each in given]
    groups = group_records(load_table("auglocal-coco"), records)
    assert [{row for row, _ in group.runs} for group in groups] == [{"BP"}, {"AugLocal"}]
    assert all("backbone from file 0123456789ab, method unknown" in group.how for group in groups)


def test_plan_says_what_does_not_reach_a_backbone(bench: Bench) -> None:
    def notes(*options: str) -> str:
        return " ".join(bench.call(*ONE, "--plan", *options).out.split())

    kept = "backbones keep their own schedule, without"
    assert kept not in notes()
    assert f"{kept} --epochs, --limit; use a preset" in notes("--epochs", "2", "--limit", "4")
    assert f"{kept} --precision; use a preset" in notes("--precision", "bf16")


def test_a_sweep_reads_its_data_once_and_limits_what_it_read(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def counted(name: str, root: Path, *limits: int | None) -> DetectionSplit:
        calls.append(name)
        return load_detection(name, root, *limits)

    monkeypatch.setattr("locbench.execution.sweep.load_detection", counted)
    monkeypatch.setattr("locbench.detection.loading.load_detection", counted)
    job = Job(detector_recipe(train_limit=5, test_limit=3), (), "to do")
    sweep = Sweep(Store(bench.results), torch.device("cpu"), bench.folder)
    sweep._detection_splits = refuse_unready([job, job], bench.folder)
    split = sweep.split(job.recipe)
    assert calls == ["shapes"]
    own = load_detection("shapes", bench.folder, 5, 3)
    assert isinstance(split, DetectionSplit)
    assert (split.train.pictures, split.test.pictures) == (own.train.pictures, own.test.pictures)
