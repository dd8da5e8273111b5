"""Counted bytes and operations, and what a device is measured with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from bench_cases import cases
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from locbench.bench import roofline
from locbench.bench.roofline import Ceiling, Operation, Operations, measure_ceiling, trace


class TestRoofline:
    def counted(self, work: Callable[[], object]) -> list[Operation]:
        with FakeTensorMode(), Operations() as live:
            inputs = work()
            live.seen.clear()
            inputs()  # type: ignore[operator]
        return live.seen

    def test_a_convolution(self) -> None:
        def work() -> Callable[[], object]:
            x, net = torch.zeros(2, 3, 8, 8), nn.Conv2d(3, 4, 3, padding=1, bias=False)
            return lambda: net(x)

        (found,) = self.counted(work)
        assert found.flops == 2 * (2 * 4 * 8 * 8) * 3 * 9
        assert found.moved == 4 * (2 * 3 * 8 * 8 + 4 * 3 * 9 + 2 * 4 * 8 * 8)

    def test_its_backward_pass_makes_both_gradients(self) -> None:
        def work() -> Callable[[], object]:
            x, net = (
                torch.zeros(2, 3, 8, 8, requires_grad=True),
                nn.Conv2d(3, 4, 3, padding=1, bias=False),
            )
            y = net(x)
            return lambda: torch.autograd.grad(y, (x, net.weight), torch.zeros_like(y))

        found = self.counted(work)[-1]
        image, weight, out = 2 * 3 * 8 * 8, 4 * 3 * 9, 2 * 4 * 8 * 8
        assert found.name == "aten.convolution_backward.default"
        assert found.flops == 2 * 2 * out * 27
        assert found.moved == 4 * (out + 2 * image + 2 * weight)

    def test_in_place_reads_and_writes_and_views_are_free(self) -> None:
        def work() -> Callable[[], object]:
            x, y = torch.zeros(10, 10), torch.zeros(10, 10)
            return lambda: (x.add_(y), x.t().detach(), x.view(-1), y.expand(10, 10), x.relu())

        assert [(each.moved, each.flops) for each in self.counted(work)] == [
            (3 * 400, 0),
            (2 * 400, 0),
        ]

    def test_a_fused_optimizer_reads_gradients_and_changes_weights_and_momentum(self) -> None:
        def work() -> Callable[[], object]:
            weight = nn.Parameter(torch.zeros(100))
            optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9, fused=True)
            weight.grad = torch.zeros(100)
            optimizer.step()
            return optimizer.step

        found = [each for each in self.counted(work) if "sgd" in each.name]
        assert [each.moved for each in found] == [400 * 5]

    def test_a_whole_step_of_a_linear_network_by_hand(self) -> None:
        def work() -> Callable[[], object]:
            x, net = torch.zeros(5, 7), nn.Linear(7, 3)
            labels = torch.zeros(5, dtype=torch.int64)
            return lambda: F.cross_entropy(net(x), labels).backward()

        found = self.counted(work)
        # Forward, and the weight's gradient.
        assert sum(each.flops for each in found) == 2 * (5 * 7 * 3) * 2
        (product,) = [each for each in found if each.name == "aten.addmm.default"]
        assert product.moved == 4 * (3 + 5 * 7 + 7 * 3 + 5 * 3)

    def test_every_operation_takes_the_longer_of_both(self) -> None:
        ceiling = Ceiling(bytes_per_second=100.0, flops_per_second=10.0)
        assert ceiling.seconds([Operation("a", 200, 5), Operation("b", 100, 30)]) == pytest.approx(
            2.0 + 3.0
        )

    def test_a_training_steps_products_are_three_forward_passes(self) -> None:
        (bp,) = cases("bp")
        from locbench.costs.counts import flops_by_part

        macs = flops_by_part(bp.recipe).network.macs * 8
        first = 8 * 16 * 16 * 16 * 27  # the stem's input needs no gradient
        assert sum(each.flops for each in trace(bp)[0]) == 2 * (3 * macs - first)


class Products(TorchDispatchMode):
    """Keeps the factors of matrix products."""

    def __init__(self) -> None:
        super().__init__()
        self.factors: list[torch.Tensor] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.aten.mm.default:
            self.factors += args
        return func(*args, **kwargs or {})


def test_a_device_multiplies_random_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(roofline.SIDE, "cpu", 32)
    monkeypatch.setitem(roofline.COPIED, "cpu", 1024)
    monkeypatch.setitem(roofline.CONVOLVED, "cpu", (1, 16, 4))
    with Products() as products:
        ceiling = measure_ceiling(torch.device("cpu"), "bf16")
    assert min(ceiling.bytes_per_second, ceiling.flops_per_second) > 0
    assert {factor.dtype for factor in products.factors} == {torch.bfloat16}
    assert all(factor.shape == (32, 32) for factor in products.factors)
    assert all(0.8 < factor.float().std() < 1.2 for factor in products.factors)
