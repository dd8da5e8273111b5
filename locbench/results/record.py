"""Record: the outcome of one recipe, and its provenance."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from locbench.spec.recipe import Recipe

SCHEMA = 1
"""Version of the format of records."""


class DataUsed(msgspec.Struct, frozen=True):
    """The data set of a run as loaded, before limits, and how many of its images were used."""

    name: str
    label: str
    fingerprint: str
    train: int
    test: int


class Provenance(msgspec.Struct, frozen=True):
    """With what a record was made.

    Attributes:
        device: the processor's or accelerator's name.
        versions: of locbench, python, torch, torchvision and timm.
        commit: git commit of the code, empty outside a checkout and where git does not say.
        dirty: whether the code differed from that commit; None outside a checkout.
        started: UTC time of the run's first start, ISO 8601.
        seconds: training and evaluation time, all parts of a resumed run together.
        resumed: how many times the run was continued from a checkpoint.
        threads: CPU threads that torch used.
        engine: how the steps were run; see `training.engine`.
        beside: how many runs shared the device at a time, at most; their times are not those of a
            run alone.
        codes: of a run that was continued by other code, all of them in order; see `Code.name`.
            ``commit`` is the last one's, and ``dirty`` says whether any of them differed from its
            commit.
        no_commit: why there is no commit though the code is in a checkout; what git said.
        plugins: SHA-256 of the plugins that the recipe uses, by name; left out where it uses none.
    """

    device: str
    versions: dict[str, str]
    commit: str
    dirty: bool | None
    started: str
    seconds: float
    resumed: int = 0
    threads: int = 0
    engine: str = "eager"
    beside: int = 1
    no_commit: str = ""
    codes: tuple[str, ...] = ()
    plugins: dict[str, str] | msgspec.UnsetType = msgspec.UNSET

    @property
    def plugin_digests(self) -> dict[str, str]:
        """The plugins; empty where there are none."""
        return {} if isinstance(self.plugins, msgspec.UnsetType) else self.plugins

    @property
    def code(self) -> str:
        """The commit in short, with a mark where the code differed from it, or why it is unknown.

        Else nothing.
        """
        if not self.commit:
            return f"unknown ({self.no_commit})" if self.no_commit else ""
        return f"{self.commit[:12]}{' (dirty)' if self.dirty else ''}"


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One run's outcome.

    Attributes:
        schema: version of this format.
        key: the recipe's key, which is also in the file's name.
        status: ``done`` or ``failed``.
        recipe: the whole recipe.
        described: the recipe with every default written out, for readers; never read back.
        metrics: numbers at the end: ``test_acc``, ``test_err``, ``best_acc`` (percent),
            ``best_epoch``, ``train_loss``.
        history: one number per epoch: ``epoch``, ``lr``, ``train_loss`` (of the last module),
            ``train_acc``, ``test_acc`` (None where the epoch was not evaluated), ``seconds``,
            ``global_share``.
        local_losses: last epoch's mean loss of every local module, first to last.
        parameters: counts, ``primary`` and ``auxiliary``.
        error: why a failed run failed.
    """

    key: str
    status: Literal["done", "failed"]
    recipe: Recipe
    described: dict[str, Any]
    metrics: dict[str, float]
    history: list[dict[str, float | None]]
    local_losses: list[float]
    parameters: dict[str, int]
    data: DataUsed | None
    provenance: Provenance
    error: str = ""
    schema: int = SCHEMA
