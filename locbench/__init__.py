"""locbench: published tables of local-learning papers, reproduced and compared.

The public names are imported when they are asked for; `__init__.pyi` has their types.
"""

from importlib import import_module as _import_module

__version__ = "0.2.0"

_PUBLIC = {
    "Compared": "api",
    "Progress": "api",
    "analyse": "api",
    "compare": "api",
    "predict_costs": "api",
    "histories": "api",
    "load_plugin": "api",
    "published": "api",
    "recipe": "api",
    "records": "api",
    "run": "api",
    "load_table": "spec.table_files",
    "METHODS": "spec.methods",
    "Method": "spec.methods",
    "MethodContext": "spec.methods",
    "MODIFIERS": "spec.modifiers",
    "Modifier": "spec.modifiers",
    "BRANCHES": "spec.components",
    "Branch": "spec.components",
    "Composition": "spec.components",
    "part_of": "spec.components",
    "AuxiliaryNet": "learning.auxiliary.branch",
    "AttachPoint": "learning.auxiliary.branch",
    "Targets": "learning.auxiliary.branch",
    "NETWORKS": "spec.networks",
    "NetworkInfo": "spec.networks",
    "Chain": "networks.chain",
    "ChainBuilder": "networks.chain",
    "DATASETS": "datasets.known",
    "DatasetInfo": "datasets.known",
}
"""The module of each public name."""

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(_import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
