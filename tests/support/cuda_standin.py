"""PyTorch's own CUDA code on a machine without a GPU, in processes of its own.

``tests/support/cuda`` has C++ that stands in for CUDA's runtime, cuBLAS and cuDNN. Above it
dispatch, the caching allocator, autograd's threads, fused optimizers and stream capture are real.
It shows whether a step synchronises, allocates and can be captured, how many kernels it launches,
and what ``max_memory_allocated`` will be. It shows no numbers, no speed, no workspaces of cuDNN.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import torch

SOURCES = Path(__file__).parent / "cuda"
OLDEST_TORCH = (2, 11)
"""Earlier ones call functions that the stand-in lacks."""


def obstacle() -> str:
    """Return why the stand-in cannot be built here, or nothing."""
    if torch.version.cuda is None:
        return "torch is built without CUDA"
    if tuple(map(int, torch.__version__.split(".")[:2])) < OLDEST_TORCH:
        return f"torch {torch.__version__} is older than the stand-in for CUDA knows"
    if shutil.which("g++") is None:
        return "there is no g++ to build the stand-in for CUDA with"
    if not _headers():
        return "there are no CUDA headers beside torch"
    return ""


def build(folder: Path) -> Path:
    """Build the stand-in in a folder and return it."""
    runtime = ("device.so", "runtime.cpp", "libraries.cpp")
    for name, *sources in (runtime, ("libcuda.so.1", "driver.cpp")):
        options = ["-std=c++17", "-O0", "-shared", "-fPIC", *(f"-I{each}" for each in _headers())]
        files = [str(SOURCES / source) for source in sources]
        subprocess.run(["g++", *options, *files, "-o", str(folder / name)], check=True)
    return folder


def run(folder: Path, *arguments: str, seconds: int = 240) -> subprocess.CompletedProcess[str]:
    """Run Python on the stand-in of a folder and return what it has printed."""
    environment = os.environ | {
        "LD_PRELOAD": str(folder / "device.so"),
        "LD_LIBRARY_PATH": str(folder),
        "PYTHONPATH": os.pathsep.join([str(SOURCES.parents[2]), str(SOURCES.parent)]),
        "OMP_NUM_THREADS": "1",
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
        # Triton links what it keeps to the stand-in.
        "TRITON_CACHE_DIR": str(folder / "triton"),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
        "COLUMNS": "150",
    }
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds,
        cwd=folder,
    )


def reset() -> None:
    """Count anew, in a process on the stand-in."""
    ctypes.CDLL(os.environ["LD_PRELOAD"]).standin_reset()


def counts() -> dict[str, Any]:
    """Return what the process has asked the device for since the last reset.

    Kernels, those captured included; of these those that Triton has compiled; copies; memsets;
    waits for the device; allocations; launches of graphs; nodes captured; violations of the rules
    of capture, and notes on the first of them.
    """
    report = ctypes.CDLL(os.environ["LD_PRELOAD"]).standin_counts
    report.restype = ctypes.c_char_p
    return dict(json.loads(report()))


def _headers() -> list[Path]:
    """Return the folders of CUDA's headers in pip's wheels."""
    site = Path(sysconfig.get_paths()["purelib"])
    runtime = next((site / "nvidia").rglob("cuda_runtime_api.h"), None)
    # It has crt/host_defines.h, which the wheel lacks.
    triton = site / "triton/backends/nvidia/include"
    return [runtime.parent, triton, SOURCES] if runtime and triton.is_dir() else []
