"""The detector: its backbone, its numbers, and that it learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import torch
from coco_specimens import detector_recipe
from safetensors.torch import load_file, save_file
from torch import Tensor
from torchvision.models import resnet34

from locbench.detection.batches import target_of
from locbench.detection.costs import detector_parameters, detector_seconds
from locbench.detection.dataset import DetectionDataset
from locbench.detection.detector import (
    Pyramid,
    backbone_chain,
    build_detector,
    load_backbone,
)
from locbench.detection.evaluation import average_precision
from locbench.detection.loading import load_detection
from locbench.detection.run import DetectionRun
from locbench.errors import DivergedError, FailureError
from locbench.networks.chain import Chain
from locbench.networks.weight_files import keep_weights
from locbench.spec.detector import Detection
from locbench.spec.recipe import Recipe
from locbench.spec.table_files import load_table
from locbench.training.events import RunEvent, StepDone
from locbench.training.lr_schedule import detector_rate

pytest.importorskip("pycocotools")

LEVEL = 20.0
"""Box AP50 in percent that the drawn shapes must reach, set before any was measured: most large
objects found once.
"""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "backbone.safetensors"
    keep_weights(chain_of(detector_recipe()), path)
    return path


def chain_of(recipe: Recipe) -> Chain:
    assert recipe.backbone is not None
    return backbone_chain(recipe.backbone)


def dataset(limit: int = 16) -> DetectionDataset:
    return load_detection("shapes", Path(), limit=limit, test_limit=limit).test


# Average precision


def truth_as_found(of: DetectionDataset) -> list[dict[str, Tensor]]:
    """Return what a perfect detector would find."""
    truth = [target_of(of, index) for index in range(len(of))]
    return [
        {**each, "masks": each["masks"].bool(), "scores": torch.ones(len(each["labels"]))}
        for each in truth
    ]


def test_perfect_detections_have_100_percent() -> None:
    some = dataset()
    found = average_precision(some, truth_as_found(some))
    assert found == dict.fromkeys(
        ("box_ap", "box_ap50", "box_ap75", "mask_ap", "mask_ap50", "mask_ap75"), 100.0
    )


def test_no_detection_has_0_percent() -> None:
    some = dataset()
    nothing = {
        "boxes": torch.empty(0, 4),
        "scores": torch.empty(0),
        "labels": torch.empty(0, dtype=torch.int64),
    }
    nothing["masks"] = torch.empty(0, 96, 96, dtype=torch.bool)
    assert set(average_precision(some, [nothing] * len(some)).values()) == {0.0}


def test_overlap_decides_which_thresholds_are_met() -> None:
    """A box over 2/3 of the truth's area counts at 0.5, 0.55, 0.6 and 0.65: AP is 40 %."""
    some = dataset(1)
    some = replace(some, objects=((some.objects[0][0],),))
    (found,) = truth_as_found(some)
    left, _, right, _ = found["boxes"][0].tolist()
    found["boxes"][:, 0::2] += (right - left) / 5  # intersection 4/5, union 6/5
    numbers = average_precision(some, [found])
    assert (numbers["box_ap"], numbers["box_ap50"], numbers["box_ap75"]) == (40.0, 100.0, 0.0)
    assert numbers["mask_ap"] == 100.0


def test_wrong_class_counts_for_nothing() -> None:
    some = dataset(1)
    some = replace(some, objects=((some.objects[0][0],),))
    (found,) = truth_as_found(some)
    found["labels"] = found["labels"] % 3 + 1
    assert average_precision(some, [found])["box_ap"] == 0.0


# Backbone


def test_pyramid_stands_on_the_chains_features() -> None:
    chain = chain_of(detector_recipe()).eval()
    x, expected = torch.randn(2, 3, 64, 64), []
    with torch.no_grad():
        features = x
        for unit, spec, following in zip(
            chain.units, chain.specs, [*chain.specs[1:], None], strict=True
        ):
            features = unit(features)
            if spec.stage and (following is None or following.stage != spec.stage):
                expected.append(features)
        body = Pyramid(chain, Detection()).eval()
        found, maps = body.features(x), body(x)
    assert [each.shape[-1] for each in expected] == [16, 8, 4, 2]
    assert all(map(torch.equal, found, expected))
    assert [each.shape[-1] for each in maps.values()] == [16, 8, 4, 2, 1]
    assert {each.shape[1] for each in maps.values()} == {256}


def test_maps_in_bfloat16_are_close_and_given_in_float32(weights: Path) -> None:
    """Anchors and boxes are made in the type of the maps: bfloat16 lacks digits for coordinates."""
    recipe = detector_recipe()
    found = []
    for precision in ("fp32", "bf16"):
        torch.manual_seed(1)
        chain = chain_of(recipe)
        load_backbone(chain, recipe.network, weights)
        detector = build_detector(
            msgspec.structs.replace(recipe, precision=precision), chain, 3
        ).eval()
        with torch.no_grad():
            maps = detector.backbone(
                torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
            )
            boxes = detector([torch.full((3, 90, 70), 0.5)])[0]["boxes"]
        found.append(maps)
        assert {each.dtype for each in (*maps.values(), boxes)} == {torch.float32}
    exact, rough = found
    assert not torch.equal(exact["0"], rough["0"])  # else nothing ran in bfloat16
    for name, each in exact.items():
        assert (rough[name] - each).norm() < 0.05 * each.norm()


def test_features_are_torchvisions_with_its_weights(tmp_path: Path) -> None:
    recipe = load_table("auglocal-coco").cells[0].recipe
    assert recipe is not None
    torch.manual_seed(0)
    published = resnet34().eval()
    torch.save(published.state_dict(), tmp_path / "resnet34.pth")
    chain = chain_of(recipe).eval()
    load_backbone(chain, recipe.network, tmp_path / "resnet34.pth")
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        stem = published.maxpool(published.relu(published.bn1(published.conv1(x))))
        expected = [stem]
        for layer in (published.layer1, published.layer2, published.layer3, published.layer4):
            expected.append(layer(expected[-1]))
        found = Pyramid(chain, Detection()).eval().features(x)
    assert all(map(torch.equal, found, expected[1:]))


def test_weights_are_really_loaded(weights: Path) -> None:
    recipe = detector_recipe()
    run = DetectionRun(recipe, load_detection("shapes", Path(), limit=2, test_limit=2), weights)
    kept, own = load_file(weights), run.detector.backbone.units.state_dict()  # type: ignore[union-attr]
    assert len(own) > 100
    assert all(torch.equal(each, kept[f"units.{name}"]) for name, each in own.items())
    torch.manual_seed(99)
    assert not torch.equal(
        chain_of(recipe).state_dict()["units.0.0.weight"], kept["units.0.0.weight"]
    )


def test_published_layers_are_frozen() -> None:
    """As in torchvision's detectors: stem and first stage, and BatchNorm throughout."""
    chain = chain_of(detector_recipe())
    body = Pyramid(chain, Detection(norm="frozen")).train()
    before = [each.clone() for each in body.units.buffers()]
    body(torch.randn(2, 3, 64, 64))["0"].sum().backward()
    assert all(map(torch.equal, before, body.units.buffers()))
    for index, spec in enumerate(chain.specs):
        learning = [
            name for name, each in body.units[index].named_parameters() if each.requires_grad
        ]
        assert bool(learning) == (spec.stage >= 2)
        assert not [name for name in learning if "bn" in name or "downsample.1" in name]


@pytest.mark.parametrize("fault", ["missing", "shape", "text", "nothing"])
def test_file_of_other_weights_is_refused(tmp_path: Path, weights: Path, fault: str) -> None:
    path, state = tmp_path / "file.safetensors", load_file(weights)
    if fault == "missing":
        del state["units.3.conv1.weight"]
    if fault == "shape":
        state["units.3.conv1.weight"] = torch.zeros(1, 1, 3, 3)
    if fault == "text":
        path.write_text("no weights")
    elif fault != "nothing":
        save_file(state, path)
    recipe = detector_recipe()
    with pytest.raises(FailureError) as caught:
        load_backbone(chain_of(recipe), recipe.network, path)
    assert str(path) in caught.value.message
    assert "'units.3.conv1.weight'" in caught.value.message or fault in ("text", "nothing")
    assert "--weights" in caught.value.remedy


# Costs and rate


def test_counted_parameters_are_the_detectors(weights: Path) -> None:
    recipe = detector_recipe()
    built = build_detector(recipe, chain_of(recipe), 3)
    assert detector_parameters(recipe) == {
        "primary": sum(map(Tensor.numel, built.parameters())),
        "auxiliary": 0,
    }
    longer = msgspec.structs.replace(recipe, epochs=4, test_every=4)
    assert (
        0
        < detector_seconds(recipe, 1e9)
        < detector_seconds(longer, 1e9)
        < 2 * detector_seconds(recipe, 1e9) + 1
    )


def test_rate_of_the_published_schedule() -> None:
    recipe = load_table("auglocal-coco").cells[0].recipe
    assert recipe is not None
    rates = {
        step: detector_rate(recipe, step, 1000)
        for step in (0, 250, 500, 7999, 8000, 10_999, 11_000, 11_999)
    }
    assert rates == pytest.approx(
        {
            0: 1e-7,
            250: 5.005e-5,
            500: 1e-4,
            7999: 1e-4,
            8000: 1e-5,
            10_999: 1e-5,
            11_000: 1e-6,
            11_999: 1e-6,
        }
    )


def test_rate_of_a_shorter_run_falls_at_the_same_shares() -> None:
    # 8 of 12 epochs are 2 of 3; 11 of 12 are no whole epoch of 3.
    recipe = detector_recipe(epochs=3)
    assert [detector_rate(recipe, 10 * epoch + 9, 10) for epoch in range(3)] == pytest.approx(
        [2e-3, 2e-3, 2e-4]
    )


# Training


def numbers(run: DetectionRun) -> list[dict[str, float | None]]:
    return [
        {name: value for name, value in row.items() if name != "seconds"}
        for row in run.state.history
    ]


def test_resumed_run_gives_the_same_numbers(tmp_path: Path, weights: Path) -> None:
    recipe, split = (
        detector_recipe(epochs=2, test_every=1),
        load_detection("shapes", Path(), limit=8, test_limit=4),
    )
    whole = DetectionRun(recipe, split, weights)
    whole.train()

    class Stop:
        def on(self, event: RunEvent) -> None:
            if isinstance(event, StepDone) and checkpoint.is_file():
                raise KeyboardInterrupt

    checkpoint = tmp_path / "state.pt"
    with pytest.raises(KeyboardInterrupt):
        DetectionRun(recipe, split, weights, checkpoint).train(Stop())
    again = DetectionRun(recipe, split, weights, checkpoint)
    torch.rand(7)  # what was drawn before must not matter
    again.train()
    assert again.state.resumed == 1
    assert numbers(again) == numbers(whole)
    for left, right in zip(
        again.detector.state_dict().values(), whole.detector.state_dict().values(), strict=True
    ):
        assert torch.equal(left, right)


def test_run_that_diverges_says_so(weights: Path) -> None:
    recipe = detector_recipe(lr=1e30, optimizer="sgd", epochs=1, detection={"warmup_steps": 0})
    split = load_detection("shapes", Path(), limit=8, test_limit=2)
    with pytest.raises(DivergedError, match="a loss is not finite in epoch 1"):
        DetectionRun(msgspec.structs.replace(recipe, batch_size=2), split, weights).train()


@pytest.mark.timeout(600)
def test_average_precision_rises_above_a_level(weights: Path) -> None:
    """From a random backbone, on 160 images of large shapes, in four epochs."""
    recipe = detector_recipe(epochs=4, test_every=4)
    run = DetectionRun(recipe, load_detection("shapes", Path(), limit=160, test_limit=40), weights)
    row = run.train().history[-1]
    assert run.state.history[0]["train_loss"] > run.state.local_losses[0]  # type: ignore[operator]
    assert (row["box_ap50"] or 0.0) >= LEVEL
    assert (row["mask_ap50"] or 0.0) >= LEVEL
