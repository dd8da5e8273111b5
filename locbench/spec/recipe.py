"""Recipes: what decides a number, and the key of its record."""

from __future__ import annotations

import hashlib
import math
from functools import cache
from typing import Any, Literal

import msgspec

from locbench.datasets.catalogue import info
from locbench.datasets.known import DATASETS
from locbench.datasets.naming import short, without_folder
from locbench.files import file_name
from locbench.spec.choices import Augmentation, Init, Memory, Optimizer, Precision, Rate
from locbench.spec.components import Composition
from locbench.spec.detector import Detection
from locbench.spec.networks import NETWORKS, TIMM, units_per_module


class Recipe(
    msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, kw_only=True
):
    """One training run; recipes with the same key are the same run, however they were written.

    Attributes:
        network: a name of the network catalogue.
        modules: K local modules, or None for one local layer each.
        split: local layers of each module; None takes `units_per_module`.
        dataset: a name of the data set catalogue.
        method: the expression the user or the table wrote; for reading only, no part of the key.
        composition: what that method is, with its published weights filled in.
        epochs, batch_size, lr: the schedule; lr is the base learning rate of the cosine.
        momentum, nesterov, weight_decay: SGD's, the decay on every parameter.
        warmup_epochs, warmup_lr: linear warm-up from ``warmup_lr`` (InfoPro-Pytorch's schedule).
        train_limit, test_limit: use only so many images, balanced over classes; None uses all.
        test_every: epochs between two evaluations on the test set; the last epoch is always
            evaluated.
        precision: arithmetic of the training step.
        memory: ``lean`` needs less of it, by computing again what ``plain`` keeps; the numbers are
            the same up to rounding. For methods whose modules are isolated.
        seed: initial weights, data order and augmentation.
        image_size: side that images are scaled to, in pixels; None keeps the data set's.
        augmentation: ``standard`` pads, crops and mirrors; ``swin`` is the Swin pipeline at
            ``image_size``; ``imagenet`` takes random crops, scales them to ``image_size`` and
            mirrors; images in files have no other.
        drop_last: leave out an epoch's incomplete last batch, as the Swin repository does, unless
            it is the only one.
        color_jitter: strength of colour jitter in the Swin pipeline, which has none beside
            RandAugment.
        mixup: Mixup and CutMix as in the Swin pipeline, for backpropagation alone.
        optimizer: momentum and nesterov are SGD's, betas and eps AdamW's, which spares biases,
            norms and relative position biases from decay.
        rate: the cosine falls from epoch to epoch (InfoPro; ``cosine-epoch0`` begins at the full
            rate, as on ImageNet) or from step to step (Swin). ``steps`` falls at a detector's
            milestones.
        min_lr: where a cosine from step to step ends.
        lr_scaling: ``linear`` multiplies lr, warmup_lr and min_lr by batch_size / 512 (Swin).
        clip_norm: largest norm of each local module's gradients, its auxiliary nets' included; None
            clips nothing.
        drop_path: rate of stochastic depth at the last block of a transformer.
        init: ``pretrained`` starts a transformer, or a model of timm, from timm's weights, the
            classifier drawn anew; ``torchvision`` a convolutional network from torchvision's
            ImageNet weights, the last layer drawn anew if the number of classes differs.
        weights: digest of the file that such weights came from; empty for the published ones.
        processes: that share every batch; BatchNorm and contrastive losses see a process's share
            alone.
        detection: what a detector has beside its schedule; None for classifiers.
        backbone: how a detector's backbone was trained, which is a run of its own; None for
            classifiers.
        content: fingerprint of the files of a data set that is named by its folder, and so no set
            known by name. It decides in the folder's place: the same files elsewhere are the same
            run, other files in it another.
    """

    network: str
    modules: int | None = None
    split: tuple[int, ...] | None = None
    dataset: str
    method: str = ""
    composition: Composition
    epochs: int
    batch_size: int
    lr: float
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 1e-4
    warmup_epochs: int = 10
    warmup_lr: float = 0.01
    train_limit: int | None = None
    test_limit: int | None = None
    test_every: int = 1
    precision: Precision = "fp32"
    memory: Memory = "plain"
    seed: int = 0
    image_size: int | None = None
    augmentation: Augmentation = "standard"
    color_jitter: float = 0.0
    mixup: bool = False
    optimizer: Optimizer = "sgd"
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    rate: Rate = "cosine-epoch"
    min_lr: float = 0.0
    lr_scaling: Literal["none", "linear"] = "none"
    clip_norm: float | None = None
    drop_path: float = 0.0
    init: Init = "scratch"
    weights: str = ""
    processes: int = 1
    drop_last: bool = False
    detection: Detection | None = None
    backbone: Recipe | None = None
    content: str = ""

    @property
    def key(self) -> str:
        """Twelve hexadecimal digits that name this recipe's record."""
        encoded = msgspec.json.encode(canonical(self._plain()), order="deterministic")
        return hashlib.sha256(encoded).hexdigest()[:12]

    @property
    def side(self) -> int:
        """Side of the images that the network sees, in pixels."""
        return self.image_size or info(self.dataset).side

    @property
    def name(self) -> str:
        """A file name that a person can read: what was trained, on what, and the key."""
        module_count = (
            f"k{self.modules}" if self.modules and not self.composition.end_to_end else ""
        )
        method = f"{self.backbone.method}-mask-rcnn" if self.backbone else self.method
        words = [
            self.network,
            module_count,
            method,
            short(self.dataset),
            f"e{self.epochs}",
            f"s{self.seed}",
            self.key,
        ]
        return file_name(words, "")

    def describe(self) -> dict[str, Any]:
        """Return every value, defaults included, as plain JSON types."""
        described: dict[str, Any] = _with_defaults(self)
        return described

    def _plain(self) -> Recipe:
        """Return the recipe without what is for reading only, and without what is implied."""
        backbone = self.backbone._plain() if self.backbone else None
        return msgspec.structs.replace(self, method="", backbone=backbone, **self._implied())

    @property
    def _usual_split(self) -> bool:
        usual = self.split is None or self.composition.end_to_end
        return usual or (
            not self._of_timm and self.split == units_per_module(self.network, self.modules)
        )

    @property
    def _of_timm(self) -> bool:
        # `make_recipe` leaves out what is implied; to ask again would import timm to read a record.
        return self.network.startswith(TIMM)

    def _implied(self) -> dict[str, Any]:
        # Backpropagation has one module whatever K a row carries, and K = number of local layers is
        # the default.
        whole = self.composition.end_to_end or (
            not self._of_timm and self.modules == NETWORKS[self.network].units
        )
        return {
            "modules": None if whole else self.modules,
            "split": None if self._usual_split else self.split,
            "drop_last": self.drop_last and drop_matters(self),
            "dataset": without_folder(self.dataset) if self.content else self.dataset,
        }


def drop_matters(run: Recipe) -> bool:
    """Whether dropping an incomplete last batch makes another run.

    Unless the set's size is known, it counts as one.
    """
    if run.dataset not in DATASETS:
        return True
    data = DATASETS[run.dataset]
    count = min(run.train_limit or data.train_size, data.train_size)
    return images_per_epoch(count, run.batch_size, drop_last=True) != count


def warmup_epochs(epochs: int) -> int:
    """Return the length of the warm-up: ten epochs, shorter for runs much shorter than 160."""
    return min(10, math.ceil(epochs / 16))


# It reads the annotations anew each time, and every record asks for keys.
_fields_of = cache(msgspec.structs.fields)


def canonical(value: Any) -> Any:
    """Return a struct's tag and the fields that differ from their defaults, compared by value.

    Its encoding differs: msgspec compares by identity, so that a float read from a file is never a
    default.
    """
    if isinstance(value, msgspec.Struct):
        fields = _fields_of(type(value))
        kept = {
            field.name: getattr(value, field.name)
            for field in fields
            if getattr(value, field.name) != field.default
        }
        return _tag(value) | {name: canonical(item) for name, item in kept.items()}
    if isinstance(value, tuple | list):
        return [canonical(item) for item in value]
    return value


def _tag(value: msgspec.Struct) -> dict[str, Any]:
    config = value.__struct_config__
    return {config.tag_field: config.tag} if config.tag is not None and config.tag_field else {}


def _with_defaults(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return _tag(value) | {
            name: _with_defaults(getattr(value, name)) for name in value.__struct_fields__
        }
    if isinstance(value, tuple | list):
        return [_with_defaults(item) for item in value]
    return value


def images_per_epoch(count: int, batch_size: int, drop_last: bool = False) -> int:
    """Return how many of ``count`` images an epoch trains on.

    Args:
        count: training images.
        batch_size: images per batch.
        drop_last: leave out the images of an incomplete last batch, unless it is the only one.
    """
    return count - count % batch_size if drop_last and count > batch_size else count


_NO_SCHEDULE: dict[str, Any] = {
    "method": "",
    "epochs": 1,
    "lr": 1.0,
    "warmup_epochs": 0,
    "warmup_lr": 0.0,
    "test_every": 1,
    "train_limit": None,
    "test_limit": None,
    "seed": 0,
    "init": "scratch",
    "weights": "",
    "rate": "cosine-epoch",
    "min_lr": 0.0,
    "lr_scaling": "none",
    "processes": 1,
    "drop_last": False,
}
"""Fields that decide neither what a step costs nor what a network has, with values in their place.

They are part of the names of predictions and measurements: never change them.
"""


def without_schedule(recipe: Recipe, **changes: object) -> Recipe:
    """Return a recipe without schedule, seed, limits and its method's wording.

    Args:
        recipe: the recipe.
        changes: further fields, or the value that one of these keeps.
    """
    return msgspec.structs.replace(recipe, **(_NO_SCHEDULE | changes))
