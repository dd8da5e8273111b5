"""Branches of the auxiliary loss as data: an open set, and encodings that never change."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from plugin_files import PLUGINS, loaded

from locbench.results.record import Record
from locbench.spec.components import BRANCHES, Composition, Mlp
from locbench.spec.modifiers import in_order

RECORDS = sorted((Path(__file__).parents[2] / "results" / "records").glob("*.json"))
OLDER = sorted((Path(__file__).parents[1] / "results" / "older").glob("*.json"))


def recorded(path: Path) -> Record:
    """Return a record, whose key is the one in its file's name."""
    record = msgspec.json.decode(path.read_bytes(), type=Record)
    assert record.recipe.key == record.key
    assert path.stem.endswith(record.key)
    return record


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_committed_records_keep_their_keys_and_their_bytes(path: Path) -> None:
    plain = msgspec.json.decode(path.read_bytes())
    assert msgspec.json.encode(recorded(path).recipe) == msgspec.json.encode(plain["recipe"])


@pytest.mark.parametrize("path", OLDER, ids=lambda path: path.stem)
def test_records_of_earlier_versions_keep_their_keys(path: Path) -> None:
    recorded(path)


def test_a_branch_is_known_by_its_tag_once_it_is_registered() -> None:
    encoded = b'{"branches":[{"kind":"mlp"},{"kind":"smoothed","smoothing":1}]}'
    with pytest.raises(msgspec.ValidationError, match="unknown auxiliary branch 'smoothed'"):
        msgspec.json.decode(encoded, type=Composition)
    with loaded(PLUGINS / "smoothed.py"):
        smoothed = BRANCHES["smoothed"].options
        decoded = msgspec.json.decode(encoded, type=Composition)
        assert decoded == Composition(branches=(Mlp(), smoothed(smoothing=1.0)))  # type: ignore[call-arg]
        assert msgspec.convert(msgspec.to_builtins(decoded), Composition) == decoded
        assert msgspec.json.encode(decoded) == encoded.replace(b":1}", b":1.0}")


@pytest.mark.parametrize(
    ("branch", "fault"),
    [
        (
            '{"kind":"mlp","depth":1}',
            "auxiliary branch 'mlp': Object contains unknown field `depth`",
        ),
        ('{"kind":"mlp","weight":[1]}', "auxiliary branch 'mlp': Expected `array` of length 2"),
        ('{"kind":7}', "unknown auxiliary branch 7"),
        ("{}", "unknown auxiliary branch None"),
        ("3", "unknown auxiliary branch 'int'"),
    ],
)
def test_what_is_no_branch(branch: str, fault: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=fault):
        msgspec.json.decode(f'{{"branches":[{branch}]}}', type=Composition)


def test_a_branch_that_is_not_registered_composes_nothing() -> None:
    class Unknown(Mlp, frozen=True, tag="unknown"):
        pass

    with pytest.raises(ValueError, match="unknown auxiliary branch 'Unknown'"):
        Composition(branches=(Unknown(),))


def test_modifiers_are_applied_branches_before_levels_before_phases() -> None:
    given = ["pgl", "pff", "hpff", "similarity", "reconstruction", "checkpointed"]
    order = ["checkpointed", "reconstruction", "similarity", "hpff", "pff", "pgl"]
    assert in_order(given) == order
