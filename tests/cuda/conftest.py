"""The stand-in for CUDA, built once per process of tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from cuda_standin import build, obstacle, run

NEWEST_TORCH = (2, 14)
"""With later ones the stand-in may lack what they call."""

PROBE = """
import torch
weights = torch.ones(4, 4, device="cuda", requires_grad=True)
(weights @ weights).sum().backward()
"""


@pytest.fixture(scope="session")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the stand-in; skip where it cannot be built."""
    if why := obstacle():
        pytest.skip(why)
    folder = build(tmp_path_factory.mktemp("cuda"))
    if torch.__version__ >= (NEWEST_TORCH[0], NEWEST_TORCH[1] + 1):
        probe = run(folder, "-c", PROBE)
        if probe.returncode:
            pytest.skip(f"the stand-in for CUDA does not know torch {torch.__version__}")
    return folder
