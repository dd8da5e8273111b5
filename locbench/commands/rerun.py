"""What `locbench rerun` does: run again what a record says, and compare the numbers."""

from __future__ import annotations

from pathlib import Path

import msgspec

from locbench.commands.table import Training
from locbench.console import Terminal
from locbench.errors import FailureError, UsageError
from locbench.execution.config import ExecutionConfig
from locbench.execution.identity import Contents
from locbench.execution.job import Job, state_of, with_backbones
from locbench.files import digest
from locbench.results.named import record_in
from locbench.results.record import Record
from locbench.results.repetition import Repetition, repetition
from locbench.terminal.runs import print_repetition
from locbench.torchrun import is_main_process, process_count


def rerun(path: Path, config: ExecutionConfig, *, as_json: bool) -> None:
    """Run a record's recipe with its seed on today's code, into another folder, and compare.

    Args:
        path: the record's file.
        config: where to train, and the folder of the new record.
        as_json: print the comparison as JSON.

    Raises:
        UsageError: the file is no record that can be used here, the new record would replace it, or
            its run needs weights or processes that are not given.
        FailureError: the run's data has changed, it failed where it had not, or numbers differ.
    """
    before, store = record_in(path)
    recipe = before.recipe
    if store.folder.resolve() == config.results.resolve():
        raise UsageError(
            f"the new record would replace {path}", "Name another folder with --results DIR."
        )
    _refuse_other_start(before, config)
    content = Contents(config.root).with_content(recipe).content
    if content != recipe.content:
        raise FailureError(
            f"the files of {recipe.dataset} are not those that the run saw",
            "Name the folder of the same files with --data-root, or run it on these: locbench run",
        )
    training = Training(config, as_json=as_json)
    state = state_of(recipe.key, training.store, "all")
    training.train_jobs(
        with_backbones([Job(recipe, (), state)], training.store, None), again="the same command"
    )
    if not is_main_process():
        return
    after = training.store.find(recipe.key)
    assert after is not None  # it was recorded, or an error was raised
    found, file = repetition(before, after), training.store.file(after)

    def view(console: Terminal) -> None:
        print_repetition(console, path, file, after, found)

    training.output.show(lambda: _entry(path, file, before, after, found), view)
    if not found.equal:
        raise FailureError(f"the numbers differ from those of {path}")


def _refuse_other_start(record: Record, config: ExecutionConfig) -> None:
    """Refuse to start from other weights, or with another number of processes."""
    recipe = record.recipe
    if recipe.processes != process_count():
        raise UsageError(
            f"the run was shared by {recipe.processes} processes, and this is {process_count()}",
            f"torchrun --nproc-per-node {recipe.processes} -m locbench rerun ..."
            if recipe.processes > 1
            else "Leave out torchrun.",
        )
    if (digest(config.weights) if config.weights else "") == recipe.weights:
        return
    if not recipe.weights:
        raise UsageError("the run did not start from a file of weights", "Leave --weights out.")
    raise UsageError(
        f"the run started from a file of weights with the digest {recipe.weights}",
        "Give that file with --weights.",
    )


def _entry(
    path: Path, file: Path, before: Record, after: Record, found: Repetition
) -> dict[str, object]:
    return {
        "record": str(path),
        "file": str(file),
        "key": before.key,
        "status": [before.status, after.status],
        "error": after.error,
        **msgspec.to_builtins(found),
    }
