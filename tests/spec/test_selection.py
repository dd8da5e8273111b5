"""Cells chosen by labels, patterns and data sets."""

from __future__ import annotations

import pytest
from example_table import ROWS, make_table

from locbench.errors import UsageError
from locbench.spec.selection import RunOptions, select


def rows_of(*patterns: str) -> set[str]:
    return {cell.row for cell in select(make_table(), RunOptions(rows=patterns))[0]}


def columns_of(*patterns: str) -> set[str]:
    return {cell.column for cell in select(make_table(), RunOptions(columns=patterns))[0]}


def test_exact_labels() -> None:
    assert rows_of("CIFAR-10 / ResNet-32 / DGL") == {"CIFAR-10 / ResNet-32 / DGL"}
    assert rows_of("cifar-10 / resnet-32 / dgl") == {"CIFAR-10 / ResNet-32 / DGL"}


def test_last_part_means_every_group() -> None:
    assert rows_of("DGL") == {"CIFAR-10 / ResNet-32 / DGL", "SVHN / ResNet-32 / DGL"}


def test_a_star_that_belongs_to_the_label_is_no_wildcard() -> None:
    assert rows_of("DGL*") == {"CIFAR-10 / ResNet-32 / DGL*", "SVHN / ResNet-32 / DGL*"}
    assert rows_of("SVHN / ResNet-32 / DGL*") == {"SVHN / ResNet-32 / DGL*"}


def test_wildcards_match_whole_labels() -> None:
    assert rows_of("SVHN / *") == {"SVHN / ResNet-32 / DGL", "SVHN / ResNet-32 / DGL*"}
    assert rows_of("* / PredSim") == {"CIFAR-10 / ResNet-32 / PredSim"}
    assert columns_of("J=?") == {"J=8"}


def test_parts_of_labels() -> None:
    assert rows_of("svhn") == {"SVHN / ResNet-32 / DGL", "SVHN / ResNet-32 / DGL*"}
    assert rows_of("back") == {"Backprop"}


def test_several_patterns_by_comma_or_by_repetition() -> None:
    expected = {"CIFAR-10 / ResNet-32 / PredSim", "Backprop"}
    assert (
        rows_of("PredSim,Backprop")
        == rows_of("PredSim", "Backprop")
        == rows_of(" predsim , backprop ")
        == expected
    )


def test_a_comma_that_belongs_to_the_label_does_not_split() -> None:
    assert columns_of("J=1,2") == {"J=1,2"}
    assert columns_of("J=16,J=8") == {"J=16", "J=8"}


def test_unknown_labels_have_suggestions() -> None:
    with pytest.raises(
        UsageError, match=r"table example has no row 'PrdSim'[\s\S]*Did you mean"
    ) as raised:
        rows_of("PrdSim")
    assert raised.value.exit_code == 2
    with pytest.raises(UsageError, match="no column 'J=4'"):
        columns_of("J=4")
    with pytest.raises(UsageError, match="no row 'Nothing'"):
        rows_of("DGL,Nothing")


def test_rows_and_columns_without_a_common_cell() -> None:
    with pytest.raises(UsageError, match="no cell in these rows and columns"):
        select(make_table(), RunOptions(rows=("Backprop",), columns=("J=8",)))


def test_a_data_set_of_the_table_narrows_it() -> None:
    cells, substitute = select(make_table(), RunOptions(dataset="svhn"))
    assert substitute is None
    assert {cell.row for cell in cells} == {"SVHN / ResNet-32 / DGL", "SVHN / ResNet-32 / DGL*"}


def test_another_data_set_stands_in_for_the_first_one() -> None:
    cells, substitute = select(make_table(), RunOptions(dataset="stl10"))
    assert substitute == "stl10"
    assert {cell.row for cell in cells} == {row for row in ROWS if not row.startswith("SVHN")}


def test_narrowing_looks_at_the_chosen_rows_alone() -> None:
    cells, substitute = select(make_table(), RunOptions(dataset="cifar10", rows=("SVHN / *",)))
    assert substitute == "cifar10"
    assert {cell.row for cell in cells} == {"SVHN / ResNet-32 / DGL", "SVHN / ResNet-32 / DGL*"}


def test_unknown_data_set() -> None:
    with pytest.raises(UsageError, match="unknown data set 'cifar11'"):
        select(make_table(), RunOptions(dataset="cifar11"))


def test_smoke_means_digits_unless_a_data_set_is_named() -> None:
    assert select(make_table(), RunOptions(preset="smoke"))[1] == "digits"
    assert select(make_table(), RunOptions(preset="smoke", dataset="svhn"))[1] is None
