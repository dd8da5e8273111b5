"""The open jobs of a plan, run in this process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import torch

from locbench.data.images import Split, load
from locbench.detection.dataset import DetectionSplit
from locbench.detection.detector import BackboneError
from locbench.detection.loading import load_detection
from locbench.detection.run import DetectionRun
from locbench.errors import DivergedError, FailureError, LocbenchError
from locbench.execution.events import JobDone, JobStarted, Listener
from locbench.execution.identity import refuse_changed
from locbench.execution.job import Job, place_of
from locbench.execution.readiness import refuse_missing, refuse_unready
from locbench.networks.weight_files import keep_weights
from locbench.results.plugin_use import plugins_of
from locbench.results.provenance import code, versions
from locbench.results.record import DataUsed, Provenance, Record
from locbench.results.store import Store
from locbench.spec.choices import EngineName
from locbench.spec.recipe import Recipe
from locbench.training.device import device_name
from locbench.training.distributed import SINGLE_PROCESS, ProcessGroup
from locbench.training.engine import choose_engine, why_not_graphed
from locbench.training.faults import error_text, is_recipes_own
from locbench.training.run import Run
from locbench.training.state import Origin, RunState


class Sweep:
    """The runs of a plan on one device.

    Args:
        store: where records go.
        device: where to train.
        root: folder of the data sets.
        download: fetch what is missing.
        weights: file of pretrained weights; None asks timm's hub where a recipe wants some.
        world: processes that share every run; one of them writes the records.
        engine: how training steps are run; see `choose_engine`.
        chosen_engines: those of recipes for which it has been chosen, by their keys.
        beside: how many sweeps share the device, this one among them; records say so.
    """

    def __init__(
        self,
        store: Store,
        device: torch.device,
        root: Path,
        *,
        download: bool = False,
        weights: Path | None = None,
        world: ProcessGroup = SINGLE_PROCESS,
        engine: str = "auto",
        chosen_engines: Mapping[str, EngineName] = MappingProxyType({}),
        beside: int = 1,
    ) -> None:
        self.store, self.device, self.root, self.download = store, device, root, download
        self.weights, self.world, self.engine, self.beside = weights, world, engine, beside
        self.code = code()
        self._splits: dict[tuple[str, str, int | None, int | None], Split | DetectionSplit] = {}
        self._detection_splits: dict[str, DetectionSplit] = {}
        self._engines = dict(chosen_engines)

    def prepare(self, jobs: Sequence[Job]) -> None:
        """Refuse what some job could not do, and make the folders of its records.

        Raises:
            FailureError: a data set is missing, or see `refuse_unready` and `Store.prepare`.
            UsageError: the engine cannot run one of the jobs, or see `refuse_unready`.
        """
        self.choose_engines(jobs)
        if not self.download:
            refuse_missing(dict.fromkeys(job.recipe.dataset for job in jobs), self.root)
        self._detection_splits = refuse_unready(jobs, self.root)
        self.store.prepare(
            [job.recipe for job in jobs], weights=any(job.keeps_weights for job in jobs)
        )

    def choose_engines(self, jobs: Sequence[Job]) -> Mapping[str, EngineName]:
        """Return the engine of each job by its recipe's key; UsageError if it cannot run one."""
        return {job.recipe.key: self._engine(job.recipe) for job in jobs}

    def run(self, jobs: Sequence[Job], listener: Listener) -> list[Record]:
        """Run jobs that have been prepared; see `run_job`."""
        return [
            self.run_job(job, number, len(jobs), listener) for number, job in enumerate(jobs, 1)
        ]

    def run_job(self, job: Job, number: int, jobs: int, listener: Listener) -> Record:
        """Run a job that has been prepared, here or in another process.

        A cell that fails by itself is recorded as failed.

        Args:
            job: what to run.
            number, jobs: which one it is of how many, from 1.
            listener: who is notified.

        Raises:
            FailureError: a record cannot be written, or the machine failed (`is_recipes_own`); what
                was recorded before is safe, and so are whole epochs.
        """
        with _ending_the_sweep(job):
            split = self.split(job.recipe)
            listener.on(JobStarted(job, number, jobs))
            record = self._record(job, split, listener)
            if self.world.is_main:
                self.store.save(record)
            listener.on(JobDone(record))
            return record

    def split(self, recipe: Recipe) -> Split | DetectionSplit:
        """Return a recipe's images, a classifier's on the device, loaded once per sweep."""
        images = (recipe.dataset, recipe.content, recipe.train_limit, recipe.test_limit)
        if images not in self._splits:
            self._splits.clear()  # one data set at a time: several would not fit every device
            self._splits[images] = self._load(recipe)
            refuse_changed(recipe, self.root)
        return self._splits[images]

    def _load(self, recipe: Recipe) -> Split | DetectionSplit:
        if recipe.detection is not None:
            whole = self._detection_splits.get(recipe.dataset) or load_detection(
                recipe.dataset, self.root
            )
            return whole.limited(recipe.train_limit, recipe.test_limit)
        return load(
            recipe.dataset,
            self.root,
            limit=recipe.train_limit,
            test_limit=recipe.test_limit,
            download=self.download,
            device=str(self.device),
        )

    def _run(self, recipe: Recipe, split: Split | DetectionSplit) -> Run | DetectionRun:
        checkpoint, origin = self.store.checkpoint(recipe.key), self._origin(recipe)
        if isinstance(split, Split):
            engine = self._engine(recipe)
            return Run(
                recipe,
                split,
                checkpoint,
                weights=self.weights,
                world=self.world,
                engine=engine,
                origin=origin,
            )
        return DetectionRun(recipe, split, self._backbone(recipe), checkpoint, self.device, origin)

    def _engine(self, recipe: Recipe) -> EngineName:
        if recipe.key not in self._engines:
            self._engines[recipe.key] = choose_engine(self.engine, recipe, self.device, self.world)
        return self._engines[recipe.key]

    def engine_words(self, recipe: Recipe) -> str:
        """Return which engine runs a recipe's steps, and why ``auto`` takes no graphs."""
        chosen = self._engine(recipe)
        why = why_not_graphed(recipe, self.device, self.world) if self.engine == "auto" else ""
        return f"engine {chosen}" + (f": graphed {why}" if why and chosen == "eager" else "")

    def _origin(self, recipe: Recipe) -> Origin:
        record = self.store.find(recipe.key)
        finished = record.provenance if record is not None and record.status == "done" else None
        replaces = f"started {finished.started}, {finished.seconds} s" if finished else ""
        versions = (f"{name} {digest[:12]}" for name, digest in plugins_of(recipe).items())
        code = " with plugin ".join((self.code.name, *versions))
        return Origin(code, self.code.dirty, replaces)

    def _backbone(self, recipe: Recipe) -> Path:
        """Return the file of a detector's backbone's weights."""
        assert recipe.backbone is not None
        if recipe.weights:
            assert self.weights is not None
            return self.weights
        return refuse_untrained(self.store, recipe.backbone)

    def _record(self, job: Job, split: Split | DetectionSplit, listener: Listener) -> Record:
        recipe, state = job.recipe, RunState()
        try:
            run = self._run(recipe, split)
            state = run.state
            run.train(listener)
            if job.keeps_weights and self.world.is_main:
                keep_weights(run.trained, self.store.weights(recipe.key))
        except Exception as error:
            if not is_recipes_own(error, len(state.history)):
                raise  # the next cell could meet it too, and this one may not meet it again
            diverged = isinstance(error, DivergedError)
            if self.world.size > 1 and not diverged:
                # The other processes may not have met it, and would wait for this one.
                raise FailureError(
                    f"a process failed: {error_text(error)}", "Start torchrun again."
                ) from error
            if diverged and self.world.is_main:  # it would diverge again from there
                self.store.checkpoint(recipe.key).unlink(missing_ok=True)
            return self._failed(recipe, split, state, error)
        return self._make(recipe, split, state, run.metrics())

    def _failed(
        self, recipe: Recipe, split: Split | DetectionSplit, state: RunState, error: Exception
    ) -> Record:
        message = error.message if isinstance(error, LocbenchError) else error_text(error)
        return msgspec.structs.replace(
            self._make(recipe, split, state, {}), status="failed", error=message
        )

    def _make(
        self,
        recipe: Recipe,
        split: Split | DetectionSplit,
        state: RunState,
        metrics: dict[str, float],
    ) -> Record:
        return Record(
            key=recipe.key,
            status="done",
            recipe=recipe,
            described=recipe.describe(),
            metrics=metrics,
            history=state.history,
            local_losses=state.local_losses,
            parameters=state.parameters,
            data=DataUsed(
                split.info.name,
                split.info.label,
                split.fingerprint,
                train=len(split.train),
                test=len(split.test),
            ),
            provenance=Provenance(
                device=device_name(self.device),
                versions=versions(),
                **msgspec.structs.asdict(self.code) | self._other_code(state),
                started=state.started,
                seconds=round(state.seconds, 2),
                resumed=state.resumed,
                threads=torch.get_num_threads() if self.device.type == "cpu" else 0,
                engine=state.engine,
                beside=self.beside,
                plugins=plugins_of(recipe) or msgspec.UNSET,
            ),
        )

    @staticmethod
    def _other_code(state: RunState) -> dict[str, Any]:
        """Return what a record says beside the present code of a run that was continued by it."""
        return {"codes": tuple(state.codes), "dirty": state.dirty} if len(state.codes) > 1 else {}


@contextmanager
def _ending_the_sweep(job: Job) -> Iterator[None]:
    """Turn any error into one message that names the cell and how to go on."""
    try:
        yield
    except LocbenchError:
        raise
    except Exception as error:
        raise FailureError(
            f"{place_of(job)}: {error_text(error)}",
            "Whole epochs of it and all records are kept. To go on: the same command.",
        ) from error


def refuse_untrained(store: Store, backbone: Recipe) -> Path:
    """Return the file of a trained backbone's weights.

    Raises:
        BackboneError: there is none since its training failed.
    """
    if path := store.kept_weights(backbone.key):
        return path
    record = store.find(backbone.key)
    why = f": {record.error}" if record is not None and record.status == "failed" else ""
    raise BackboneError(f"its backbone was not trained{why}", "Train it again with --rerun failed.")
