"""The networks by name, and where published work cuts them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import msgspec

from locbench.errors import UsageError
from locbench.registry import Registry, Target
from locbench.spec.choices import Init


class TransformerInfo(msgspec.Struct, frozen=True):
    """The shape of a Swin Transformer (Liu et al. 2021, section 3.3).

    Attributes:
        side: of the images that it is trained on, in pixels.
        channels: C, of the first stage.
        depths: blocks per stage.
        heads: attention heads per stage.
        window: side of an attention window, in tokens.
        weights: timm's name of the pretrained weights; empty where there are none.
    """

    side: int
    channels: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    window: int
    weights: str = ""


class NetworkInfo(msgspec.Struct, frozen=True):
    """What is known of a network without building it.

    Attributes:
        units: number of local layers, the stem included.
        splits: published units per module, by number of modules K, where no formula gives them.
        carried_splits: the same for K whose recipes carry their split, as records of before,
            without one, have equal parts.
        builder: a function (classes, side) -> Chain; a transformer's takes ``drop_path`` too.
        transformer: its shape if it is one; None for convolutional networks.
        torchvision: torchvision's name of the same network, whose weights load; empty where it has
            none.
        small_variant: the small network of as many local layers for reduced runs; empty for none.
        stem: whether the first local layer is a stem, before the blocks; VGGs have none.
    """

    name: str
    label: str
    units: int
    builder: Target
    splits: dict[int, tuple[int, ...]] = {}
    transformer: TransformerInfo | None = None
    torchvision: str = ""
    small_variant: str = ""
    stem: bool = True
    carried_splits: dict[int, tuple[int, ...]] = {}

    @property
    def takes_drop_path(self) -> bool:
        """Whether the network has stochastic depth."""
        return self.transformer is not None

    @property
    def published_init(self) -> Init:
        """Where its published weights come from; ``scratch`` for nowhere."""
        if self.torchvision:
            return "torchvision"
        return "pretrained" if self.transformer is not None else "scratch"

    @property
    def published_weights(self) -> str:
        """The library's name of its published weights; empty where there are none."""
        return self.torchvision if self.transformer is None else self.transformer.weights

    @property
    def copied(self) -> bool:
        """Whether AugLocal has a rule by which its layers are copied."""
        return self.transformer is None


def _fault(name: str, info: object) -> str:
    if not isinstance(info, NetworkInfo):
        return "it is no locbench.NetworkInfo"
    if info.name != name:
        return f"its NetworkInfo is named {info.name!r}"
    if name.startswith(TIMM):
        return f"names with {TIMM} before them are those of timm's models"
    if not (isinstance(info.builder, str) or callable(info.builder)):
        return f"its builder is no function: {info.builder!r}"
    return "" if info.units >= 1 else f"it has {info.units} local layers"


TIMM = "timm:"
"""What precedes the name of a model of timm."""


class TimmFacts(msgspec.Struct, frozen=True):
    """What only timm knows of one of its models.

    Attributes:
        units: number of local layers, the stem included.
        stem: whether the first local layer is a stem.
        side: of the images that the model is made for, in pixels.
        mean, std: by which those are normalised, by channel.
        drop_path: whether it takes a rate of stochastic depth.
        copied: whether its blocks can be copied into auxiliary nets.
        classifiers: names of the layers that give class scores.
    """

    units: int
    stem: bool
    side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    drop_path: bool
    copied: bool
    classifiers: tuple[str, ...]


class TimmNetwork(NetworkInfo, frozen=True):
    """A model of timm, which is imported when something is asked that it alone knows."""

    @property
    def model(self) -> str:
        """timm's name."""
        return self.name.removeprefix(TIMM)

    @property
    def facts(self) -> TimmFacts:
        """What timm knows; UsageError if it has no such model, or one of another form."""
        known: TimmFacts = _timm().facts(self.model)
        return known

    @property  # type: ignore[misc]
    def units(self) -> int:
        """Number of local layers, the stem included."""
        return self.facts.units

    @property  # type: ignore[misc]
    def stem(self) -> bool:
        """Whether the first local layer is a stem."""
        return self.facts.stem

    @property
    def takes_drop_path(self) -> bool:
        """Whether timm builds it with stochastic depth."""
        return self.facts.drop_path

    @property
    def published_init(self) -> Init:
        """Where its published weights come from."""
        return "pretrained"

    @property
    def published_weights(self) -> str:
        """timm's name of its published weights."""
        return self.model

    @property
    def copied(self) -> bool:
        """Whether its blocks are plain convolutional residual ones."""
        return self.facts.copied


def _timm() -> Any:
    # By its name: this storey imports neither timm nor what imports it.
    return import_module(_ADAPTER)


_ADAPTER = "locbench.networks.timm_models"


class _Networks(Registry[NetworkInfo]):
    """The networks by name, and all models of timm, which are not listed."""

    def __getitem__(self, name: str) -> NetworkInfo:
        if not name.startswith(TIMM):
            try:
                return super().__getitem__(name)
            except UsageError as error:
                remedy = f"{error.remedy} {TIMM}NAME is a model of timm."
                raise UsageError(error.message, remedy) from None
        return TimmNetwork(name=name, label=name, units=0, builder=f"{_ADAPTER}:build")

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or str(name).startswith(TIMM)


NETWORKS: Registry[NetworkInfo] = _Networks("network", _fault)

# Units per module of InfoPro-Pytorch (PGL uses the same), and of HPFF's code for K = 32. The other
# published splits follow the general rule of `units_per_module`.
_RESNET110_SPLITS: dict[int, tuple[int, ...]] = {
    2: (28, 27),
    32: tuple(map(int, "31212222121212122221212212122222")),
}

_INFOPRO_SPLITS: dict[int, dict[int, tuple[int, ...]]] = {
    32: {3: (6, 5, 5)},
    110: {3: (19, 18, 18)},
}
"""InfoPro-Pytorch's for K = 3, by depth: each stage is a module, and the stem is with the first."""

for _depth in (8, 14, 20, 32, 56, 110):
    NETWORKS.add(
        f"resnet{_depth}",
        NetworkInfo(
            name=f"resnet{_depth}",
            label=f"ResNet-{_depth}",
            units=1 + (_depth - 2) // 2,
            builder=f"locbench.networks.resnet_cifar:resnet{_depth}",
            splits=_RESNET110_SPLITS if _depth == 110 else {},
            carried_splits=_INFOPRO_SPLITS.get(_depth, {}),
        ),
    )


def _with_narrow(info: NetworkInfo, builder: str, width: str) -> None:
    """Register a network, and the same with fewer channels as its stand-in."""
    narrow = msgspec.structs.replace(
        info,
        name=f"{info.name}-narrow",
        label=f"{info.label} of {width} width",
        builder=f"locbench.networks.{builder}",
        torchvision="",
    )
    NETWORKS.add(narrow.name, narrow)
    NETWORKS.add(info.name, msgspec.structs.replace(info, small_variant=narrow.name))


for _name, _label, _units, _builder, _narrow, _width in (
    ("vgg19", "VGG19", 16, "vgg:vgg19", "vgg:vgg19_narrow", "1/8"),
    ("mobilenetv2", "MobileNetV2", 19, "mobilenet:build", "mobilenet:narrow", "1/4"),
    ("efficientnet-b0", "EfficientNet-B0", 17, "efficientnet:build", "efficientnet:narrow", "1/4"),
    ("regnetx-400mf", "RegNetX-400MF", 23, "regnet:build", "regnet:narrow", "1/4"),
):
    _path = f"locbench.networks.{_builder}"
    _with_narrow(NetworkInfo(_name, _label, _units, _path, stem=_name != "vgg19"), _narrow, _width)

# Units per module, the stem in the first: for ResNets of InfoPro's ImageNet code (K = 2) and of
# HPFF's (K = 4 and 8), which cuts all of them after the same blocks; for VGG13 of DGL's code.
_HPFF_SPLITS = {4: (9, 9, 8, 8), 8: (5, 5, 4, 4, 4, 4, 4, 4)}
_RESNET152_SPLITS = {2: (10, 41), 4: (13, 9, 8, 21), 8: (5, 9, 4, 4, 4, 4, 4, 17)}
_FOR_IMAGENET: tuple[tuple[str, str, int, str, str, dict[int, tuple[int, ...]]], ...] = (
    ("vgg13", "VGG13", 10, "vgg", "vgg13_bn", {4: (3, 3, 3, 1), 10: (1,) * 10}),
    ("resnet34", "ResNet-34", 17, "resnet_imagenet", "resnet34", {}),
    ("resnet101", "ResNet-101", 34, "resnet_imagenet", "resnet101", {2: (5, 29), **_HPFF_SPLITS}),
    ("resnet152", "ResNet-152", 51, "resnet_imagenet", "resnet152", _RESNET152_SPLITS),
    (
        *("resnext101-32x8d", "ResNeXt-101 32x8d", 34, "resnet_imagenet", "resnext101_32x8d"),
        {2: (7, 27), **_HPFF_SPLITS},
    ),
)

for _name, _label, _units, _module, _torchvision, _splits in _FOR_IMAGENET:
    _builder = f"{_module}:{_name.replace('-', '_')}"
    _info = NetworkInfo(
        name=_name,
        label=f"{_label} (ImageNet)",
        units=_units,
        builder=f"locbench.networks.{_builder}",
        splits=_splits,
        torchvision=_torchvision,
        stem=_name != "vgg13",
    )
    _with_narrow(_info, f"{_builder}_narrow", "1/8")

# Blocks per module of Pathak et al. 2023, Table 1; the patch embedding counts with the first
# module.
_SHALLOW: dict[int, tuple[int, ...]] = {2: (3, 10), 4: (3, 2, 2, 6)}

_DEEP: dict[int, tuple[int, ...]] = {2: (9, 16), 4: (3, 6, 8, 8)}


def _swin(name: str, label: str, shape: TransformerInfo, small_variant: str = "") -> None:
    blocks = sum(shape.depths)
    NETWORKS.add(
        name,
        NetworkInfo(
            name=name,
            label=label,
            units=1 + blocks,
            builder=f"locbench.networks.swin:{name.removeprefix('swin-').replace('-', '_')}",
            splits=_DEEP if blocks == 24 else _SHALLOW,
            transformer=shape,
            small_variant=small_variant,
        ),
    )


_TINY = TransformerInfo(
    side=224,
    channels=96,
    depths=(2, 2, 6, 2),
    heads=(3, 6, 12, 24),
    window=7,
    weights="swin_tiny_patch4_window7_224.ms_in1k",
)

_BASE = TransformerInfo(
    side=384,
    channels=128,
    depths=(2, 2, 18, 2),
    heads=(4, 8, 16, 32),
    window=12,
    weights="swin_base_patch4_window12_384.ms_in1k",
)

_LARGE = TransformerInfo(
    side=224,
    channels=192,
    depths=(2, 2, 18, 2),
    heads=(6, 12, 24, 48),
    window=7,
    weights="swin_large_patch4_window7_224.ms_in22k_ft_in1k",
)

_MICRO = TransformerInfo(side=64, channels=24, depths=(2, 2, 6, 2), heads=(1, 2, 4, 8), window=4)

_swin("swin-tiny", "Swin-T", _TINY, "swin-micro")

_swin("swin-base", "Swin-B", _BASE, "swin-micro-deep")

_swin("swin-large", "Swin-L", _LARGE, "swin-micro-deep")

_swin("swin-micro", "Swin-micro", _MICRO)

_swin(
    "swin-micro-deep",
    "Swin-micro (24 blocks)",
    msgspec.structs.replace(_MICRO, depths=(2, 2, 18, 2)),
)


def check_side(network: str, side: int) -> None:
    """Refuse an image size that a transformer's patches, mergings or windows do not divide.

    A model of timm is asked.

    Raises:
        UsageError: the size does not fit; any size fits a convolutional network of locbench's own.
    """
    if network.startswith(TIMM):
        _timm().check_side(network.removeprefix(TIMM), side)
        return
    shape = NETWORKS[network].transformer
    if shape is None:
        return
    least = 4 * 2 ** (len(shape.depths) - 1)
    maps = [side // (4 * 2**stage) for stage in range(len(shape.depths))]
    if side % least or any(size > shape.window and size % shape.window for size in maps):
        raise UsageError(
            f"{NETWORKS[network].label} cannot take images of {side} pixels: its "
            f"windows of {shape.window} tokens do "
            f"not divide its maps",
            f"Use a multiple of {least * shape.window}, or {shape.side}.",
        )


def units_per_module(network: str, modules: int | None) -> tuple[int, ...]:
    """Return the number of local layers in each of K local modules, in order.

    Published splits come first; else modules hold equal numbers of units and, where that does not
    divide, the smaller modules come first (the rule behind InfoPro's tables). A transformer's
    modules hold pairs of blocks, a plain and a shifted window each, as long as there are enough
    (Pathak et al. 2023, section 3.1); the first holds the patch embedding besides.

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
    pairs = (info.units - 1) // 2
    if info.transformer is not None and count <= pairs:
        first, *others = _evenly(pairs, count)
        return (1 + 2 * first, *(2 * number for number in others))
    return _evenly(info.units, count)


def _evenly(total: int, parts: int) -> tuple[int, ...]:
    small, larger = divmod(total, parts)
    return (small,) * (parts - larger) + (small + 1,) * larger
