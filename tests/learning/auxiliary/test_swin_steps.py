"""Steps of Swin feature reconstruction, compared with a plain implementation."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from specimens import CLASSES, assert_same, batch, gradients, recipe_of
from swin_specimens import INFOPRO, OURS, SIDE, block_of, learner, of_module, part, stepped, swin
from torch import Tensor

from locbench.errors import UsageError
from locbench.learning.auxiliary.branch import AttachPoint, Targets
from locbench.learning.learner import Learner, build_learner
from locbench.spec.methods import METHODS

# One step against a plain second implementation


def goal_of(kind: str, x: Tensor) -> Tensor:
    """Return a feature target written out, from x in B x C x H x W."""
    if kind == "sigmoid-ln":
        centred = x - x.mean(1, keepdim=True)
        x = centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()
    if kind == "minmax":
        flat = x.flatten(1)
        low, high = flat.min(1).values, flat.max(1).values
        return (x - low.view(-1, 1, 1, 1)) / (high - low).view(-1, 1, 1, 1)
    return x if kind == "raw-mse" else 1 / (1 + torch.exp(-x))


def definition(
    net: Learner, x: Tensor, targets: Targets, weights: list[tuple[float, float]], kind: str
) -> Tensor:
    """Return the sum of all modules' losses as one graph, detached between modules.

    ``kind`` is the feature target, or ``image``.
    """
    total = x.new_zeros(())
    z = net.chain.units[0](x)  # x_0 of the paper
    ranges = [[unit for unit in each if unit] for each in net.partition.ranges]
    for index, (alpha, beta) in enumerate(weights):
        if index > 0:
            z = z.detach()
        goal = targets.pixels if kind == "image" else goal_of(kind, z.detach())
        assert goal is not None
        for unit in ranges[index]:
            z = net.chain.units[unit](z)
        block = block_of(net, index)
        h = block.stem(z)
        restored, feature = block.decoder(h), F.normalize(block.task(h), dim=1)
        if kind == "raw-mse":
            total = total + alpha * (restored - goal).square().mean()
        else:
            total = (
                total - alpha * (goal * restored.log() + (1 - goal) * (1 - restored).log()).mean()
            )
        total = total + beta * contrast(feature, targets.labels)
    z = z.detach()
    for unit in ranges[-1]:
        z = net.chain.units[unit](z)
    scores = net.chain.head(z).log_softmax(dim=1)
    return total - scores[torch.arange(len(scores)), targets.labels].mean()


def contrast(z: Tensor, labels: Tensor) -> Tensor:
    powers = torch.exp(z @ z.T / 0.07) * (1 - torch.eye(len(z), dtype=z.dtype))
    shares = torch.log(powers / powers.sum(1, keepdim=True) + torch.eye(len(z), dtype=z.dtype))
    same = (labels[:, None] == labels).to(z.dtype) - torch.eye(len(z), dtype=z.dtype)
    return -((same * shares).sum(1) / same.sum(1).clamp(min=1)).mean()


WEIGHTS = {2: [(3.0, 1.0)], 3: [(3.0, 1.0), (1.5, 2.5)], 4: [(3.0, 1.0), (2.0, 2.0), (1.0, 3.0)]}
CASES = [
    (OURS, 4, {}, "sigmoid-ln"),
    (OURS, 3, {"decoder": "linear"}, "sigmoid-ln"),
    (OURS, 2, {"decoder": "interp"}, "sigmoid-ln"),
    (OURS, 2, {"feature_target": "sigmoid"}, "sigmoid"),
    (OURS, 4, {"feature_target": "minmax", "decoder": "linear"}, "minmax"),
    (OURS, 4, {"feature_target": "raw-mse"}, "raw-mse"),
    (INFOPRO, 4, {}, "image"),
    (INFOPRO, 2, {"decoder": "linear"}, "image"),
    (INFOPRO, 2, {"decoder": "interp"}, "image"),
]


@pytest.mark.parametrize(("method", "modules", "options", "kind"), CASES, ids=str)
def test_a_step_is_its_definition(
    method: str, modules: int, options: dict[str, Any], kind: str
) -> None:
    """K separate backward passes, two in each block, equal one of the sum of all losses."""
    net, (images, targets) = learner(method, modules, **options), batch(side=SIDE)
    reference = deepcopy(net)
    loss = definition(reference, images, targets, WEIGHTS[modules], kind)
    names, parameters = zip(*reference.named_parameters(), strict=True)
    expected = dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))
    assert_same(stepped(net, (images, targets)), expected)
    assert net.step(images, targets).losses.sum().item() == pytest.approx(loss.item())
    statistics = dict(reference.named_buffers())
    fresh = learner(method, modules, **options)
    fresh.step(images, targets)
    for name, each in fresh.named_buffers():
        torch.testing.assert_close(each, statistics[name], msg=name)


NOTHING = [0, 0]
SILENT = [{}, {"reconstruction_weight": NOTHING}, {"task_weight": NOTHING}]
SILENT += [{"reconstruction_weight": NOTHING, "task_weight": NOTHING}]


@pytest.mark.parametrize("options", SILENT, ids=str)
def test_a_branch_of_weight_zero_is_not_trained(options: dict[str, Any]) -> None:
    net = learner(OURS, 2, **options)
    net.step(*batch(side=SIDE))
    block = block_of(net, 0)
    ran = [
        any(each.grad is not None for each in branch.parameters())
        for branch in (block.decoder, block.task)
    ]
    assert ran == ["reconstruction_weight" not in options, "task_weight" not in options]
    assert all(each.grad is not None for each in net.chain.parameters())
    first = any(bool(each.any()) for each in gradients(net.chain.units[1]).values())
    assert first == (len(options) < 2)


# Isolation


@pytest.mark.parametrize("method", [OURS, INFOPRO, "swin-greedy", "swin-contrast"])
def test_modules_do_not_feel_later_losses(method: str) -> None:
    net, data = learner(method), batch(side=SIDE)
    before = stepped(net, data)
    for later in range(1, net.modules_count):
        louder = deepcopy(net)
        if later == net.modules_count - 1:
            with torch.no_grad():  # the top's loss is cross-entropy: larger scores make another
                for each in louder.chain.head.parameters():
                    each.mul_(1000)
        else:
            louder.independents[str(later)].weights = [
                1000 * each for each in net.independents[str(later)].weights
            ]  # type: ignore[union-attr, assignment]
        after = stepped(louder, data)
        for index in range(net.modules_count):
            same = all(
                torch.equal(each, after[name])
                for name, each in of_module(net, index, before).items()
            )
            assert same == (index != later), (later, index)


def test_a_louder_loss_is_a_larger_gradient() -> None:
    net, data = learner(OURS), batch(side=SIDE)
    before = stepped(net, data)
    net.independents["1"].weights = [1000.0]  # type: ignore[assignment]
    after = stepped(net, data)
    assert_same(
        of_module(net, 1, after),
        {name: 1000 * each for name, each in of_module(net, 1, before).items()},
    )


def test_patch_embedding_is_trained_by_the_first_loss_alone() -> None:
    net, data = learner(OURS), batch(side=SIDE)
    for silent, trained in (({"0"}, False), ({"1", "2"}, True)):
        quiet = deepcopy(net)
        for index in silent:
            quiet.independents[index].weights = [0.0]  # type: ignore[assignment]
        found = part(stepped(quiet, data), "chain.units.0.")
        assert len(found) == 4
        assert all(bool(each.any()) == trained for each in found.values())


def test_the_target_carries_no_gradient() -> None:
    """Restored features alone train module 1: the loss depends on the decoder's output alone."""
    net, (images, targets) = learner(OURS, 2, task_weight=[0, 0]), batch(side=SIDE)
    found = part(stepped(net, (images, targets)), "chain.units.0.")
    z = net.chain.units[0](images)
    goal = z.detach().clone()
    h = z
    for unit in (1, 2):
        h = net.chain.units[unit](h)
    block = block_of(net, 0)
    restored = block.decoder(block.stem(h))
    detached = 3 * F.binary_cross_entropy(restored, goal_of("sigmoid-ln", goal))
    parameters = dict(net.chain.units[0].named_parameters())
    expected = torch.autograd.grad(detached, list(parameters.values()), retain_graph=True)
    assert_same(
        found, dict(zip((f"chain.units.0.{name}" for name in parameters), expected, strict=True))
    )
    attached_goal = goal_of("sigmoid-ln", z)
    attached = (
        -3 * (attached_goal * restored.log() + (1 - attached_goal) * (1 - restored).log()).mean()
    )
    other = torch.autograd.grad(attached, list(parameters.values()))
    assert not any(torch.allclose(one, two) for one, two in zip(expected, other, strict=True))


def test_targets_are_the_inputs_of_the_modules() -> None:
    net, (images, targets) = learner(OURS), batch(side=SIDE)
    seen: list[Tensor] = []
    for index in range(3):
        block = block_of(net, index)
        block.reconstruction = recorded(block.reconstruction, seen)  # type: ignore[method-assign]
    net.step(images, targets)
    expected = [net.chain.units[0](images)]
    for index in range(2):
        units = [unit for unit in net.partition.ranges[index] if unit]
        x = expected[-1]
        for unit in units:
            x = net.chain.units[unit](x)
        expected.append(x)
    assert len(seen) == 3
    for one, two in zip(seen, expected, strict=True):
        assert not one.requires_grad
        torch.testing.assert_close(one, two.detach())


def recorded(
    original: Callable[[Tensor, Targets], Tensor], to: list[Tensor]
) -> Callable[[Tensor, Targets], Tensor]:
    def record(restored: Tensor, targets: Targets) -> Tensor:
        assert targets.features is not None
        to.append(targets.features)
        return original(restored, targets)

    return record


def test_without_reconstruction_ours_is_greedy_contrast() -> None:
    ours, greedy = learner(OURS, reconstruction_weight=[0, 0]), learner("swin-contrast")
    for index in range(3):
        block = block_of(ours, index)
        stem, task = greedy.independents[str(index)].branches[0].net  # type: ignore[index, union-attr]
        stem.load_state_dict(block.stem.state_dict())
        task.load_state_dict(block.task.state_dict())
    data = batch(side=SIDE)
    assert_same(part(stepped(ours, data), "chain."), part(stepped(greedy, data), "chain."))
    torch.testing.assert_close(ours.step(*data).losses, greedy.step(*data).losses)


def test_what_the_feed_is_asked_for() -> None:
    asked = {
        method: learner(method) for method in (OURS, INFOPRO, "swin-greedy", "swin-contrast", "bp")
    }
    assert [name for name, net in asked.items() if net.restores_features] == [OURS]
    assert [name for name, net in asked.items() if net.restores_image] == [INFOPRO]
    images, targets = batch(side=SIDE)
    for name in (OURS, "swin-greedy", "swin-contrast", "bp"):
        asked[name].step(images, Targets(targets.labels))  # without pixels


def test_one_local_layer_per_module_restores_the_image_first() -> None:
    """Then the patch embedding is a module of its own, and its input is the image."""
    net = learner(OURS, modules=None)
    assert net.modules_count == 13
    point = AttachPoint(0, 0, 13, net.partition.ends, net.chain.specs, CLASSES, SIDE)
    assert (point.input_features.channels, point.input_features.side) == (3, SIDE)
    assert net.step(*batch(side=SIDE)).losses.isfinite().all()


def test_input_features_of_every_attach_point() -> None:
    with torch.device("meta"):
        chosen = swin(OURS, 4, "swin-tiny")
        net = build_learner(chosen, CLASSES, 224)
    sources = [
        AttachPoint(
            net.partition.ends[index], index, 4, net.partition.ends, net.chain.specs, CLASSES, 224
        ).input_features
        for index in range(3)
    ]
    assert sources == [(96, 56), (192, 28), (384, 14)]


# Guidance, lean memory, bfloat16


@pytest.mark.parametrize("method", [OURS, INFOPRO, "swin-greedy"])
def test_guided_step_is_backpropagation_for_the_backbone(method: str) -> None:
    net, data = learner(f"pgl+{method}"), batch(side=SIDE)
    guided, local = stepped(net, data, guided=True), stepped(net, data)
    assert_same(part(guided, "chain."), part(stepped(learner("bp"), data), "chain."))
    blocks = part(local, "independents.")
    assert_same(part(guided, "independents."), blocks)
    assert all(each.any() for name, each in blocks.items() if name.endswith("weight"))


@pytest.mark.parametrize("method", [OURS, INFOPRO, "swin-greedy", "swin-contrast", "bp"])
def test_lean_memory_has_the_same_gradients(method: str) -> None:
    data = batch(side=SIDE)
    plain = learner(method)
    made = recipe_of(method, {}, network="swin-micro", modules=4, memory="lean", image_size=SIDE)
    lean = build_learner(made, CLASSES, SIDE).double()
    assert_same(stepped(lean, data), stepped(plain, data))
    for (name, left), (_, right) in zip(plain.named_buffers(), lean.named_buffers(), strict=True):
        torch.testing.assert_close(left, right, msg=name)


def test_lean_memory_is_refused_with_drop_path() -> None:
    """It runs a module twice, and the second run would leave out other blocks."""
    with pytest.raises(UsageError, match="drop_path"):
        recipe_of(OURS, {}, network="swin-micro", modules=4, memory="lean", drop_path=0.1)
    recipe_of(OURS, {}, network="swin-micro", modules=4, memory="plain", drop_path=0.1)


@pytest.mark.parametrize("memory", ["plain", "lean"])
@pytest.mark.parametrize(
    "options", [{}, {"feature_target": "raw-mse"}, {"decoder": "interp"}], ids=str
)
@pytest.mark.parametrize("guided", [False, True])
def test_losses_in_bfloat16(memory: str, options: dict[str, Any], guided: bool) -> None:
    """Criteria run outside of autocast, and what is reported is not rounded to eight bits."""
    made = recipe_of(
        f"pgl+{OURS}", options, network="swin-micro", modules=4, memory=memory, image_size=SIDE
    )
    net, exact = build_learner(made, CLASSES, SIDE), build_learner(made, CLASSES, SIDE)
    data, reported = batch(8, SIDE, torch.float32), []
    independent = net.independent

    def record(index: int, features: Tensor, targets: Targets, scale: float = 1.0) -> Tensor:
        loss = independent(index, features, targets, scale)
        reported.append((features.dtype, loss.dtype))
        return loss

    net.independent = record  # type: ignore[method-assign]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = net.step(*data, guided=guided)
    expected = exact.step(*data, guided=guided)
    torch.testing.assert_close(found.losses, expected.losses, rtol=0.05, atol=0.05)
    assert [loss for _, loss in reported] == [torch.float32] * 3
    assert torch.bfloat16 in {features for features, _ in reported}
    assert all(each.grad is not None and each.grad.isfinite().all() for each in net.parameters())


# What goes together


@pytest.mark.parametrize(
    "method", [f"{modifier}+{base}" for modifier in ("hpff", "pff") for base in (OURS, INFOPRO)]
)
def test_restored_maps_are_not_split_into_patches(method: str) -> None:
    with pytest.raises(UsageError, match="patches"):
        swin(method)


@pytest.mark.parametrize("method", ["auglocal", "reconstruction+auglocal", "pgl+auglocal"])
def test_auglocal_has_no_rule_for_transformers(method: str) -> None:
    with pytest.raises(UsageError, match="AugLocal"):
        swin(method)


COMBINED = [
    *(name for name in METHODS if name != "auglocal"),
    "hpff+swin-greedy",
    "pff+swin-contrast",
    "hpff+dgl",
]
COMBINED += ["similarity+swin-reconstruction", "reconstruction+swin-greedy", "bp+checkpointed"]


@pytest.mark.parametrize("method", COMBINED)
def test_methods_on_a_transformer(method: str) -> None:
    made = recipe_of(method, {}, network="swin-micro", modules=4)
    net, data = build_learner(made, CLASSES, 64), batch(4, 64, torch.float32)
    output = net.step(*data)
    assert output.losses.isfinite().all()
    assert output.logits.shape == (4, CLASSES)
    assert all(each.grad is not None for each in net.chain.parameters())


def test_checkpointing_draws_the_same_blocks_again() -> None:
    data = batch(side=SIDE)
    found = []
    for method in ("bp", "bp+checkpointed"):
        made = recipe_of(method, {}, network="swin-micro", image_size=SIDE, drop_path=0.5)
        net = build_learner(made, CLASSES, SIDE).double()
        torch.manual_seed(3)
        found.append(stepped(net, data))
    assert_same(*found)


def test_aux_adapt_has_no_head_for_a_fourth_stage() -> None:
    made = recipe_of("head", {"net": "adapt"}, network="swin-micro", image_size=SIDE)
    with pytest.raises(UsageError, match="stage 4"):
        build_learner(made, CLASSES, SIDE)
    build_learner(swin("head", 4, net="adapt"), CLASSES, SIDE)
