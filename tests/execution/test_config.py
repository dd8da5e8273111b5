"""The devices of a sweep."""

from __future__ import annotations

import pytest

from locbench.errors import UsageError
from locbench.execution.config import device_names


def test_device_names() -> None:
    assert device_names("cpu", 1) == ("cpu",)
    assert device_names("cuda:0, cuda:1", 2) == ("cuda:0", "cuda:1", "cuda:0", "cuda:1")
    for device, jobs in (("cpu", 0), (",", 1), ("cpu,cpu", 1)):
        with pytest.raises(UsageError):
            device_names(device, jobs)
