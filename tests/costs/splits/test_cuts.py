"""Where networks may be cut."""

from __future__ import annotations

import pytest
from specimens import recipe

from locbench.costs.splits.cuts import (
    module_spans,
    search_space,
)
from locbench.errors import UsageError


def spans_of(method: str, network: str, modules: tuple[int, ...]) -> set[tuple[int, int]]:
    grounds = [search_space(recipe(method, network, each)) for each in modules]
    found = {
        (span.first, span.last)
        for space in grounds
        for ends in space.all_ends()
        for span in module_spans(ends)
    }
    return found | {(0, grounds[0].top)}


def test_swin_has_21_and_78_modules() -> None:
    """6 and 12 pairs of blocks have 6 * 7 / 2 and 12 * 13 / 2 runs of pairs, the whole included."""
    assert len(spans_of("swin-reconstruction", "swin-tiny", (2, 3, 4, 5, 6))) == 21
    for network in ("swin-base", "swin-large"):
        assert len(spans_of("swin-reconstruction", network, (2, 3))) == 78


def test_where_cuts_may_be() -> None:
    assert search_space(recipe("swin-reconstruction", "swin-tiny", 2)).cuts == (2, 4, 6, 8, 10)
    assert search_space(recipe("dgl", "resnet110", 4)).cuts == tuple(range(54))
    assert search_space(recipe("dgl", "resnet110", 4)).divisions == 24_804
    # d = 3 trains the top three of 16 local layers jointly.
    assert search_space(recipe("auglocal", "resnet32", 4, depth=3)).cuts == tuple(range(13))


@pytest.mark.parametrize(
    ("method", "network", "modules"),
    [
        ("swin-reconstruction", "swin-tiny", 7),
        ("dgl", "resnet8", 1),
        ("bp", "resnet8", 2),
        ("hpff+dgl", "resnet8", 2),
    ],
)
def test_what_cannot_be_divided_is_refused(method: str, network: str, modules: int) -> None:
    with pytest.raises(UsageError):
        search_space(recipe(method, network, modules))
