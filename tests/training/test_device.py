"""Devices by name, and what they can do."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from locbench.errors import UsageError
from locbench.spec.choices import Precision
from locbench.training import device
from locbench.training.device import LAYOUT_SWITCH, choose_device, memory_layout, numbered


def test_a_cuda_device_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """`torch.cuda.set_device` takes no other."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert choose_device("auto") == torch.device("cuda", 1)
    assert numbered(torch.device("cuda")) == torch.device("cuda", 1)
    assert numbered(torch.device("cuda:0")) == torch.device("cuda", 0)
    assert numbered(torch.device("cpu")) == torch.device("cpu")


def test_a_device_that_is_not_here_is_refused() -> None:
    with pytest.raises(UsageError, match="no device 'meta'"):
        choose_device("meta")


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        ("model name\t: X\nflags\t\t: fpu avx512f avx512_bf16 sse\n", True),
        ("flags\t\t: fpu amx_tile amx_bf16\n", True),
        ("flags\t\t: fpu avx512f avx512_vnni\n", False),
        ("Features\t: fp asimd bf16 i8mm\n", True),
        ("Features\t: fp asimd\n", False),
        ("", False),
    ],
)
def test_bfloat16_in_hardware(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, described: str, expected: bool
) -> None:
    (tmp_path / "cpuinfo").write_text(described)
    monkeypatch.setattr(device, "CPU_INFO", tmp_path / "cpuinfo")
    assert device.has_bfloat16(torch.device("cpu")) is expected


def test_no_description_of_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "CPU_INFO", tmp_path / "none")
    assert not device.has_bfloat16(torch.device("cpu"))
    assert device.device_name(torch.device("cpu")).startswith("cpu, ")


@pytest.mark.parametrize(
    ("precision", "on_cpu", "on_cuda"),
    [("fp32", True, False), ("tf32", True, True), ("bf16", True, True)],
)
def test_channels_come_last_where_tensor_cores_want_them(
    monkeypatch: pytest.MonkeyPatch, precision: Precision, on_cpu: bool, on_cuda: bool
) -> None:
    monkeypatch.delenv(LAYOUT_SWITCH, raising=False)
    for kind, last in (("cpu", on_cpu), ("cuda", on_cuda)):
        layout = memory_layout(precision, torch.device(kind))
        assert layout is (torch.channels_last if last else torch.contiguous_format)


@pytest.mark.parametrize(
    ("switch", "expected"), [("1", torch.channels_last), ("0", torch.contiguous_format)]
)
def test_the_environment_decides_the_layout(
    monkeypatch: pytest.MonkeyPatch, switch: str, expected: torch.memory_format
) -> None:
    monkeypatch.setenv(LAYOUT_SWITCH, switch)
    assert memory_layout("fp32", torch.device("cuda")) is expected
    assert memory_layout("bf16", torch.device("cpu")) is expected


def test_a_layout_of_another_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LAYOUT_SWITCH, "yes")
    with pytest.raises(UsageError, match="LOCBENCH_CHANNELS_LAST is 'yes'"):
        memory_layout("fp32", torch.device("cpu"))
