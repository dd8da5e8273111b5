"""The stand-in for CUDA, built once per process of tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from cuda_standin import build, obstacle


@pytest.fixture(scope="session")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the stand-in; skip where it cannot be built."""
    if why := obstacle():
        pytest.skip(why)
    return build(tmp_path_factory.mktemp("cuda"))
