"""The networks by name, and where published work cuts them. Imports no torch."""

from __future__ import annotations

import msgspec

from locbench.errors import UsageError
from locbench.registry import Registry


class NetworkInfo(msgspec.Struct, frozen=True):
    """What is known of a network without building it.

    Attributes:
        units: number of local layers, the stem included.
        splits: published units per module, by number of modules K, where no formula gives them.
        builder: ``module:attribute`` of a function (classes, side) -> Chain.
    """

    name: str
    label: str
    units: int
    builder: str
    splits: dict[int, tuple[int, ...]] = {}


NETWORKS: Registry[NetworkInfo] = Registry("network")

# Units per module of InfoPro-Pytorch (PGL uses the same), and of HPFF's code for K = 32. The other published splits
# follow the general rule of `units_per_module`.
_RESNET110_SPLITS: dict[int, tuple[int, ...]] = {
    2: (28, 27),
    32: (3, 1, 2, 1, 2, 2, 2, 2, 1, 2, 1, 2, 1, 2, 1, 2, 2, 2, 2, 1, 2, 1, 2, 2, 1, 2, 1, 2, 2, 2, 2, 2),
}


def _resnet(depth: int, splits: dict[int, tuple[int, ...]] | None = None) -> None:
    blocks = (depth - 2) // 6
    NETWORKS.add(
        f"resnet{depth}",
        NetworkInfo(
            name=f"resnet{depth}",
            label=f"ResNet-{depth}",
            units=1 + 3 * blocks,
            builder=f"locbench.networks.resnet_cifar:resnet{depth}",
            splits=splits or {},
        ),
    )


for _depth in (8, 14, 20, 32, 56):
    _resnet(_depth)
_resnet(110, _RESNET110_SPLITS)


def units_per_module(network: str, modules: int | None) -> tuple[int, ...]:
    """Return the number of local layers in each of K local modules, in order.

    Published splits come first; else modules hold equal numbers of units and, where that does not divide, the smaller
    modules come first (the rule behind InfoPro's tables).

    Args:
        network: a name in NETWORKS.
        modules: K, or None for one local layer per module.

    Raises:
        UsageError: K is not between 1 and the number of local layers.
    """
    info = NETWORKS[network]
    count = info.units if modules is None else modules
    if not 1 <= count <= info.units:
        raise UsageError(
            f"{info.label} has {info.units} local layers and cannot be cut into {count} modules",
            f"Choose K between 1 and {info.units}.",
        )
    if count in info.splits:
        return info.splits[count]
    small, larger = divmod(info.units, count)
    return (small,) * (count - larger) + (small + 1,) * larger
