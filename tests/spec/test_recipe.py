"""Recipes and their keys: the keys are written out by hand, for a record that exists must keep its
name for good.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest

from locbench.errors import UsageError
from locbench.spec.components import Periodic, part_of
from locbench.spec.modifiers import PeriodicGlobalGuidance
from locbench.spec.recipe import Recipe, warmup_epochs
from locbench.spec.validation import make_recipe

BASE: dict[str, Any] = {
    "network": "resnet32",
    "modules": 16,
    "dataset": "cifar10",
    "epochs": 160,
    "batch_size": 1024,
    "lr": 0.8,
}

HEAD = '{"batch_size":1024,"composition":'
TAIL = ',"dataset":"cifar10","epochs":160,"lr":0.8,"network":"resnet32"}'


def recipe(method: str, options: dict[str, Any] | None = None, **changes: Any) -> Recipe:
    return make_recipe({**BASE, "method": method, "options": options or {}, **changes})


def digest(canonical: str) -> str:
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


# resnet32 has 16 local layers, so that modules = 16 is the default and no part of the key.
FROZEN = [
    ("dgl", {}, '{"branches":[{"kind":"mlp"}]}'),
    ("bp", {}, '{"end_to_end":true}'),
    ("auglocal", {"depth": 3}, '{"branches":[{"depth":3,"kind":"auglocal"}],"merge_top":2}'),
    (
        "pgl+head",
        {"net": "adapt", "period": 5, "duration": 1},
        '{"branches":[{"kind":"head","net":"adapt"}],"phases":{"duration":1,"kind":"periodic","period":5}}',
    ),
    (
        "infopro",
        {},
        '{"branches":[{"kind":"head","weight":[0.05,0.5]},{"kind":"decoder","weight":[5.0,0.2]}]}',
    ),
    (
        "hpff+dgl",
        {},
        '{"branches":[{"kind":"mlp"}],"patches":{"kind":"patches"},"routing":{"kind":"cascade"}}',
    ),
]


@pytest.mark.parametrize(
    ("method", "options", "composition"), FROZEN, ids=[each[0] for each in FROZEN]
)
def test_keys_are_digests_of_the_canonical_json(
    method: str, options: dict[str, Any], composition: str
) -> None:
    assert recipe(method, options).key == digest(HEAD + composition + TAIL)


def test_two_keys_never_change() -> None:
    assert recipe("dgl").key == "40e003ed2321"
    assert recipe("auglocal", {"depth": 3}).key == "939cfc28a192"


def test_every_field_that_differs_from_its_default_is_in_the_key() -> None:
    changed = recipe("dgl", modules=8, seed=2, train_limit=4000, precision="bf16", test_every=5)
    fields = (
        '"dataset":"cifar10","epochs":160,"lr":0.8,"modules":8,"network":"resnet32",'
        '"precision":"bf16","seed":2'
    )
    canonical = (
        HEAD + '{"branches":[{"kind":"mlp"}]},' + fields + ',"test_every":5,"train_limit":4000}'
    )
    assert changed.key == digest(canonical)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("dgl", {}), ("hpff+dgl", {"levels": "IL", "pff": 0})),
        (("hpff", {}), ("hpff+dgl", {})),
        (("hpff+dgl", {}), ("dgl+hpff", {})),
        (("pgl", {"duration": 0}), ("head", {})),
        (("hpff+dgl", {"levels": "IL"}), ("pff+dgl", {})),
        (("dgl", {}), (" dgl ", {"variant": "auglocal"})),
        (
            ("infopro", {}),
            ("infopro", {"task_weight": [0.05, 0.5], "reconstruction_weight": [5, 0.2]}),
        ),
    ],
)
def test_two_names_of_one_composition_share_a_key(
    one: tuple[str, dict[str, Any]], other: tuple[str, dict[str, Any]]
) -> None:
    assert recipe(*one).key == recipe(*other).key


def test_order_of_options_and_settings_is_irrelevant() -> None:
    options = {"depth": 3, "decay": 0.25, "selection": "sequential"}
    turned = dict(reversed(options.items()))
    assert recipe("auglocal", options).key == recipe("auglocal", turned).key
    settings = {**BASE, "method": "dgl"}
    assert make_recipe(settings).key == make_recipe(dict(reversed(settings.items()))).key


def test_words_of_the_command_line_equal_values_of_a_table() -> None:
    words = {"depth": "3", "decay": "0.5", "merge_top": "false"}
    assert recipe("auglocal", words).key == recipe("auglocal", {"depth": 3, "merge_top": False}).key


def test_whole_numbers_equal_floats() -> None:
    assert recipe("dgl", lr=1).key == recipe("dgl", lr=1.0).key
    weights = ({"reconstruction_weight": [5, 0]}, {"reconstruction_weight": [5.0, 0.0]})
    assert recipe("infopro", weights[0]).key == recipe("infopro", weights[1]).key


def test_modules_of_backpropagation_are_no_part_of_the_key() -> None:
    assert recipe("bp", modules=4).key == recipe("bp", modules=None).key
    assert recipe("dgl", modules=16).key == recipe("dgl", modules=None).key
    assert recipe("dgl", modules=8).key != recipe("dgl", modules=None).key


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"lr": 0.4},
        {"epochs": 161},
        {"dataset": "cifar10-jpeg"},
        {"network": "resnet110"},
        {"modules": 8},
    ],
)
def test_what_decides_a_number_decides_the_key(changes: dict[str, Any]) -> None:
    assert recipe("dgl", **changes).key != recipe("dgl").key


@pytest.mark.parametrize(
    ("method", "options"), [each[:2] for each in FROZEN], ids=[each[0] for each in FROZEN]
)
def test_survives_json(method: str, options: dict[str, Any]) -> None:
    before = recipe(method, options, seed=3, train_limit=100)
    after = msgspec.json.decode(msgspec.json.encode(before), type=Recipe)
    assert after == before
    assert after.key == before.key


def test_description_holds_every_default() -> None:
    described = recipe("auglocal").describe()
    assert described["momentum"] == 0.9
    assert described["test_limit"] is None
    assert described["composition"]["routing"] == {"kind": "isolated"}
    assert described["composition"]["branches"][0]["decay"] == 0.5


def test_name_of_the_file_is_readable_and_ends_with_the_key() -> None:
    made = recipe("hpff+dgl", modules=8, seed=1)
    assert made.name == f"resnet32-k8-hpff-dgl-cifar10-e160-s1-{made.key}"
    assert recipe("bp").name.startswith("resnet32-bp-cifar10-e160-s0-")


def test_name_holds_no_separator_of_paths() -> None:
    made = msgspec.structs.replace(recipe("dgl"), dataset="imagefolder:../my pets/x?side=64")
    assert "/" not in made.name
    assert " " not in made.name


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epoch": 3}, ["'epoch'", "'epochs'"]),
        ({"composition": {}}, ["'composition'"]),
        ({"epochs": 0}, ["epochs is 0", "1 or more"]),
        ({"epochs": "ten"}, ["'epochs' is 'ten'", "a whole number"]),
        ({"network": 32}, ["'network' is 32", "text"]),
        ({"dataset": ["cifar10"]}, ["'dataset'", "text"]),
        ({"modules": "16"}, ["'modules' is '16'"]),
        ({"options": "depth=3"}, ["'options'", "names and values"]),
        ({"momentum": "high"}, ["momentum"]),
        ({"seed": 0.5}, ["seed"]),
        ({"batch_size": -1}, ["batch_size is -1"]),
        ({"train_limit": 0}, ["train_limit is 0"]),
        ({"precision": "fp16"}, ["precision", "fp16"]),
        ({"lr": 0.0}, ["lr is 0", "above 0"]),
        ({"lr": float("nan")}, ["lr is nan"]),
        ({"lr": float("inf")}, ["lr is inf"]),
        ({"weight_decay": -1e-4}, ["weight_decay"]),
        ({"modules": 17}, ["16 local layers", "between 1 and 16"]),
    ],
)
def test_settings_that_do_not_fit(changes: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(UsageError) as error:
        recipe("dgl", **changes)
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize("name", ["network", "dataset", "method", "epochs", "batch_size", "lr"])
def test_missing_settings_are_named(name: str) -> None:
    settings = {key: value for key, value in {**BASE, "method": "dgl"}.items() if key != name}
    with pytest.raises(UsageError, match=f"'{name}' is missing"):
        make_recipe(settings)


def test_weights_that_json_does_not_know_are_refused() -> None:
    with pytest.raises(UsageError, match="'task_weight' of the method is nan"):
        recipe("infopro", {"task_weight": [float("nan"), 1.0]})


@pytest.mark.parametrize(
    ("epochs", "warm"), [(160, 10), (400, 10), (16, 1), (17, 2), (4, 1), (1, 1)]
)
def test_warm_up(epochs: int, warm: int) -> None:
    assert warmup_epochs(epochs) == warm
    assert recipe("dgl", epochs=epochs).warmup_epochs == warm


def test_a_part_takes_the_options_of_the_same_names() -> None:
    guidance = PeriodicGlobalGuidance(period=20)
    assert part_of(guidance, Periodic) == Periodic(20, 2, "period", 160)
    assert part_of(guidance, Periodic, duration=5) == Periodic(20, 5, "period", 160)
