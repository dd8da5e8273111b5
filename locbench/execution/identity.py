"""Recipes by the content of their data sets."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from locbench.data.content import Content, content_of
from locbench.datasets.naming import named_by_folder, short
from locbench.errors import FailureError
from locbench.execution.job import Job
from locbench.results.store import Store
from locbench.spec.recipe import Recipe

__all__ = ["Contents", "refuse_changed"]


class Contents:
    """The contents of data sets that are named by their folders, each looked at once.

    Args:
        root: the folder of the data sets.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._seen: dict[str, Content] = {}

    def of(self, dataset: str) -> Content:
        """Return what a data set holds; see `content_of`."""
        if dataset not in self._seen:
            self._seen[dataset] = content_of(dataset, self.root)
        return self._seen[dataset]

    def with_content(self, recipe: Recipe) -> Recipe:
        """Return a recipe with what its data set holds, and its backbone's likewise."""
        backbone = self.with_content(recipe.backbone) if recipe.backbone else None
        return msgspec.structs.replace(
            recipe, content=self.of(recipe.dataset).now, backbone=backbone
        )

    def notes(self, jobs: Iterable[Job], store: Store) -> list[str]:
        """Return a sentence per data set of which runs are kept that saw other content."""
        recorded: dict[str, int] = {}
        begun: dict[str, int] = {}
        for recipe in (job.recipe for job in jobs if job.open):
            for before in self.of(recipe.dataset).before:
                key = msgspec.structs.replace(recipe, content=before).key
                counts = (
                    recorded
                    if store.find(key)
                    else begun
                    if store.checkpoint(key).is_file()
                    else {}
                )
                counts[recipe.dataset] = counts.get(recipe.dataset, 0) + 1
        return [
            f"The files of {short(name)} have changed since it was trained on: "
            f"{recorded.get(name, 0)} recorded and {begun.get(name, 0)} begun runs are of other "
            "data. They are kept, and these runs start anew."
            for name in dict.fromkeys([*recorded, *begun])
        ]


def refuse_changed(recipe: Recipe, root: Path) -> None:
    """Refuse images that are no longer those that the run was planned for.

    Raises:
        FailureError: a file has changed since.
    """
    if (
        recipe.content
        and named_by_folder(recipe.dataset)
        and content_of(recipe.dataset, root).now != recipe.content
    ):
        raise FailureError(
            f"the files of {recipe.dataset} have changed since the run was planned",
            "Start again: runs are kept by what their data set holds.",
        )
