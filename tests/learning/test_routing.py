"""Every routing's gradients, compared with plain autograd of its definition."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from specimens import assert_same, batch, gradients, learner
from torch import Tensor, nn

from locbench.learning.auxiliary.branch import AuxiliaryNet, Targets
from locbench.learning.auxiliary.hpff import PatchFusion
from locbench.learning.auxiliary.infopro import ImageDecoder, QuadrantDecoders
from locbench.learning.learner import Learner
from locbench.learning.modules import Auxiliary

SIDE = 16
LOCAL = ["dgl", "predsim", "infopro", "head", "auglocal"]


def quarters(x: Tensor) -> list[Tensor]:
    h, w = x.shape[2] // 2, x.shape[3] // 2
    return [x[:, :, :h, :w], x[:, :, :h, w:], x[:, :, h:, :w], x[:, :, h:, w:]]


def branch_loss(branch: nn.Module, h: Tensor, targets: Targets) -> Tensor:
    """Return a branch's loss as one graph, patches written out."""
    if isinstance(branch, PatchFusion):
        inner = branch.branch
        if isinstance(inner, ImageDecoder):
            pairs = zip(quarters(h), quarters(targets.pixels), strict=True)
            return sum(F.binary_cross_entropy(inner(part), pixels) for part, pixels in pairs) / 4  # type: ignore[return-value]
        return inner.criterion(sum(inner(part) for part in quarters(h)) / 4, targets)
    if isinstance(branch, QuadrantDecoders):
        triples = zip(branch.decoders, quarters(h), quarters(targets.pixels), strict=True)
        return sum(F.binary_cross_entropy(net(part), pixels) for net, part, pixels in triples)  # type: ignore[return-value]
    assert isinstance(branch, AuxiliaryNet)
    return branch.criterion(branch(h), targets)


def auxiliary_loss(auxiliary: nn.Module, h: Tensor, targets: Targets) -> Tensor:
    assert isinstance(auxiliary, Auxiliary)
    total = h.new_zeros(())
    for branch, weight in zip(auxiliary.branches, auxiliary.weights, strict=True):
        total = total + weight * branch_loss(branch, h, targets)
    return total


def definition(
    net: Learner, x: Tensor, targets: Targets, independent: float, cascade: float, first: int = 0
) -> Tensor:
    """Return the sum of all losses of HPFF's equations, cut where they cut.

    Cascade 0 is isolated training.
    """
    top, total = net.modules_count - 1, x.new_zeros(())
    inputs = [x]
    for index in range(top):
        inputs.append(net.run_module(index, inputs[-1]).detach())
    for index in range(first, top + 1):
        h = net.run_module(index, inputs[index])
        loss = F.cross_entropy(h, targets.labels) if index == top else None
        if independent:
            total = total + independent * (
                auxiliary_loss(net.independents[str(index)], h, targets) if loss is None else loss
            )
    for end in range(1, top + 1) if cascade else ():
        h = net.run_module(end, net.run_module(end - 1, inputs[end - 1]))
        loss = (
            F.cross_entropy(h, targets.labels)
            if end == top
            else auxiliary_loss(net.cascades[str(end)], h, targets)
        )
        total = total + cascade * loss
    return total


def stepped(
    net: Learner, data: tuple[Tensor, Targets], *, guided: bool = False
) -> dict[str, Tensor]:
    net.zero_grad()
    net.step(*data, guided=guided)
    return gradients(net)


def backed(net: Learner, loss: Tensor) -> dict[str, Tensor]:
    net.zero_grad()
    loss.backward()
    return gradients(net)


def chain_only(found: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: each for name, each in found.items() if name.startswith("chain.")}


def of_module(net: Learner, index: int, found: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the gradients of a module, its own auxiliary net's included."""
    prefixes = [f"chain.units.{unit}." for unit in net.partition.ranges[index]]
    prefixes += [f"independents.{index}."] + (
        ["chain.head."] if index == net.modules_count - 1 else []
    )
    return {name: each for name, each in found.items() if name.startswith(tuple(prefixes))}


def disturb(net: Learner, index: int) -> None:
    """Change a module, and every auxiliary net that hangs on it."""
    own = [*net.module_parameters(index)]
    for auxiliaries in (net.independents, net.cascades):
        if str(index) in auxiliaries:
            own += [*auxiliaries[str(index)].parameters()]
    with torch.no_grad():
        for each in own:
            each.add_(0.1 * torch.rand_like(each))


def any_change(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return any(not torch.equal(each, right[name]) for name, each in left.items())


@pytest.mark.parametrize("method", LOCAL)
def test_isolated_modules_do_not_feel_later_ones(method: str) -> None:
    net, data = learner(method, side=SIDE), batch(side=SIDE)
    before = stepped(net, data)
    for later in range(net.modules_count - 1, 0, -1):
        disturb(net, later)
        after = stepped(net, data)
        for index in range(later):
            assert not any_change(of_module(net, index, before), of_module(net, index, after))
        assert any_change(of_module(net, later, before), of_module(net, later, after))


@pytest.mark.parametrize("method", [*LOCAL, "reconstruction+auglocal", "similarity+dgl"])
@pytest.mark.parametrize("modules", [None, 3, 2])
def test_isolated_is_each_module_by_itself(method: str, modules: int | None) -> None:
    """Separate backward passes equal one of the sum of losses over detached inputs."""
    net, data = learner(method, side=SIDE, modules=modules), batch(side=SIDE)
    assert_same(stepped(net, data), backed(net, definition(net, *data, 1.0, 0.0)))


def test_one_module_is_backpropagation() -> None:
    images, targets = batch()
    net = learner("bp")
    expected = F.cross_entropy(net.chain(images), targets.labels)
    assert_same(stepped(net, (images, targets)), backed(net, expected))
    reported = net.step(images, targets)
    assert reported.losses.tolist() == pytest.approx([expected.item()])
    for method in ("dgl", "hpff+dgl", "pgl+head"):
        single = learner(method, modules=1)
        assert_same(stepped(single, (images, targets)), stepped(net, (images, targets)))


@pytest.mark.parametrize("segments", [8, 0, 2, 5])
def test_checkpointing_changes_nothing(segments: int) -> None:
    settings: dict[str, Any] = {"network": "resnet20", "side": SIDE}
    plain, checked = (
        learner("bp", **settings),
        learner("bp+checkpointed", segments=segments, **settings),
    )
    data = batch(side=SIDE)
    assert_same(stepped(plain, data), stepped(checked, data))
    for (name, left), (_, right) in zip(
        plain.named_buffers(), checked.named_buffers(), strict=True
    ):
        assert torch.equal(left, right), name


CASCADES = [
    {},
    {"official_edges": True},
    {"levels": "CL"},
    {"levels": "IL", "official_edges": True},
    {"independent_weight": 0.3, "cascade_weight": 0.6},
]


def weights_of(options: dict[str, Any]) -> tuple[float, float, int]:
    pair = {"IL": (1.0, 0.0), "CL": (0.0, 1.0)}.get(options.get("levels", ""), (0.001, 0.999))
    pair = (options.get("independent_weight", pair[0]), options.get("cascade_weight", pair[1]))
    return *pair, int(options.get("official_edges", False))


@pytest.mark.parametrize("options", CASCADES, ids=str)
@pytest.mark.parametrize("pff", [0, 2])
@pytest.mark.parametrize("base", ["dgl", "predsim", "infopro"])
def test_hpff_is_its_definition(base: str, pff: int, options: dict[str, Any]) -> None:
    data = batch(4, SIDE)
    nets = [
        learner(f"hpff+{base}", side=SIDE, pff=pff, engine=each, **options)
        for each in ("reuse", "recompute")
    ]
    expected = backed(nets[0], definition(nets[0], *data, *weights_of(options)))
    assert_same(stepped(nets[0], data), expected)
    assert_same(stepped(nets[1], data), expected)
    losses = [net.step(*data).losses for net in nets]
    torch.testing.assert_close(losses[0], losses[1])
    if options.get("levels") != "IL":
        assert losses[0].sum().item() == pytest.approx(
            definition(nets[0], *data, *weights_of(options)).item()
        )


@pytest.mark.parametrize("modules", [2, 3])
@pytest.mark.parametrize("engine", ["reuse", "recompute"])
@pytest.mark.parametrize("options", CASCADES, ids=str)
def test_hpff_with_few_modules(modules: int, engine: str, options: dict[str, Any]) -> None:
    """With K = 2 there is one window, the whole network."""
    net, data = (
        learner("hpff+dgl", side=SIDE, modules=modules, engine=engine, **options),
        batch(4, SIDE),
    )
    assert_same(stepped(net, data), backed(net, definition(net, *data, *weights_of(options))))
    if modules == 2 and options == {"levels": "CL"}:
        plain = stepped(learner("bp", side=SIDE), data)
        assert_same(chain_only(stepped(net, data)), plain)


@pytest.mark.parametrize("engine", ["reuse", "recompute"])
def test_quadrant_decoders_of_the_released_code(engine: str) -> None:
    net = learner("hpff+infopro", side=SIDE, pff_scope="cascade_decoder", engine=engine)
    data = batch(4, SIDE)
    assert_same(stepped(net, data), backed(net, definition(net, *data, 0.001, 0.999)))
    kinds = {type(each) for each in net.modules()}
    assert QuadrantDecoders in kinds
    assert PatchFusion not in kinds


def test_independent_level_alone_is_the_plain_method() -> None:
    net, plain = learner("hpff+dgl", side=SIDE, levels="IL", pff=0), learner("dgl", side=SIDE)
    data = batch(side=SIDE)
    assert_same(stepped(net, data), stepped(plain, data))


@pytest.mark.parametrize("engine", ["reuse", "recompute"])
def test_official_edges_leave_the_first_module_to_its_window(engine: str) -> None:
    net = learner("hpff+dgl", side=SIDE, levels="IL", official_edges=True, engine=engine)
    net.step(*batch(side=SIDE))
    assert net.partition.ends == (1, 2, 3)
    assert all(each.grad is None for each in net.module_parameters(0))
    assert all(each.grad is not None for index in (1, 2) for each in net.module_parameters(index))


@pytest.mark.parametrize("engine", ["reuse", "recompute"])
@pytest.mark.parametrize("end", [1, 2, 3])
def test_a_window_trains_its_two_modules_only(engine: str, end: int) -> None:
    """Silence every other window: gradients are linear in the windows' weights."""
    net, data = (
        learner("hpff+dgl", network="resnet14", modules=5, side=SIDE, levels="CL", engine=engine),
        batch(4, SIDE),
    )
    for auxiliary in net.cascades.values():
        auxiliary.weights = [0.0]  # type: ignore[assignment]
    silent = stepped(net, data)
    net.cascades[str(end)].weights = [1.0]  # type: ignore[assignment]
    heard = stepped(net, data)
    touched = {
        name for name in heard if not torch.allclose(heard[name], silent[name], rtol=0, atol=1e-13)
    }
    own = {name for index in (end - 1, end) for name in of_module(net, index, heard)}
    assert touched
    assert touched <= own | {name for name in heard if name.startswith(f"cascades.{end}.")}
    for index in (end - 1, end):
        assert touched & set(of_module(net, index, heard))


def test_cascade_reaches_one_module_back() -> None:
    net, data = learner("hpff+dgl", side=SIDE), batch(side=SIDE)
    before = stepped(net, data)
    disturb(net, 3)
    after = stepped(net, data)
    assert not any_change(of_module(net, 0, before), of_module(net, 0, after))
    assert not any_change(of_module(net, 1, before), of_module(net, 1, after))
    assert any_change(of_module(net, 2, before), of_module(net, 2, after))


def test_infopros_ramp_runs_over_the_windows() -> None:
    """K=6, (5, 0.5) -> (0, 0): the window that ends at module j has r = (j - 1) / 4."""
    options = {"reconstruction_weight": (5, 0), "task_weight": (0.5, 0)}
    net = learner("hpff+infopro", network="resnet14", modules=6, side=SIDE, **options)
    found = {int(key): each.weights for key, each in net.cascades.items()}
    # Index = j - 1; branches: task head, decoder.
    assert found == {
        1: pytest.approx([0.375, 3.75]),
        2: pytest.approx([0.25, 2.5]),
        3: pytest.approx([0.125, 1.25]),
        4: pytest.approx([0.0, 0.0]),
    }
    assert [each.weights for each in net.independents.values()] == [[1.0]] * 5
    data = batch(4, SIDE)
    assert_same(stepped(net, data), backed(net, definition(net, *data, 0.001, 0.999)))


def test_infopros_ramp_runs_over_the_modules() -> None:
    """ResNet-32, K=16: 5 -> 0.2 and 0.05 -> 0.5 over fifteen auxiliary nets, r = m / 14."""
    net = learner("infopro", network="resnet32")
    weights = [each.weights for each in net.independents.values()]
    assert weights[0] == pytest.approx([0.05, 5.0])
    assert weights[7] == pytest.approx([0.275, 2.6])
    assert weights[14] == pytest.approx([0.5, 0.2])


@pytest.mark.parametrize("base", ["dgl", "predsim", "infopro", "head", "auglocal"])
def test_patch_fusion_in_two_passes_retained_and_by_definition(base: str) -> None:
    nets = [learner(f"pff+{base}", side=SIDE, passes=each) for each in ("two", "retain")]
    data = batch(4, SIDE)
    expected = backed(nets[0], definition(nets[0], *data, 1.0, 0.0))
    assert_same(stepped(nets[0], data), expected)
    assert_same(stepped(nets[1], data), expected)


def test_patch_fusion_of_a_contrastive_head() -> None:
    nets = [
        learner("pff+infopro", side=SIDE, loss="contrast", passes=each)
        for each in ("two", "retain")
    ]
    data = batch(side=SIDE)
    expected = backed(nets[0], definition(nets[0], *data, 1.0, 0.0))
    for net in nets:
        assert_same(stepped(net, data), expected)


@pytest.mark.parametrize("method", ["pgl+head", "pgl+auglocal", "pgl+infopro", "pgl+pff+dgl"])
def test_global_phase(method: str) -> None:
    """The backbone's gradient is backpropagation's.

    Auxiliary nets train as in the local phase on the same features.
    """
    net, data = learner(method, side=SIDE), batch(side=SIDE)
    found, local = stepped(net, data, guided=True), stepped(net, data)
    plain = stepped(learner("bp", side=SIDE), data)
    assert_same(chain_only(found), plain)
    rest = {name: each for name, each in found.items() if not name.startswith("chain.")}
    assert rest
    assert_same(rest, {name: local[name] for name in rest})


@pytest.mark.parametrize("options", [{}, {"levels": "CL"}, {"official_edges": True}], ids=str)
def test_global_phase_over_levels(options: dict[str, Any]) -> None:
    net, data = learner("pgl+hpff+dgl", side=SIDE, **options), batch(side=SIDE)
    found, local = stepped(net, data, guided=True), stepped(net, data)
    assert_same(chain_only(found), stepped(learner("bp", side=SIDE), data))
    rest = {name: each for name, each in found.items() if not name.startswith("chain.")}
    assert_same(rest, {name: local[name] for name in rest})


def test_without_guidance_pgl_is_local() -> None:
    data = batch()
    assert_same(stepped(learner("pgl+head", duration=0), data), stepped(learner("head"), data))


def counts(net: nn.Module) -> set[int]:
    return {int(each) for name, each in net.named_buffers() if name.endswith("num_batches_tracked")}


@pytest.mark.parametrize(
    ("method", "guided"),
    [
        ("bp", False),
        ("bp+checkpointed", False),
        *((each, False) for each in LOCAL),
        *((f"hpff+{each}", False) for each in LOCAL),
        ("pff+dgl", False),
        ("pgl+head", False),
        ("pgl+head", True),
        ("pgl+pff+dgl", True),
    ],
)
def test_batchnorm_sees_each_batch_once(method: str, guided: bool) -> None:
    net = learner(method, side=SIDE)
    images, targets = batch(side=SIDE)
    net.step(images, targets, guided=guided)
    assert counts(net.chain) == {1}
    # Running mean of the stem: a tenth of the batch's, from 0.
    stem = net.chain.units[0]
    mean = stem[0](images).mean(dim=(0, 2, 3))  # type: ignore[index]
    torch.testing.assert_close(stem[1].running_mean, 0.1 * mean.detach())  # type: ignore[index]
    for auxiliary in [*net.independents.values(), *net.cascades.values()]:
        ran = [
            each
            for each, weight in zip(auxiliary.branches, auxiliary.weights, strict=True)
            if weight
        ]
        for branch in ran:
            # Behind patch fusion a net sees four patches, each once.
            assert counts(branch) <= ({4} if isinstance(branch, PatchFusion) else {1})


def test_recomputing_engine_counts_as_the_released_code() -> None:
    """Three forward passes for inner modules, two for the last, one for the stem."""
    net = learner("hpff+dgl", side=SIDE, engine="recompute")
    net.step(*batch(side=SIDE))
    assert [counts(unit) for unit in net.chain.units] == [{1}, {3}, {3}, {2}]


def test_patch_fusion_leaves_statistics_of_one_pass() -> None:
    nets = [learner("pff+dgl", side=SIDE, passes=each) for each in ("two", "retain")]
    for net in nets:
        net.step(*batch(side=SIDE))
    for (name, left), (_, right) in zip(
        nets[0].named_buffers(), nets[1].named_buffers(), strict=True
    ):
        torch.testing.assert_close(left, right, msg=name)


def test_gradients_add_up_over_steps() -> None:
    net, data = learner("hpff+infopro", side=SIDE), batch(side=SIDE)
    once = stepped(net, data)
    net.step(*data)
    assert_same(gradients(net), {name: 2 * each for name, each in once.items()})


def test_input_and_logits_stay_outside_of_graphs() -> None:
    def outputs() -> Iterator[Tensor]:
        for method in ("bp", "bp+checkpointed", "dgl", "hpff+dgl", "pgl+head"):
            images, targets = batch()
            output = learner(method).step(images, targets, guided=method == "pgl+head")
            assert images.grad is None
            yield from (output.losses, output.logits)

    assert not any(each.requires_grad and each.grad_fn is not None for each in outputs())
