"""The description of every method and option."""

from __future__ import annotations

from locbench.spec.method_options import MethodDescription, Option, describe_methods
from locbench.spec.methods import METHODS
from locbench.spec.modifiers import MODIFIERS

METHOD = {method.name: method for method in describe_methods()}
OPTIONS = [(method, option) for method in METHOD.values() for option in method.options]


def option(method: str, name: str) -> Option:
    return next(each for each in METHOD[method].options if each.name == name)


def test_every_name_and_option_is_described() -> None:
    assert set(METHOD) == {*METHODS, *MODIFIERS}
    for name, method in METHOD.items():
        struct = METHODS[name] if method.kind == "base" else MODIFIERS[name]
        assert [each.name for each in method.options] == list(struct.__struct_fields__)
        assert method.meaning.endswith(".")
    assert [
        f"{method.name}.{each.name}" for method, each in OPTIONS if len(each.meaning.split()) < 3
    ] == []
    assert [each.meaning for _, each in OPTIONS if not each.meaning.endswith(".")] == []


def test_an_option_without_one_default_says_what_it_is() -> None:
    assert [
        each.name
        for _, each in OPTIONS
        if each.default is None and "The default is" not in each.meaning
    ] == []


def test_every_word_that_an_option_takes_is_explained() -> None:
    """Names such as 1C2F are explained as xCyF, and AugLocal's selections are the paper's words."""
    for method, each in OPTIONS:
        words = [word for word in each.values.split(", ") if word not in ("true", "false")]
        if len(words) < 2 or each.name == "selection":
            continue
        words = ["xCyF" if word[0].isdigit() else word for word in words]
        assert [word for word in words if word not in each.meaning and word != "IL+CL"] == [], (
            method.name,
            each.name,
        )


def test_options_by_hand() -> None:
    assert [each.name for each in METHOD["auglocal"].options][:4] == [
        "depth",
        "decay",
        "selection",
        "width",
    ]
    assert option("auglocal", "decay") == Option(
        "decay",
        "number from 0 to 1",
        0.5,
        "Tau of the pyramidal depth (eq. 3); 0 keeps the depth constant.",
    )
    assert option("auglocal", "selection").values.endswith("uniform, or 3 of them joined by commas")
    assert (option("hpff", "pff").values, option("hpff", "pff").default) == (
        "whole number from 0 to 64",
        2,
    )
    assert (option("pgl", "period").values, option("pgl", "period").default) == ("whole number", 10)
    assert option("infopro", "task_weight").values == "first,last"
    assert (
        option("swin-contrast", "temperature").values,
        option("head", "literal_stem").default,
    ) == (
        "number above 0",
        False,
    )


def test_the_base_of_a_lone_modifier() -> None:
    assert METHOD["hpff"].base == "dgl"
    assert METHOD["checkpointed"].base == "bp"
    assert METHOD["similarity"].base == "head"
    assert METHOD["bp"] == MethodDescription("bp", "base", "", METHOD["bp"].meaning, ())


def test_an_option_of_one_method_is_not_another_s() -> None:
    """The stem's text of all Swin methods, and a weight that means another thing in one of them."""
    assert option("swin-infopro", "stem_width") == option("swin-greedy", "stem_width")
    assert "Cross-entropy".lower() in option("swin-greedy", "task_weight").meaning
    assert option("swin-infopro", "task_weight").meaning.startswith("Beta")
