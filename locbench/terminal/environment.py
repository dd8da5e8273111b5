"""How the environment is printed: lines that a bug report takes as they are."""

from __future__ import annotations

from collections.abc import Iterator

from locbench.console import Terminal
from locbench.execution.environment import DeviceFacts, Environment, FolderFacts
from locbench.terminal.lines import say

_WIDTH = 12


def print_environment(console: Terminal, environment: Environment) -> None:
    """Print one line per fact, each with its name."""
    for name, text in lines(environment):
        say(console, f"{name:<{_WIDTH}}{text}")


def lines(environment: Environment) -> Iterator[tuple[str, str]]:
    """Yield names and what is to say of them; a name that goes on is empty."""
    named = dict(environment.versions)
    commit = f", commit {environment.commit}" if environment.commit else ", no checkout"
    yield "locbench", named.pop("locbench") + commit
    yield "python", f"{named.pop('python')}, {environment.system}"
    yield "packages", ", ".join(f"{name} {version}" for name, version in named.items())
    torch = environment.torch
    if torch.fault:
        yield "torch", f"cannot be imported: {torch.fault}"
    else:
        built = f"built with CUDA {torch.cuda}" if torch.cuda else "built without CUDA"
        cudnn = f", cuDNN {torch.cudnn}" if torch.cudnn else ""
        yield "torch", f"{built}{cudnn}, driver {torch.driver or 'not found'}"
        yield "threads", f"{torch.threads} on {environment.cores} cores"
    for device in torch.devices:
        yield device.name, _device(device)
    yield "package", environment.package.path
    yield from (("tables", _folder(folder)) for folder in environment.tables)
    yield from (("results", _folder(folder)) for folder in environment.results)
    yield "data", _folder(environment.data)
    for status in environment.datasets:
        if status.state != "missing":
            yield "", f"{status.name}: {status.state}, {status.detail}"
    missing = [status.name for status in environment.datasets if status.state == "missing"]
    if missing:
        yield "", f"missing: {', '.join(missing)}"
    for plugin in environment.plugins:
        yield "plugin", f"{plugin.name}, {plugin.digest[:12]}, {plugin.path}"
    for name, value in environment.variables.items():
        yield "variable", f"{name}={value}"


def _device(device: DeviceFacts) -> str:
    memory = "" if device.memory_bytes is None else f", {device.memory_bytes / 2**30:.1f} GiB"
    capability = f", compute capability {device.capability}" if device.capability else ""
    return f"{device.model}{memory}{capability}, bfloat16 {'yes' if device.bfloat16 else 'no'}"


def _folder(folder: FolderFacts) -> str:
    return ": ".join(filter(None, (folder.path, folder.holds)))
