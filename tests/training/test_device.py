"""The device of a name."""

from __future__ import annotations

import pytest
import torch

from locbench.errors import UsageError
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
