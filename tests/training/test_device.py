"""Devices by name, and what they can do."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from locbench.errors import UsageError
from locbench.training import device
from locbench.training.device import choose_device, numbered


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
