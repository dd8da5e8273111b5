"""Kinds of operations."""

from __future__ import annotations

import pytest

from locbench.bench.profile import profile_of


def test_kinds_of_operations_add_up_to_the_clock() -> None:
    own = {
        "aten::mkldnn_convolution": 4000.0,
        "aten::native_batch_norm": 1000.0,
        "aten::_fused_sgd_": 500.0,
    }
    own |= {"aten::relu_": 250.0, "aten::convolution_backward": 2000.0}
    profile = profile_of(own, 0.010, 2)
    wanted = {
        "convolution": 3.0,
        "batch norm": 0.5,
        "optimizer": 0.25,
        "other": 0.125,
        "overhead": 1.125,
    }
    assert profile.kinds == pytest.approx(wanted)
    assert profile.milliseconds == pytest.approx(5.0)
