"""What is timed of the data path."""

from __future__ import annotations

import pytest
import torch
from bench_cases import cases

from locbench.bench.data_path import Batched

CPU = torch.device("cpu")


def test_evaluation_is_timed_in_the_batches_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []
    sizes: list[int] = []

    def size(*given: object) -> int:
        asked.append(given)
        return 24

    monkeypatch.setattr("locbench.bench.data_path.eval_batch_size", size)
    monkeypatch.setattr(
        "locbench.bench.data_path.accuracy",
        lambda chain, batches, device: sizes.extend(len(each.labels) for each in batches),
    )
    assert Batched(cases()[0].recipe, 8 * 50, CPU).evaluation("resnet8") > 0
    assert (asked, sizes) == ([(16, CPU)], [24, 24, 2])
