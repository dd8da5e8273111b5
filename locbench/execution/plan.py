"""The runs that a table and a command's options ask for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

import msgspec

from locbench.datasets.catalogue import info, resolve
from locbench.datasets.naming import canonical
from locbench.errors import UsageError
from locbench.execution.identity import Contents
from locbench.execution.job import (
    Job,
    published_backbones,
    recorded_notes,
    state_of,
    with_backbones,
)
from locbench.results.store import Store
from locbench.spec.compatibility import lean_obstacle, refuse_unfit
from locbench.spec.networks import NETWORKS
from locbench.spec.presets import with_preset
from locbench.spec.recipe import Recipe, warmup_epochs
from locbench.spec.selection import RunOptions, select, trains
from locbench.spec.tables import Cell, Table
from locbench.spec.validation import MOST, refuse_count, seed_numbers


@dataclass(frozen=True)
class Plan:
    """What a sweep will do.

    Attributes:
        jobs: all runs in order, one seed of every cell before any second one; done ones included.
        table: whose runs they are; None for recipes that belong to no table.
        cells: the selected cells.
        notes: what a user should know before it starts.
    """

    table: Table | None
    jobs: tuple[Job, ...]
    cells: tuple[Cell, ...]
    notes: tuple[str, ...] = ()
    blocked: tuple[Cell, ...] = field(default=())

    @property
    def title(self) -> str:
        """What the plan is of, in a few words."""
        return f"{self.table.id} ({self.table.caption})" if self.table else "one recipe"

    @property
    def open(self) -> tuple[Job, ...]:
        """The runs that are not there yet.

        A failed one counts as there unless failed ones are to run again.
        """
        return tuple(job for job in self.jobs if job.open)


def make_plan(
    table: Table, options: RunOptions, store: Store, root: Path, rerun: str | None = None
) -> Plan:
    """Return the runs that a table needs and which of them are there.

    Args:
        table: the table.
        options: preset, selection and overrides.
        store: records there are.
        root: folder of the data sets, to see which variant of CIFAR-10 is there.
        rerun: ``failed`` or ``all`` runs again what is there.

    Raises:
        UsageError: a row, a column or a data set does not exist, or a method cannot be run in lean
            memory.
    """
    if options.dataset is not None:
        options = msgspec.structs.replace(options, dataset=canonical(options.dataset))
    cells, substitute = select(table, options)
    contents = Contents(root)
    runnable = [cell for cell in cells if cell.recipe is not None and trains(table, cell)]
    notes: dict[str, None] = {}
    variant = cache(partial(resolve, root=root))  # looks at the disk, once per data set
    places: dict[str, tuple[Recipe, list[tuple[str, str]]]] = {}
    for seed in _seeds(table, options):
        for cell in runnable:
            assert cell.recipe is not None
            recipe, note = _reduced(cell.recipe, options, substitute, variant)
            notes |= dict.fromkeys(note)
            recipe = contents.with_content(msgspec.structs.replace(recipe, seed=seed))
            _refuse_unfit(recipe, cell)
            places.setdefault(recipe.key, (recipe, []))[1].append((cell.row, cell.column))
    _refuse_shared_weights([recipe for recipe, _ in places.values()])
    kept, asked = published_backbones() & places.keys(), options.keep_weights
    table_jobs = [
        Job(
            recipe,
            tuple(where),
            state_of(key, store, rerun, needs_weights=asked),
            keeps_weights=asked or key in kept,
        )
        for key, (recipe, where) in places.items()
    ]
    jobs = with_backbones(table_jobs, store, rerun)
    notes |= dict.fromkeys(contents.notes(jobs, store))
    notes |= dict.fromkeys(recorded_notes(jobs, store, rerun="--rerun all"))
    blocked = tuple(cell for cell in cells if cell.blocked)
    return Plan(table, jobs, tuple(cells), tuple(notes), blocked)


def _seeds(table: Table, options: RunOptions) -> Sequence[int]:
    usual = table.trials if options.preset == "paper" else 1
    return seed_numbers(usual if options.seeds is None else options.seeds)


def _reduced(
    published: Recipe, options: RunOptions, substitute: str | None, variant: Callable[[str], str]
) -> tuple[Recipe, list[str]]:
    recipe = with_preset(published, options.preset, options.dataset, bfloat16=options.bfloat16)
    recipe, notes = _with_dataset(recipe, substitute, variant)
    changes: dict[str, object] = {}
    for name, field_name in (("epochs", "epochs"), ("limit", "train_limit")):
        if (value := getattr(options, name)) is not None:
            refuse_count(f"--{name}", value, MOST[field_name])
    if options.epochs is not None:
        warm = warmup_epochs(options.epochs) if recipe.warmup_epochs else 0
        changes |= {"epochs": options.epochs, "warmup_epochs": warm}
        changes["test_every"] = min(recipe.test_every, max(options.epochs, 1))
    if options.limit is not None:
        changes["train_limit"] = options.limit
    if options.precision is not None:
        changes["precision"] = options.precision
    if options.memory is not None:
        changes["memory"] = options.memory
    changes |= _with_weights(recipe, options) | {"processes": options.processes}
    recipe = msgspec.structs.replace(recipe, **changes)
    return recipe, [*notes, *_kept_backbone(recipe, options), *_rarely_tested(recipe, options)]


def _rarely_tested(recipe: Recipe, options: RunOptions) -> list[str]:
    """Say of how few epochs the best one is the best, where a preset tests less often."""
    tests = math.ceil(recipe.epochs / recipe.test_every)
    if options.preset == "paper" or not 1 < tests < recipe.epochs:
        return []
    after = f"Runs are tested after {tests} of {recipe.epochs} epochs"
    return [f"{after}; the best epoch is the best of these."]


def _kept_backbone(recipe: Recipe, options: RunOptions) -> list[str]:
    """Say which options do not reach a detector's backbone."""
    given = [
        f"--{name}"
        for name in ("epochs", "limit", "precision")
        if getattr(options, name) is not None
    ]
    if recipe.backbone is None or options.weights or not given:
        return []
    kept = f"Detectors' backbones keep their own schedule, without {', '.join(given)}"
    return [f"{kept}; use a preset, or --weights FILE in their place."]


def _refuse_unfit(recipe: Recipe, cell: Cell) -> None:
    place = f"{cell.row}, {cell.column}"
    if recipe.memory == "lean" and (why := lean_obstacle(recipe)):
        remedy = "Use --memory plain, or choose other cells with --rows and --columns."
        raise UsageError(f"{place}: {why}", remedy)
    try:
        refuse_unfit(recipe)
    except UsageError as error:
        raise UsageError(f"{place}: {error.message}", error.remedy) from None


def _with_weights(recipe: Recipe, options: RunOptions) -> dict[str, object]:
    init = options.init or recipe.init
    if options.weights and init == "scratch" and recipe.detection is None:
        network = NETWORKS[recipe.network].label
        raise UsageError(
            f"--weights is for pretrained weights; {network} starts from random ones here",
            "Leave --weights out, choose a table of pretrained networks without a preset, "
            "or add --init torchvision.",
        )
    return {"init": init} | ({"weights": options.weights} if options.weights else {})


def _refuse_shared_weights(recipes: Sequence[Recipe]) -> None:
    """Refuse one weight file for several networks, or for several kinds of backbones."""
    recipes = [recipe for recipe in recipes if recipe.weights]
    networks = dict.fromkeys(NETWORKS[recipe.network].label for recipe in recipes)
    backbones = dict.fromkeys(recipe.backbone.method for recipe in recipes if recipe.backbone)
    if max(len(networks), len(backbones)) > 1:
        several = networks if len(networks) > 1 else backbones
        raise UsageError(
            f"--weights is one file, and the chosen cells need one each for {', '.join(several)}",
            "Choose one of them with --rows and --columns.",
        )


def _with_dataset(
    recipe: Recipe, substitute: str | None, variant: Callable[[str], str]
) -> tuple[Recipe, list[str]]:
    name = variant(substitute or recipe.dataset)
    if name == recipe.dataset:
        return recipe, []
    recipe = msgspec.structs.replace(recipe, dataset=name)
    if substitute:
        return recipe, []
    return recipe, [
        f"The official files are not there; the runs use {info(name).label} and are marked so."
    ]
