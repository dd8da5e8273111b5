"""Settings of the command line's recipe: each takes effect or is refused, with the option that sets
it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from locbench.errors import UsageError
from locbench.execution.config import device_names
from locbench.spec.arguments import recipes_from, settings_from_options
from locbench.spec.recipe import Recipe
from locbench.spec.validation import make_recipe
from locbench.training.lr_schedule import epoch_rate

BASE = {"network": "resnet8", "method": "dgl", "dataset": "digits"}
SWIN = {"network": "swin-tiny", "method": "bp", "dataset": "digits"}

# A text, and what the recipe then has.
TAKEN: dict[str, tuple[dict[str, Any], str, Any]] = {
    "modules": (BASE, "2", 2),
    "split": ({**BASE, "modules": 2}, "1,3", (1, 3)),
    "epochs": (BASE, "7", 7),
    "batch_size": (BASE, "32", 32),
    "lr": (BASE, "0.25", 0.25),
    "momentum": (BASE, "0.5", 0.5),
    "nesterov": (BASE, "false", False),
    "weight_decay": (BASE, "0.01", 0.01),
    "warmup_epochs": (BASE, "3", 3),
    "warmup_lr": (BASE, "0.05", 0.05),
    "train_limit": (BASE, "40", 40),
    "test_limit": (BASE, "30", 30),
    "test_every": (BASE, "2", 2),
    "precision": (BASE, "bf16", "bf16"),
    "memory": (BASE, "lean", "lean"),
    "seed": (BASE, "7", 7),
    "image_size": (BASE, "24", 24),
    "augmentation": (SWIN, "standard", "standard"),
    "color_jitter": (SWIN, "0.4", 0.4),
    "mixup": (SWIN, "true", True),
    "optimizer": (BASE, "adamw", "adamw"),
    "betas": (SWIN, "0.8,0.95", (0.8, 0.95)),
    "eps": (SWIN, "1e-6", 1e-6),
    "rate": (BASE, "cosine-step", "cosine-step"),
    "min_lr": (SWIN, "0.00001", 1e-5),
    "lr_scaling": (SWIN, "none", "none"),
    "clip_norm": (SWIN, "none", None),
    "drop_last": (BASE, "true", True),
    "drop_path": (SWIN, "0.3", 0.3),
    "init": (SWIN, "pretrained", "pretrained"),
}
REFUSED = {
    "network": "--network",
    "method": "--method",
    "dataset": "--dataset",
    "composition": "--set",
    "content": "reading the data set's files",
    "options": "--set",
    "weights": "--weights",
    "processes": "torchrun",
    "detection": "auglocal-coco",
    "backbone": "auglocal-coco",
}


def one(base: dict[str, Any], *further: str, seeds: int = 1) -> Recipe:
    return recipes_from(base, seeds, Path("nowhere"), further)[-1]


def test_every_field_is_looked_at() -> None:
    assert sorted([*TAKEN, *REFUSED]) == sorted([*Recipe.__struct_fields__, "options"])


@pytest.mark.parametrize("name", TAKEN)
def test_a_setting_takes_effect(name: str) -> None:
    base, text, value = TAKEN[name]
    changed, plain = one(base, f"{name}={text}"), one(base)
    assert getattr(changed, name) == value
    assert getattr(plain, name) != value
    assert changed.key != plain.key
    others = [
        each for each in Recipe.__struct_fields__ if each not in (name, "lr", "warmup_epochs")
    ]
    assert [getattr(changed, each) for each in others] == [getattr(plain, each) for each in others]


@pytest.mark.parametrize("name", REFUSED)
def test_a_setting_of_another_option_is_refused(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        one(BASE, f"{name}=1")
    assert REFUSED[name] in str(caught.value)


def test_warm_up_reaches_the_learning_rate() -> None:
    changed = one(BASE, "epochs=8", "warmup_epochs=4", "lr=1", "warmup_lr=0.2")
    # The first epoch has the warm-up's own rate.
    assert epoch_rate(changed, 1) == pytest.approx(0.2)


def test_seeds_count_from_the_one_that_is_set() -> None:
    assert [each.seed for each in recipes_from(BASE, (7, 0), Path("nowhere"))] == [7, 0]
    with pytest.raises(UsageError, match="the seed is given twice"):
        recipes_from(BASE, (7,), Path("nowhere"), ["seed=7"])
    assert [each.seed for each in recipes_from(BASE, 3, Path("nowhere"), ["seed=7"])] == [
        7,
        8,
        9,
    ]


def test_what_is_given_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="lr is given twice, with --recipe and with --lr"):
        one({**BASE, "lr": 0.1}, "lr=0.2")  # type: ignore[dict-item]
    with pytest.raises(UsageError, match=r"--recipe lr=\.\.\. is given twice"):
        one(BASE, "lr=0.1", "lr=0.2")
    with pytest.raises(UsageError, match=r"--set variant=\.\.\. is given twice"):
        settings_from_options(["variant=mlp", "variant=cnn"], **BASE)


def test_the_default_can_be_asked_for() -> None:
    assert one(BASE, "modules=none", "epochs=none") == one(BASE)


WRONG = [
    (BASE, "batch_size=x", "'batch_size' is 'x'"),
    (BASE, "batch_size=1.5", "a whole number"),
    (BASE, "batch_size=true", "a whole number"),
    (BASE, "lr=fast", "Set it to a number."),
    (BASE, "lr=1e999", "lr is inf"),
    (BASE, "lr=-1", "lr is -1"),
    (BASE, "nesterov=1", "true or false"),
    (BASE, "rate=cosine", "cosine-epoch or cosine-epoch0 or cosine-step or steps"),
    (BASE, "optimizer=lion", "sgd or adamw"),
    (BASE, "betas=0.9", "two numbers"),
    (BASE, f"epochs={'9' * 400}", "'epochs' is too large"),
    (BASE, "epochs=100001", "100,000 or less"),
    (BASE, "seed=-1", "seed is -1"),
    (BASE, "seed=4294967296", "from 0 to 4294967295"),
    (BASE, "momentum=1", "momentum is 1"),
    (BASE, "warmup_epochs=5", "warmup_epochs is 5 of 4 epochs"),
    (BASE, "image_size=0", "image_size is 0"),
    (BASE, "betas=0.8,0.95", "not a setting of the optimizer 'sgd'"),
    (SWIN, "momentum=0.5", "not a setting of the optimizer 'adamw'"),
    (BASE, "min_lr=0.1", "cosine-step"),
    (BASE, "sed=1", "Did you mean 'seed'"),
    (BASE, "seed", "not NAME=VALUE"),
]


@pytest.mark.parametrize(("base", "text", "words"), WRONG, ids=[each[1][:30] for each in WRONG])
def test_a_wrong_value_is_refused(base: dict[str, str], text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        one(base, text)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_warm_up_rate_needs_a_warm_up() -> None:
    with pytest.raises(UsageError, match="the run has no warm-up"):
        one(BASE, "warmup_epochs=0", "warmup_lr=0.1")


OPTIONS = [
    ("bp+checkpointed", {"segments": 10**30}),
    ("bp+checkpointed", {"segments": -1}),
    ("hpff+dgl", {"pff": 65}),
    ("hpff+dgl", {"independent_weight": -1.0}),
    ("auglocal", {"depth": 10**9}),
    ("auglocal", {"width": 1e9}),
    ("auglocal", {"width": "9" * 400}),
    ("pgl", {"period": 10**9}),
    ("infopro", {"task_weight": [-1, 1]}),
    ("predsim", {"features": 10**9}),
]


@pytest.mark.parametrize(
    ("method", "options"), OPTIONS, ids=[f"{each[0]}-{each[1]}"[:40] for each in OPTIONS]
)
def test_options_of_methods_have_bounds(method: str, options: dict[str, Any]) -> None:
    schedule = {"network": "resnet8", "dataset": "digits", "epochs": 4, "batch_size": 32, "lr": 0.1}
    with pytest.raises(UsageError):
        make_recipe({**schedule, "method": method, "options": options})


def test_counts_of_runs_have_bounds() -> None:
    with pytest.raises(UsageError, match="Ask for 1,000 or less"):
        recipes_from(BASE, 1_000_000, Path("nowhere"))
    with pytest.raises(UsageError, match="Ask for 256 or less"):
        device_names("cpu", 1_000_000_000)
