"""Runs that start from torchvision's ImageNet weights, and those that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
import torchvision.models as models
from small_table import Bench
from specimens import CLASSES, recipe_of
from torch import nn

from locbench.data.images import load
from locbench.errors import FailureError, UsageError
from locbench.execution.plan import Plan, make_plan
from locbench.files import digest
from locbench.networks.chain import build_chain
from locbench.networks.pretrained import load_pretrained, weights_cached
from locbench.report.grouping import group_records
from locbench.results.store import Store
from locbench.spec.arguments import initial_weights
from locbench.spec.presets import reductions
from locbench.spec.recipe import Recipe
from locbench.spec.selection import RunOptions
from locbench.spec.table_files import load_table
from locbench.training.run import Run

SHORT = ("--epochs", "1", "--limit", "40", "--recipe", "image_size=32", "--recipe", "test_limit=40")
RESNET = ("run", "--network", "resnet34", "--method", "bp", *SHORT)


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    return Bench(tmp_path, monkeypatch, capsys)


def model(classes: int) -> nn.Module:
    """Return torchvision's ResNet-34 with norms and statistics as after training."""
    torch.manual_seed(classes)
    made: nn.Module = models.resnet34(num_classes=classes)
    with torch.no_grad():
        for name, each in made.state_dict().items():
            if each.dim() == 1 and not name.startswith("fc."):
                each.uniform_(0.5, 1.5)
    return made.eval()


def written(path: Path, classes: int) -> Path:
    # As torchvision's training script does.
    torch.save({"model": model(classes).state_dict(), "epoch": 90}, path)
    return path


def starting(path: Path, **settings: Any) -> Recipe:
    settings |= {
        "network": "resnet34",
        "image_size": 32,
        "init": "torchvision",
        "weights": digest(path),
    }
    return recipe_of("bp", {}, **settings)


def test_a_run_starts_as_torchvisions_network(tmp_path: Path) -> None:
    """As many classes: the whole network computes the same, bit for bit."""
    path = written(tmp_path / "ten.pth", CLASSES)
    split = load("digits", Path("unused"), limit=40, test_limit=40)
    chain = Run(starting(path), split, weights=path).learner.chain.eval()
    images = torch.rand(4, 3, 32, 32).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        theirs = model(CLASSES).to(memory_format=torch.channels_last)(images)
        assert theirs.std() > 0
        assert torch.equal(chain(images), theirs)


def test_the_classifier_of_other_classes_is_drawn_anew(tmp_path: Path) -> None:
    path = written(tmp_path / "thousand.pth", 1000)
    split = load("digits", Path("unused"), limit=40, test_limit=40)
    found = Run(starting(path), split, weights=path).learner.chain.state_dict()
    scratch = msgspec.structs.replace(starting(path), init="scratch", weights="")
    plain = Run(scratch, split).learner.chain.state_dict()
    same = {name for name, each in plain.items() if torch.equal(each, found[name])}
    assert {name for name in same if not name.endswith("num_batches_tracked")} == {
        "head.2.weight",
        "head.2.bias",
    }


def test_from_the_command_line(bench: Bench, tmp_path: Path) -> None:
    path = written(tmp_path / "weights.pth", 1000)
    # A file alone is of the network's own source: the same run.
    for said in (
        ("--init", "torchvision"),
        (),
    ):
        assert bench.call(*RESNET, *said, "--weights", str(path)).code == 0
    (record,) = bench.records()
    assert (record.recipe.init, record.recipe.weights) == ("torchvision", digest(path))


def test_without_a_network_one_message(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "urlopen", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    called = bench.call(*RESNET, "--init", "torchvision")
    assert called.code == 1
    assert "weights IMAGENET1K_V1 of resnet34 could not be fetched: no route to host" in called.err
    assert "--weights FILE" in called.err
    assert bench.records() == []


def test_the_first_weights_are_taken_from_the_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert not weights_cached("resnet34")
    file = tmp_path / "hub/checkpoints" / Path(models.ResNet34_Weights.IMAGENET1K_V1.url).name
    file.parent.mkdir(parents=True)
    torch.save(model(1000).state_dict(), file)
    assert weights_cached("resnet34")
    chain = build_chain("resnet34", 1000, 64)
    load_pretrained(chain, "resnet34")
    assert torch.equal(chain.head[-1].weight, model(1000).fc.weight)  # type: ignore[index, union-attr, arg-type]


def broken(path: Path, kind: str) -> Path:
    state = dict(model(1000).state_dict())
    if kind == "shape":
        state["layer1.0.conv1.weight"] = torch.zeros(64, 64, 1, 1)
    if kind == "less":
        del state["layer4.2.bn2.bias"]
    content: Any = {
        "another network": models.resnet18().state_dict(),
        "numbers": {0: torch.zeros(1)},
    }.get(kind, state)
    if kind == "text":
        path.write_text("hello")
    elif kind != "nothing":
        torch.save(content, path)
    return path


WRONG = {
    "shape": "'units.1.conv1.weight' is (64, 64, 1, 1) instead of (64, 64, 3, 3)",
    "less": "'units.16.bn2.bias' is missing",
    "another network": "holds weights of another network than ResNet-34",
    "numbers": "holds weights of another network than ResNet-34",
    "text": "is no weight file",
    "nothing": "cannot be read",
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_files(bench: Bench, tmp_path: Path, kind: str) -> None:
    path = broken(tmp_path / "wrong.pth", kind)
    called = bench.call(*RESNET, "--weights", str(path))
    assert called.code == 1
    assert WRONG[kind] in " ".join(called.err.split())
    assert str(path) in called.err
    assert "--weights" in called.err
    assert "Traceback" not in called.err
    assert bench.records() == []


@pytest.mark.parametrize(
    ("network", "init", "message", "remedy"),
    [
        ("resnet32", "torchvision", "torchvision has no weights of ResNet-32", "--init scratch,"),
        (
            "swin-micro",
            "torchvision",
            "torchvision has no weights of Swin-micro",
            "--init pretrained or scratch",
        ),
        (
            "resnet34-narrow",
            "torchvision",
            "torchvision has no weights of ResNet-34",
            "--init scratch,",
        ),
        (
            "resnet34",
            "pretrained",
            "timm has no weights of ResNet-34",
            "--init torchvision or scratch",
        ),
    ],
)
def test_networks_without_such_weights(
    bench: Bench, network: str, init: str, message: str, remedy: str
) -> None:
    called = bench.call("run", "--network", network, "--method", "bp", "--init", init)
    assert called.code == 2
    assert message in called.err
    assert remedy in " ".join(called.err.split())


def planned(tmp_path: Path, *rows: str, **options: Any) -> Plan:
    wanted = RunOptions(rows=rows, **options)
    return make_plan(load_table("auglocal-imagenet"), wanted, Store(tmp_path), tmp_path)


def test_a_table_from_torchvisions_weights_is_shown_marked(tmp_path: Path) -> None:
    table = load_table("auglocal-imagenet")
    (published,) = {
        each.recipe.key: each.recipe for each in planned(tmp_path, "ResNet-34 / BP").jobs
    }.values()
    (job,) = planned(tmp_path, "ResNet-34 / BP", init="torchvision").jobs
    assert job.recipe.key != published.key
    said = ["from torchvision's ImageNet weights"]
    assert reductions(job.recipe, published) == said
    file = msgspec.structs.replace(job.recipe, weights="0123456789abcdef")
    assert reductions(file, published) == ["pretrained weights of file 0123456789abcdef"]
    from report_builders import make_record

    (group,) = group_records(table, [make_record(job.recipe, 75.0)])
    assert group.reduced
    assert {row for row, _ in group.runs} == {"ResNet-34 / BP"}


def test_one_file_is_for_one_network(tmp_path: Path) -> None:
    digits = {"init": "torchvision", "weights": "0123456789abcdef"}
    assert len(planned(tmp_path, "ResNet-34 / *", **digits).jobs) == 2
    with pytest.raises(UsageError, match=r"one file, .* VGG13 .*, ResNet-34") as refused:
        planned(tmp_path, **digits)
    assert "--rows" in refused.value.remedy


def test_weights_ask_for_a_run_that_starts_from_them(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="starts from random ones") as refused:
        planned(tmp_path, "ResNet-34 / BP", weights="0123456789abcdef")
    assert "--init torchvision" in refused.value.remedy
    with pytest.raises(UsageError, match="of 1/8 width"):
        planned(tmp_path, "ResNet-34 / BP", init="torchvision", preset="smoke")


def test_whose_a_file_is() -> None:
    assert initial_weights("resnet34", None, "") == {}
    assert initial_weights("resnet34", None, "12") == {"init": "torchvision", "weights": "12"}
    assert initial_weights("swin-tiny", None, "12") == {"init": "pretrained", "weights": "12"}
    assert initial_weights("resnet34", "scratch", "12") == {"init": "scratch", "weights": "12"}


def test_every_network_named_has_first_weights() -> None:
    from locbench.networks.pretrained import VERSION
    from locbench.spec.networks import NETWORKS

    named = {NETWORKS[name].torchvision for name in NETWORKS} - {""}
    assert named == {"vgg13_bn", "resnet34", "resnet101", "resnet152", "resnext101_32x8d"}
    for name in named:
        assert VERSION in models.get_model_weights(name).__members__
    with pytest.raises(FailureError, match="no weight file"):
        load_pretrained(build_chain("resnet34", CLASSES, 32), "resnet34", Path("nowhere.pth"))
