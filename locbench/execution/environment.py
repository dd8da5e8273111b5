"""What a bug report needs: versions, devices, folders, and what is in them."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from locbench.datasets.catalogue import all_statuses
from locbench.datasets.status import DatasetStatus
from locbench.errors import LocbenchError
from locbench.files import listed
from locbench.plugins import LOADED, Plugin
from locbench.printable import escaped
from locbench.results.provenance import RECORDED, code, versions
from locbench.results.store import Store
from locbench.spec.table_files import table_folders

T = TypeVar("T")

PACKAGES = (
    *RECORDED,
    *("numpy", "scipy", "scikit-learn", "pandas", "pillow", "safetensors", "msgspec"),
    *("typer", "rich", "matplotlib", "pycocotools"),
)

VARIABLES = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "CUBLAS_WORKSPACE_CONFIG"),
    *("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "TORCH_HOME", "HF_HOME", "HF_HUB_OFFLINE"),
    *("WORLD_SIZE", "RANK", "LOCAL_RANK"),
)
"""Environment variables of others that change what locbench does; its own begin with LOCBENCH_."""

DRIVER = Path("/sys/module/nvidia/version")
"""Where Linux says the version of NVIDIA's driver."""


class DeviceFacts(msgspec.Struct, frozen=True):
    """A device that could train.

    Attributes:
        name: as ``--device`` takes it.
        model: what it is called.
        bfloat16: whether it multiplies in bfloat16 in hardware.
        memory_bytes: its memory; None of a processor.
        capability: of a CUDA device, such as ``9.0``.
    """

    name: str
    model: str
    bfloat16: bool
    memory_bytes: int | None = None
    capability: str = ""


class TorchFacts(msgspec.Struct, frozen=True):
    """What PyTorch says of itself and the machine.

    Attributes:
        cuda, cudnn: with which it was built; empty for none.
        driver: NVIDIA's; empty where there is none.
        threads: of the processor that it uses.
        devices: the processor, and CUDA devices.
        fault: why PyTorch cannot be imported; all else is empty then.
    """

    cuda: str = ""
    cudnn: str = ""
    driver: str = ""
    threads: int = 0
    devices: tuple[DeviceFacts, ...] = ()
    fault: str = ""


class FolderFacts(msgspec.Struct, frozen=True):
    """A folder, and in words what is in it or why it cannot be read."""

    path: str
    holds: str


class Environment(msgspec.Struct, frozen=True):
    """What a run here depends on.

    Attributes:
        versions: of locbench, Python and packages.
        commit: of the code, with a mark where the code differs from it, or why it is unknown; empty
            outside a checkout.
        system: the operating system.
        cores: processors that this process may use.
        package, tables, results, data: folders.
        datasets: what was found of every known data set.
        plugins: those that are loaded.
        variables: environment variables that are set.
    """

    versions: dict[str, str]
    commit: str
    system: str
    cores: int
    torch: TorchFacts
    package: FolderFacts
    tables: tuple[FolderFacts, ...]
    results: tuple[FolderFacts, ...]
    data: FolderFacts
    datasets: tuple[DatasetStatus, ...]
    plugins: tuple[Plugin, ...]
    variables: dict[str, str]


def environment(results: Sequence[Path], root: Path) -> Environment:
    """Look at everything that a run depends on; what cannot be read is said and stops nothing.

    Args:
        results: folders of records.
        root: folder of the data sets.
    """
    tables = _or_fault(table_folders)
    statuses = _or_fault(lambda: all_statuses(root))
    datasets = () if isinstance(statuses, str) else tuple(statuses)
    ready = sum(status.state == "ready" for status in datasets)
    state = code()
    changed = " with changes" if state.dirty else ""
    return Environment(
        versions=versions(PACKAGES),
        commit=f"{state.commit}{changed}" if state.commit else state.no_commit,
        system=platform.platform(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1,
        torch=_torch_facts(),
        package=_folder(Path(__file__).resolve().parents[1]),
        tables=(FolderFacts("", escaped(tables)),)
        if isinstance(tables, str)
        else tuple(_folder(each, partial(_tables_in, each)) for each in tables),
        results=tuple(_folder(each, partial(_records_in, each)) for each in results),
        data=_folder(root, lambda: statuses if isinstance(statuses, str) else f"{ready} ready"),
        datasets=datasets,
        plugins=tuple(LOADED.values()),
        variables=_variables(),
    )


def _or_fault(look: Callable[[], T]) -> T | str:
    try:
        return look()
    except (LocbenchError, OSError) as error:
        return str(error).splitlines()[0]


def _folder(path: Path, look: Callable[[], str] = str) -> FolderFacts:
    """Return a folder with what a look into it says, or why it cannot be read."""
    return FolderFacts(escaped(str(path.absolute())), escaped(_or_fault(look)))


def _tables_in(folder: Path) -> str:
    return _counted(len([path for path in listed(folder) if path.suffix == ".toml"]), "table")


def _records_in(folder: Path) -> str:
    store = Store(folder)
    if not store.records.exists():
        return "no records"
    count, aside = len(list(store.all())), len(store.set_aside.why)
    words = _counted(count, "record")
    return words + (f", {_counted(aside, 'file')} set aside" if aside else "")


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _torch_facts() -> TorchFacts:
    try:
        import torch

        from locbench.training.device import device_name, has_bfloat16
    except Exception as error:  # whatever a broken installation raises is what has to be known
        return TorchFacts(fault=f"{type(error).__name__}: {error}")
    names = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    devices = []
    for device in map(torch.device, names):
        model, bfloat16 = device_name(device), has_bfloat16(device)
        if device.type == "cpu":
            devices.append(DeviceFacts("cpu", model.removeprefix("cpu, "), bfloat16))
            continue
        memory = torch.cuda.get_device_properties(device).total_memory
        capability = ".".join(map(str, torch.cuda.get_device_capability(device)))
        devices.append(DeviceFacts(str(device), model, bfloat16, memory, capability))
    return TorchFacts(
        cuda=torch.version.cuda or "",
        cudnn=str(torch.backends.cudnn.version() or ""),  # type: ignore[no-untyped-call]
        driver=_driver(),
        threads=torch.get_num_threads(),
        devices=tuple(devices),
    )


def _driver() -> str:
    try:
        return DRIVER.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def _variables() -> dict[str, str]:
    return {
        escaped(name): escaped(value)
        for name, value in sorted(os.environ.items())
        if name.startswith("LOCBENCH_") or name in VARIABLES
    }
