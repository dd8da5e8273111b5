"""One run of a sweep, and the runs before it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from locbench.printable import printable
from locbench.results.plugin_use import changed_lines
from locbench.results.store import Store
from locbench.spec.recipe import Recipe
from locbench.spec.table_files import load_tables

State = Literal["done", "failed", "unfinished", "to do"]


@dataclass(frozen=True)
class Job:
    """One run and the places of the table that it fills.

    Attributes:
        backbone_of: rows of the same plan whose detectors stand on this run's network.
        keeps_weights: whether the final weights are kept, for detectors of this or of another table
            or since a user asks for them.
    """

    recipe: Recipe
    cells: tuple[tuple[str, str], ...]
    state: State
    backbone_of: tuple[str, ...] = ()
    keeps_weights: bool = False

    @property
    def open(self) -> bool:
        """Whether the run is not there yet; a failed one counts as there."""
        return self.state in ("unfinished", "to do")

    @property
    def place(self) -> tuple[str, str]:
        """The row and the column where the run is shown; further ones that share it are counted."""
        if self.backbone_of:
            return ", ".join(self.backbone_of), f"backbone by {self.recipe.method}"
        if not self.cells:
            return self.recipe.method, ""
        row, column = self.cells[0]
        more = f" (and {len(self.cells) - 1} more)" if len(self.cells) > 1 else ""
        return row, column + more


def state_of(key: str, store: Store, rerun: str | None, *, needs_weights: bool = False) -> State:
    """Return how far the run of a key is.

    Args:
        key: of the recipe.
        store: records there are.
        rerun: ``failed`` or ``all`` makes what is there count as open.
        needs_weights: a recorded run without kept weights counts as open.
    """
    record = store.find(key)
    if needs_weights and record is not None and record.status == "done":
        # It was recorded by another command, or on another machine.
        rerun = rerun if store.kept_weights(key) else "all"
    if (
        record is not None
        and rerun != "all"
        and not (record.status == "failed" and rerun == "failed")
    ):
        return "done" if record.status == "done" else "failed"
    return "unfinished" if store.checkpoint(key).is_file() else "to do"


def with_backbones(jobs: Iterable[Job], store: Store, rerun: str | None) -> tuple[Job, ...]:
    """Return the jobs behind those that train their backbones.

    One whose weights come from a file needs none.
    """
    jobs = tuple(jobs)
    backbones: dict[str, Recipe] = {}
    above: dict[str, list[Job]] = {}
    for job in jobs:
        if job.recipe.backbone is not None and not job.recipe.weights:
            key = job.recipe.backbone.key
            backbones.setdefault(key, job.recipe.backbone)
            above.setdefault(key, []).append(job)
    first = (_backbone(recipe, above[key], store, rerun) for key, recipe in backbones.items())
    return (*first, *jobs)


def _backbone(recipe: Recipe, above: Sequence[Job], store: Store, rerun: str | None) -> Job:
    """Return the job of a backbone.

    It runs where a detector needs it, and again only if it failed.
    """
    needed = any(job.open for job in above)
    state = state_of(recipe.key, store, "failed" if rerun else None, needs_weights=needed)
    if state in ("unfinished", "to do") and not needed:
        state = "done"  # nobody needs it: its detectors are there
    return Job(
        recipe, (), state, tuple(dict.fromkeys(job.place[0] for job in above)), keeps_weights=True
    )


def recorded_notes(jobs: Iterable[Job], store: Store, rerun: str = "") -> list[str]:
    """Say how many of the records that are there came with the repository.

    And how many used another version of a plugin. ``rerun`` replaces them.
    """
    recorded = [job for job in jobs if job.state in ("done", "failed")]
    count = store.shipped(job.recipe.key for job in recorded)
    replace = f", {rerun} replaces them" if rerun else ""
    shipped = f"{count} of the recorded runs came with the repository and were not made here"
    found = (store.find(job.recipe.key) for job in recorded)
    changed = changed_lines(record for record in found if record is not None)
    return [
        *([f"{shipped}: --results DIR runs them in a folder of your own{replace}."] * bool(count)),
        *(f"{line} {rerun} replaces them." if rerun else line for line in changed),
    ]


def published_backbones() -> frozenset[str]:
    """Return the keys of the runs that detectors of published tables stand on.

    A table that is broken wants none.
    """
    cells = [cell for table in load_tables([], ["backbone"]) for cell in table.cells]
    return frozenset(
        cell.recipe.backbone.key for cell in cells if cell.recipe and cell.recipe.backbone
    )


def place_of(job: Job) -> str:
    """Return the cell that a run is shown in, and its seed."""
    row, column = job.place
    return printable(", ".join(filter(None, (row, column, f"seed {job.recipe.seed}"))))
