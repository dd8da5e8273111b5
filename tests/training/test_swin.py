"""Training of transformers: AdamW, rates by steps, clipping, mixing, whole runs."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from specimens import CLASSES, batch, gradients, recipe_of
from timm.scheduler import CosineLRScheduler
from torch import Tensor

from locbench.data.batches import Batch
from locbench.data.images import Split, load
from locbench.errors import UsageError
from locbench.learning.auxiliary.branch import Targets
from locbench.learning.auxiliary.swin import SharedStemBlock, feature_target
from locbench.learning.learner import Learner, build_learner
from locbench.learning.losses import reconstruction
from locbench.spec.recipe import Recipe
from locbench.training import input as feed
from locbench.training.evaluation import accuracy
from locbench.training.events import EpochDone, RunEvent, StepDone
from locbench.training.lr_schedule import step_rate
from locbench.training.mixup import Mixup
from locbench.training.optimizer import by_decay, make_optimizer
from locbench.training.run import Run
from locbench.training.state import RunState

SIDE = 32
OURS = "swin-reconstruction"
PIPELINE = {
    "optimizer": "adamw",
    "weight_decay": 0.05,
    "rate": "cosine-step",
    "lr": 1e-3,
    "clip_norm": 5.0,
}


def swin(method: str = OURS, modules: int | None = 4, **settings: Any) -> Recipe:
    chosen = {
        "network": "swin-micro",
        "image_size": SIDE,
        "modules": modules,
        **PIPELINE,
        **settings,
    }
    return recipe_of(method, chosen.pop("options", {}), **chosen)


# AdamW


def test_decayed_parameters_of_tiny_by_hand() -> None:
    """C = 96 and blocks of widths C, 2C, 4C, 8C, as many as 2, 2, 6, 2."""
    with torch.device("meta"):
        net = build_learner(recipe_of(OURS, {}, network="swin-tiny", modules=2), CLASSES, 224)
    depths, widths, heads = (2, 2, 6, 2), (96, 192, 384, 768), (3, 6, 12, 24)
    blocks = list(zip(depths, widths, heads, strict=True))
    decayed = sum(depth * 12 * c * c for depth, c, _ in blocks)  # qkv 3, proj 1, MLP 8
    decayed += sum(8 * c * c for c in widths[:3])  # merging 4C -> 2C
    decayed += 48 * 96 + 768 * CLASSES
    # 4 of norms, 9 of biases; tables.
    spared = sum(depth * (13 * c + 13 * 13 * h) for depth, c, h in blocks)
    spared += sum(8 * c for c in widths[:3]) + 3 * 96 + 2 * 768 + CLASSES
    # The auxiliary block of 192 channels: stem 192 -> 96, feature of 128, deconvolution 96 -> 96.
    decayed += 9 * 192 * 96 + 96 * 128 + 4 * 96 * 96
    spared += 2 * 192 + 2 * 96 + 128 + 96
    groups = by_decay(net, 0.05)
    counts = [sum(each.numel() for each in group["params"]) for group in groups]  # type: ignore[attr-defined]
    assert counts == [decayed, spared]
    assert sum(counts) == 27_527_044 + 215_840
    assert [group["weight_decay"] for group in groups] == [0.05, 0.0]


@pytest.mark.parametrize("method", ["bp", OURS, "swin-infopro", "swin-greedy", "infopro"])
def test_groups_of_adamw(method: str) -> None:
    net = build_learner(swin(method), CLASSES, SIDE)
    optimizer = make_optimizer(net, swin(method))
    assert isinstance(optimizer, torch.optim.AdamW)
    names = {id(each): name for name, each in net.named_parameters()}
    decayed, spared = (
        [names[id(each)] for each in group["params"]] for group in optimizer.param_groups
    )
    assert sorted(decayed + spared) == sorted(names.values())
    words = ("bias", "norm", "bn", "relative_position_bias_table")
    layers = dict(net.named_modules())
    for name in names.values():
        layer = layers[name.rpartition(".")[0]]
        free = any(word in name for word in words) or isinstance(layer, torch.nn.BatchNorm2d)
        assert (name in spared) == free, name
    assert all(
        group["betas"] == (0.9, 0.999) and group["eps"] == 1e-8 for group in optimizer.param_groups
    )
    tables = [name for name in spared if name.endswith("relative_position_bias_table")]
    assert len(tables) == 12


def test_one_step_of_adamw_by_hand() -> None:
    """The first step moves by lr g / (|g| + eps), after w has shrunk by lr times its decay."""
    run = Run(swin(clip_norm=None, warmup_epochs=0), digits(), dtype=torch.float64)
    before = {name: each.detach().clone() for name, each in run.learner.named_parameters()}
    for group in run.optimizer.param_groups:
        group["lr"] = 0.1
    run.engine.accumulate_and_step(*prepared(), guided=False)
    decays = {
        id(each): group["weight_decay"]
        for group in run.optimizer.param_groups
        for each in group["params"]
    }
    for name, each in run.learner.named_parameters():
        assert each.grad is not None
        expected = before[name] * (1 - 0.1 * decays[id(each)]) - 0.1 * each.grad / (
            each.grad.abs() + 1e-8
        )
        torch.testing.assert_close(each.detach(), expected, msg=name)


def prepared(size: int = 6, seed: int = 0) -> tuple[Batch, Targets]:
    images, targets = batch(size, SIDE, seed=seed)
    return Batch(images, targets.labels, targets.pixels), targets


# The rate


@pytest.mark.parametrize(
    ("epochs", "warm", "steps", "settings"),
    [
        (50, 5, 7, {"lr": 5e-4, "warmup_lr": 5e-7, "min_lr": 5e-6}),
        (6, 2, 5, {"lr": 0.3, "warmup_lr": 0.01, "min_lr": 0.02}),
        (4, 0, 3, {"lr": 0.1, "warmup_lr": 0.01, "min_lr": 0.0}),
        (1, 0, 1, {"lr": 0.1, "min_lr": 0.01}),
    ],
)
@pytest.mark.parametrize("scaling", ["none", "linear"])
def test_rate_is_timms_at_every_step(
    epochs: int, warm: int, steps: int, settings: dict[str, float], scaling: str
) -> None:
    recipe = swin(epochs=epochs, warmup_epochs=warm, batch_size=140, lr_scaling=scaling, **settings)
    scale = 140 / 512 if scaling == "linear" else 1.0
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=scale * recipe.lr)
    theirs = CosineLRScheduler(
        optimizer,
        t_initial=epochs * steps,
        lr_min=scale * recipe.min_lr,
        warmup_t=warm * steps,
        warmup_lr_init=scale * recipe.warmup_lr,
        t_in_epochs=False,
        cycle_limit=1,
    )
    for step in range(epochs * steps):
        theirs.step_update(step)
        assert step_rate(recipe, step, steps) == pytest.approx(
            optimizer.param_groups[0]["lr"], rel=1e-12
        ), step


def test_published_rates_by_hand() -> None:
    """Batch 140, 357 steps of 50,000 images, 200 epochs of which 20 warm up.

    Scaled by 140 / 512.
    """
    recipe = swin(
        epochs=200,
        warmup_epochs=20,
        batch_size=140,
        lr=5e-4,
        warmup_lr=5e-7,
        min_lr=5e-6,
        lr_scaling="linear",
    )
    assert 140 / 512 * 5e-4 == 1.3671875e-4
    assert step_rate(recipe, 0, 358) == pytest.approx(1.3671875e-7, rel=1e-12)
    assert step_rate(recipe, 10 * 358, 358) == pytest.approx(
        (1.3671875e-4 + 1.3671875e-7) / 2, rel=1e-12
    )
    assert step_rate(recipe, 100 * 358, 358) == pytest.approx(
        (1.3671875e-4 + 1.3671875e-6) / 2, rel=1e-12
    )
    plain = swin(epochs=200, warmup_epochs=20, batch_size=140, lr=5e-4, warmup_lr=5e-7, min_lr=5e-6)
    assert step_rate(plain, 10 * 358, 358) == pytest.approx((5e-4 + 5e-7) / 2, rel=1e-12)
    assert step_rate(plain, 200 * 358, 358) == pytest.approx(5e-6, rel=1e-12)


def test_every_step_of_a_run_has_its_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = swin(
        epochs=2, warmup_epochs=1, batch_size=16, lr_scaling="linear", warmup_lr=1e-5, min_lr=1e-5
    )
    run, seen = Run(recipe, digits()), []
    step = run.engine.step

    def record(*arguments: Any, **settings: Any) -> Any:
        seen.extend(group["lr"] for group in run.optimizer.param_groups)
        return step(*arguments, **settings)

    monkeypatch.setattr(run.engine, "step", record)
    history = run.train().history
    lr, low = 1e-3 * 16 / 512, 1e-5 * 16 / 512
    half = (lr + low) / 2  # cos(pi t / 6) at t = 3 is 0
    sixth = [low + (lr - low) * index / 3 for index in range(3)]
    later = [low + (lr - low) / 2 * (1 + cosine) for cosine in (-0.5, -(3**0.5) / 2)]
    assert seen == [pytest.approx(each) for each in (*sixth, half, *later) for _ in range(2)]
    assert [row["lr"] for row in history] == [pytest.approx(sixth[-1]), pytest.approx(later[-1])]


# Clipping


def norms(net: Learner, found: dict[str, Tensor]) -> list[float]:
    names = {id(each): name for name, each in net.named_parameters()}
    return [
        torch.stack([found[names[id(each)]].norm() for each in net.local_parameters(index)])
        .norm()
        .item()
        for index in range(net.modules_count)
    ]


@pytest.mark.parametrize("method", [OURS, "bp", "pgl+swin-reconstruction"])
def test_gradients_are_clipped_module_by_module(method: str) -> None:
    run = Run(swin(method, clip_norm=None), digits(), dtype=torch.float64)
    run.engine.accumulate_and_step(*prepared(), guided="pgl" in method)
    before = gradients(run.learner)
    whole = norms(run.learner, before)
    assert len(whole) == (1 if method == "bp" else 4)
    # One module stays as it is.
    limit = sorted(whole)[0] * 1.01 if len(whole) > 1 else 0.5 * whole[0]
    clipped = Run(swin(method, clip_norm=limit), digits(), dtype=torch.float64)
    clipped.engine.accumulate_and_step(*prepared(), guided="pgl" in method)
    after = gradients(clipped.learner)
    assert norms(clipped.learner, after) == pytest.approx(
        [min(each, limit) for each in whole], rel=1e-5
    )
    for index, norm in enumerate(whole):
        ids = {id(each) for each in run.learner.local_parameters(index)}
        for name, each in run.learner.named_parameters():
            if id(each) in ids:
                scale = min(1.0, limit / norm)
                torch.testing.assert_close(
                    after[name], scale * before[name], rtol=1e-5, atol=1e-12, msg=name
                )


def test_every_parameter_is_clipped_with_one_module() -> None:
    net = build_learner(swin("similarity+swin-reconstruction"), CLASSES, SIDE)
    per_module = [net.local_parameters(index) for index in range(4)]
    found = [id(each) for parameters in per_module for each in parameters]
    assert sorted(found) == sorted(id(each) for each in net.parameters())


def test_a_modules_clipped_gradient_does_not_depend_on_later_ones() -> None:
    found = []
    for loudness in (1.0, 1000.0):
        run = Run(swin(clip_norm=0.01), digits(), dtype=torch.float64)
        run.learner.independents["1"].weights = [loudness]  # type: ignore[assignment]
        run.engine.accumulate_and_step(*prepared(), guided=False)
        found.append(gradients(run.learner))
    assert norms(run.learner, found[0])[:2] == pytest.approx([0.01, 0.01], rel=1e-3)
    for name, each in found[0].items():
        unit = int(name.split(".")[2]) if name.startswith("chain.units.") else 99
        if unit <= 2 or name.startswith("independents.0."):
            assert torch.equal(each, found[1][name]), name


@pytest.mark.parametrize("value", [0.0, -1.0, float("inf"), float("nan")])
def test_norms_that_clip_nothing_sensible_are_refused(value: float) -> None:
    with pytest.raises(UsageError, match="clip_norm"):
        swin(clip_norm=value)


# Lean memory


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("method", [OURS, "swin-infopro", "pgl+swin-reconstruction"])
def test_three_steps_in_lean_memory_are_the_plain_ones(method: str, optimizer: str) -> None:
    """Clipping and the step after each module included.

    The second step is guided where there is guidance.
    """
    found = []
    for memory in ("plain", "lean"):
        run = Run(
            swin(method, memory=memory, optimizer=optimizer, clip_norm=0.5),
            digits(),
            dtype=torch.float64,
        )
        losses = []
        for seed in range(3):
            run.optimizer.zero_grad(set_to_none=True)
            guided = seed == 1 and method.startswith("pgl")
            losses.append(
                run.engine.accumulate_and_step(*prepared(seed=seed), guided=guided).losses
            )
        found.append(run.learner.state_dict() | {"losses": torch.stack(losses)})
    assert found[0].keys() == found[1].keys()
    for name, each in found[0].items():
        torch.testing.assert_close(found[1][name], each, rtol=1e-7, atol=1e-9, msg=name)


# Mixing


def constant_batch(size: int, side: int = 16) -> Batch:
    """Return a batch whose image i has the value i everywhere, and class i."""
    images = (
        torch.arange(size, dtype=torch.float32)
        .view(-1, 1, 1, 1)
        .expand(-1, 3, side, side)
        .contiguous()
    )
    return Batch(images, torch.arange(size), None)


def test_mixed_labels_are_the_shares_of_the_images() -> None:
    """Mixed image i has mean lam i + (n - 1 - i)(1 - lam), its label 0.9 lam + 0.1 / classes."""
    mixer, kinds = Mixup(CLASSES, 3), set()
    for _ in range(12):
        mixed, targets = mixer(constant_batch(6))
        assert targets.mixed is not None
        assert targets.mixed.shape == (6, CLASSES)
        torch.testing.assert_close(targets.mixed.sum(dim=1), torch.ones(6))
        shares = (targets.mixed[torch.arange(6), torch.arange(6)] - 0.01) / 0.9
        means = shares * torch.arange(6) + (1 - shares) * torch.arange(6).flip(0)
        torch.testing.assert_close(mixed.images.mean(dim=(1, 2, 3)), means, rtol=1e-4, atol=1e-5)
        assert shares.max() - shares.min() < 1e-5
        cut = all(
            set(each.flatten().tolist()) <= {float(i), float(5 - i)}
            for i, each in enumerate(mixed.images)
        )
        kinds.add("cutmix" if cut else "mixup")
    assert kinds == {"cutmix", "mixup"}


@pytest.mark.parametrize("size", [1, 5])
def test_an_odd_batch_has_smoothed_labels(size: int) -> None:
    one = constant_batch(size)
    mixed, targets = Mixup(CLASSES, 0)(one)
    assert torch.equal(mixed.images, one.images)
    assert targets.mixed is not None
    expected = torch.full((size, CLASSES), 0.01) + 0.9 * torch.eye(CLASSES)[:size]
    torch.testing.assert_close(targets.mixed, expected)


def test_mixing_leaves_the_callers_images_alone() -> None:
    one = constant_batch(6)
    Mixup(CLASSES, 0)(one)
    assert torch.equal(one.images, constant_batch(6).images)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_mixing_comes_from_seed_and_epoch_alone(dtype: torch.dtype) -> None:
    def mixed(seed: int) -> list[Tensor]:
        images = torch.rand(4, 3, 8, 8, dtype=dtype, generator=torch.Generator().manual_seed(0))
        mixer, found = Mixup(CLASSES, seed), []
        for _ in range(3):
            result, targets = mixer(Batch(images.clone(), torch.arange(4), None))
            assert targets.mixed is not None
            assert result.images.dtype == targets.mixed.dtype == dtype
            found += [result.images, targets.mixed]
        return found

    first = mixed(1_000_004)
    torch.rand(5)
    assert all(
        torch.equal(left, right) for left, right in zip(first, mixed(1_000_004), strict=True)
    )
    assert not all(
        torch.equal(left, right) for left, right in zip(first, mixed(1_000_005), strict=True)
    )


def test_loss_of_mixed_labels() -> None:
    """Cross-entropy against shares: minus the sum of share times log-probability."""
    net = build_learner(swin("bp"), CLASSES, SIDE).double()
    images, targets = batch(side=SIDE)
    shares = torch.rand(6, CLASSES, dtype=torch.float64)
    shares /= shares.sum(dim=1, keepdim=True)
    found = net.step(images, Targets(targets.labels, mixed=shares))
    expected = -(shares * net.chain(images).log_softmax(dim=1)).sum(dim=1).mean()
    torch.testing.assert_close(found.losses[0], expected.detach())


@pytest.mark.parametrize("method", [OURS, "swin-greedy", "dgl", "pgl+head"])
def test_mixing_is_refused_for_local_methods(method: str) -> None:
    with pytest.raises(UsageError, match="soft labels"):
        swin(method, mixup=True)
    assert swin("bp", mixup=True).mixup


# Feeds and evaluation


@cache
def digits() -> Split:
    return load("digits", Path("unused"), limit=44, test_limit=40)


def test_images_are_scaled_to_the_networks_size() -> None:
    split, recipe = digits(), swin(batch_size=16)
    (first, *_, last) = feed.train_loader(recipe, split, 1, pixels=True)
    assert first.images.shape == (16, 3, SIDE, SIDE)
    assert last.images.shape == (12, 3, SIDE, SIDE)
    assert first.pixels is not None
    assert first.pixels.shape == first.images.shape
    assert 0 <= first.pixels.min() < first.pixels.max() <= 1
    assert [each.images.shape for each in feed.eval_loader(recipe, split, torch.float32)] == [
        (40, 3, SIDE, SIDE)
    ]


def test_scaling_is_bicubic_with_antialiasing() -> None:
    images = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    made = feed.resized(Batch(images, torch.arange(2), images), 16)
    expected = F.interpolate(images, scale_factor=2, mode="bicubic", antialias=True)
    torch.testing.assert_close(made.images, expected)
    torch.testing.assert_close(made.pixels, expected.clamp(0, 1))
    one = Batch(images, torch.arange(2), None)
    assert feed.resized(one, 8) is one
    assert feed.resized(one, None) is one
    assert feed.resized(one, 4).pixels is None


def test_accuracy_is_of_the_bare_network_in_evaluation_mode() -> None:
    """Six images of which the network is right about four; drop path draws nothing."""
    chain = build_learner(swin("bp", drop_path=0.9), CLASSES, SIDE).chain.train()
    images = torch.randn(6, 3, SIDE, SIDE)
    with torch.inference_mode():
        right = chain.eval()(images).argmax(dim=1)
    chain.train()
    labels = right.clone()
    labels[:2] = (labels[:2] + 1) % CLASSES
    batches = [Batch(images[:4], labels[:4], None), Batch(images[4:], labels[4:], None)]
    assert accuracy(chain, batches, torch.device("cpu")).top1 == pytest.approx(100 * 4 / 6)
    assert chain.training


# Whole runs


def short(method: str = OURS, **settings: Any) -> Recipe:
    rates = {"warmup_lr": 1e-5, "min_lr": 1e-5}
    return swin(
        method,
        epochs=3,
        batch_size=16,
        warmup_epochs=1,
        drop_path=settings.pop("drop_path", 0.2),
        **rates,
        **settings,
    )


class Stopping:
    """Raises after the first step of the third epoch."""

    def __init__(self) -> None:
        self.epochs = 0

    def on(self, event: RunEvent) -> None:
        if isinstance(event, StepDone) and self.epochs == 2:
            raise KeyboardInterrupt
        self.epochs += isinstance(event, EpochDone)


def numbers(state: RunState) -> list[dict[str, float | None]]:
    return [
        {name: value for name, value in row.items() if name != "seconds"} for row in state.history
    ]


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        (OURS, {}),
        ("swin-infopro", {"modules": 2}),
        (OURS, {"memory": "lean", "drop_path": 0.0, "optimizer": "sgd"}),
        ("pgl+swin-reconstruction", {}),
        ("bp", {"mixup": True}),
    ],
    ids=str,
)
def test_resumed_run_is_the_uninterrupted_one(
    method: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    recipe = short(method, **settings)
    whole = Run(recipe, digits())
    expected = whole.train()
    assert [row["epoch"] for row in expected.history] == [1, 2, 3]
    with pytest.raises(KeyboardInterrupt):
        Run(recipe, digits(), tmp_path / "run.pt").train(Stopping())
    again = Run(recipe, digits(), tmp_path / "run.pt")
    found = again.train()
    assert found.resumed == 1
    assert numbers(found) == numbers(expected)
    assert found.local_losses == expected.local_losses
    ours, theirs = again.learner.state_dict(), whole.learner.state_dict()
    assert all(torch.equal(each, ours[name]) for name, each in theirs.items())


def excess(net: Learner, images: Tensor) -> list[float]:
    """Return the reconstruction loss of every block above the entropy of its target."""
    found = []
    net.eval()
    with torch.no_grad():
        x = images
        for index in range(net.modules_count - 1):
            x, features = net.run_module_with_features(index, x)
            assert features is not None
            (block,) = net.independents[str(index)].branches  # type: ignore[union-attr]
            assert isinstance(block, SharedStemBlock)
            target = feature_target(features, "sigmoid-ln")
            restored = block.decoder(block.stem(x))
            found.append((reconstruction(restored, target) - reconstruction(target, target)).item())
    net.train()
    return found


def test_modules_learn_to_restore_their_inputs() -> None:
    run = Run(swin(modules=4, epochs=8, batch_size=11, warmup_epochs=0), digits())
    (every,) = feed.train_loader(swin(batch_size=44), digits(), 1, pixels=False)
    before = excess(run.learner, every.images)
    history = run.train().history
    after = excess(run.learner, every.images)
    assert all(0 < late < 0.9 * early for early, late in zip(before, after, strict=True)), (
        before,
        after,
    )
    losses = [row["train_loss"] for row in history]
    assert losses[-1] is not None
    assert losses[0] is not None
    assert losses[-1] < losses[0]
