"""Schedules: how a run falls short of the published one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from locbench.report.grouping import reduction_key
from locbench.spec.presets import (
    SCHEDULE,
    reductions,
    same_task_key,
    scaled_rate,
    schedule_of,
    with_preset,
)
from locbench.spec.recipe import Recipe
from locbench.spec.validation import make_recipe


def recipe(method: str = "dgl", **changes: Any) -> Recipe:
    settings = {
        "network": "resnet32",
        "modules": 16,
        "dataset": "cifar10",
        "epochs": 160,
        "batch_size": 1024,
    }
    return make_recipe({**settings, "lr": 0.8, "method": method, **changes})


PUBLISHED = recipe()


def shorter(**changes: Any) -> Recipe:
    return msgspec.structs.replace(PUBLISHED, **changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, []),
        ({"epochs": 10}, ["10 of 160 epochs"]),
        ({"dataset": "digits"}, ["data set digits (scikit-learn) instead of CIFAR-10"]),
        ({"train_limit": 4000}, ["4,000 training images"]),
        ({"test_limit": 100}, ["100 test images"]),
        ({"batch_size": 64, "lr": 0.05}, ["batch 64", "learning rate 0.05"]),
        ({"precision": "bf16"}, ["bf16"]),
        ({"warmup_epochs": 1, "test_every": 5}, []),
    ],
)
def test_reductions_in_words(changes: dict[str, Any], words: list[str]) -> None:
    assert reductions(shorter(**changes), PUBLISHED) == words


def test_longer_than_a_reduced_table_is_said_too() -> None:
    assert reductions(PUBLISHED, shorter(train_limit=100, test_limit=50)) == [
        "all training images",
        "all test images",
    ]


def test_reductions_keep_their_order() -> None:
    words = reductions(shorter(dataset="digits", epochs=4, train_limit=64, batch_size=8), PUBLISHED)
    assert words == [
        "data set digits (scikit-learn) instead of CIFAR-10",
        "4 of 160 epochs",
        "64 training images",
        "batch 8",
    ]


def test_scaled_rate_by_hand() -> None:
    assert scaled_rate(0.8, 1024, 64) == pytest.approx(0.05)
    assert scaled_rate(0.1, 128, 256) == pytest.approx(0.2)
    assert scaled_rate(0.05, 64, 64) == 0.05


def test_schedule_is_hashable_and_leaves_method_and_seed_out() -> None:
    assert schedule_of(recipe("auglocal", seed=3)) == schedule_of(recipe())
    assert {schedule_of(recipe("bp")), schedule_of(recipe(epochs=2))} - {schedule_of(recipe())} == {
        schedule_of(recipe(epochs=2))
    }
    assert set(SCHEDULE) <= {each.name for each in msgspec.structs.fields(Recipe)}


def test_a_preset_leaves_method_and_seed_alone() -> None:
    made = recipe("infopro", seed=4)
    moved = with_preset(made, "smoke")
    assert moved.composition == made.composition
    assert (moved.dataset, moved.epochs, moved.seed) == ("digits", 4, 4)


def test_same_task_whatever_the_schedule_and_seed() -> None:
    published = recipe()
    shortened = shorter(epochs=2, dataset="digits", seed=7)
    assert same_task_key(shortened) == same_task_key(published)
    assert same_task_key(
        msgspec.structs.replace(published, method="another name")
    ) == same_task_key(published)


@pytest.mark.parametrize(
    "other", [recipe("bp"), recipe(modules=8), recipe(network="resnet110"), recipe("pff+dgl")]
)
def test_other_methods_and_cuts_are_other_tasks(other: Recipe) -> None:
    assert same_task_key(other) != same_task_key(recipe())


def test_weights_that_follow_the_data_set_are_another_task() -> None:
    on_svhn = recipe("infopro", network="resnet110", dataset="svhn")
    on_cifar = recipe("infopro", network="resnet110", dataset="cifar10")
    assert same_task_key(on_svhn) != same_task_key(on_cifar)


def test_task_keys_do_not_see_the_schedule() -> None:
    made = recipe()
    assert same_task_key(
        shorter(**dict(schedule_of(with_preset(made, "quick"))), seed=2)
    ) == same_task_key(made)


def test_presets() -> None:
    assert with_preset(PUBLISHED, "paper") is PUBLISHED
    quick = with_preset(PUBLISHED, "quick")
    assert (quick.dataset, quick.epochs, quick.train_limit, quick.test_limit) == (
        "cifar10",
        10,
        4000,
        None,
    )
    short = with_preset(PUBLISHED, "short")
    assert short == msgspec.structs.replace(quick, train_limit=20_000, precision="bf16")
    assert with_preset(PUBLISHED, "short", bfloat16=False).precision == "fp32"
    smoke = with_preset(PUBLISHED, "smoke")
    assert (smoke.dataset, smoke.epochs, smoke.train_limit) == ("digits", 4, None)
    for each in (quick, smoke):
        assert (each.batch_size, each.warmup_epochs) == (64, 1)
        assert each.lr == pytest.approx(0.05)


def imagenet(network: str) -> Recipe:
    return recipe(
        "bp", modules=None, network=network, dataset="imagenet", epochs=90, warmup_epochs=0
    )


def test_presets_make_large_networks_narrow() -> None:
    """As many local layers, on images that a step takes no more time for than on CIFAR-10's."""
    published = imagenet("resnet101")
    smoke, quick = with_preset(published, "smoke"), with_preset(published, "quick")
    assert (
        (smoke.network, smoke.image_size)
        == (quick.network, quick.image_size)
        == ("resnet101-narrow", 32)
    )
    assert (smoke.dataset, smoke.train_limit, quick.dataset, quick.train_limit) == (
        "digits",
        400,
        "imagenet",
        4000,
    )
    small = with_preset(recipe("bp", modules=None, network="vgg19"), "smoke")
    assert (small.network, small.image_size, small.train_limit, small.test_limit) == (
        "vgg19-narrow",
        None,
        800,
        None,
    )
    started = msgspec.structs.replace(published, init="torchvision", weights="0123456789abcdef")
    made = with_preset(started, "smoke")
    assert (made.init, made.weights) == ("scratch", "")


def test_narrow_networks_are_reduced_alike() -> None:
    ways = set()
    for network in ("resnet101", "resnet152", "vgg13"):
        published = imagenet(network)
        smoke = with_preset(published, "smoke")
        assert reductions(smoke, published)[0] == "networks of 1/8 width"
        assert same_task_key(smoke) == same_task_key(published)
        ways.add(reduction_key(smoke, published))
    assert len(ways) == 1
