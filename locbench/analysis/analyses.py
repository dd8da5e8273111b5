"""Analyses of recorded runs as tidy data frames, one line per number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from locbench.errors import FailureError, UsageError
from locbench.results.record import Record
from locbench.results.store import Store
from locbench.spec.choices import FigureKind as Kind
from locbench.spec.networks import NETWORKS


@dataclass(frozen=True)
class Subject:
    """A recorded run in an analysis.

    Attributes:
        label: of its line or picture; runs of one label and panel are seeds of one another.
        store: the results folder of the record, where its weights are.
        panel: the picture's part that it belongs to.
        reference: the run that it is compared with, for CKA.
        reduction: of the auxiliary nets' FLOPs by the pyramidal depth, in percent.
    """

    label: str
    record: Record
    store: Store
    panel: str = ""
    reference: Subject | None = None
    reduction: float = 0.0


@dataclass(frozen=True)
class Settings:
    """What analyses of test images depend on.

    Attributes:
        root: folder of the data sets.
        images: how many test images at most.
        seed: of halves and of t-SNE.
        target: the class that t-SNE tells from the others, by number.
        shown: images whose feature maps are shown.
    """

    root: Path
    images: int = 2000
    seed: int = 0
    target: int = 0
    shown: int = 4


def analyse(kind: Kind, subjects: Sequence[Subject], settings: Settings) -> pd.DataFrame:
    """Return an analysis of recorded runs.

    Returns:
        One line per number, with ``panel``, ``label``, ``seed`` and the record's ``key``; and

        * cka and probe: ``layer`` (0 is the stem or the first layer) and ``value``;
        * accuracy: ``value``, of the test images in percent, and reduction: ``reduction`` besides;
        * curves: ``epoch`` and ``value``, the training loss of the network's output;
        * tsne: ``image``, ``x``, ``y``, ``target`` (whether it is of the target class) and
          ``separation``, the mean silhouette of the target class in the plane, of all images
          together;
        * features: ``image``, ``stage``, ``row``, ``column`` and ``value``, see `stage_maps`.

    Raises:
        UsageError: a record is of a detector or, for CKA, of another network or data set than its
            reference.
        FailureError: weights were not kept or data are missing.
    """
    frames = [_with_origin(_ANALYSES[kind](each, settings), each) for each in subjects]
    return pd.concat(frames, ignore_index=True)


def _with_origin(rows: Iterable[dict[str, Any]], subject: Subject) -> pd.DataFrame:
    origin = {
        "panel": subject.panel,
        "label": subject.label,
        "seed": subject.record.recipe.seed,
        "key": subject.record.key,
    }
    return pd.DataFrame([origin | row for row in rows])


def _cka(subject: Subject, settings: Settings) -> Iterator[dict[str, Any]]:
    from locbench.analysis.cka import layerwise_cka
    from locbench.analysis.representations import batches_of, test_images
    from locbench.analysis.trained import trained_learner

    if subject.reference is None:
        raise UsageError("CKA compares with a reference", "Name two records or more.")
    recipe, other = subject.record.recipe, subject.reference.record.recipe
    for ours, theirs, what in (
        (recipe.network, other.network, "networks"),
        (recipe.dataset, other.dataset, "data sets"),
    ):
        if ours != theirs:
            raise UsageError(
                f"{recipe.name} and {other.name} are of different {what}: {ours} and {theirs}",
                "CKA compares layer by layer: choose records that share network and data set.",
            )
    network, reference = (
        trained_learner(each.record, each.store).chain for each in (subject, subject.reference)
    )
    split = test_images(recipe, settings.root, settings.images)
    values = layerwise_cka(network, reference, batches_of(recipe, split))
    return ({"layer": layer, "value": value} for layer, value in enumerate(values))


def _probe(subject: Subject, settings: Settings) -> Iterator[dict[str, Any]]:
    from locbench.analysis.probe import probe_accuracies

    values = probe_accuracies(_features(subject, settings), settings.seed)
    return ({"layer": layer, "value": value} for layer, value in enumerate(values))


def _tsne(subject: Subject, settings: Settings) -> Iterator[dict[str, Any]]:
    from locbench.analysis.embedding import separation, tsne

    features = _features(subject, settings)
    is_target = features.labels == settings.target
    if is_target.all() or not is_target.any():
        raise FailureError(
            f"class {settings.target} and others are to be told apart, and the images have "
            f"{'it alone' if is_target.any() else 'none of it'}",
            "Choose another class with --target, or more images with --images.",
        )
    points = tsne(features.layers[-1], settings.seed)
    apart = separation(points, is_target)
    return (
        {"image": index, "x": float(x), "y": float(y), "target": bool(of), "separation": apart}
        for index, ((x, y), of) in enumerate(zip(points, is_target, strict=True))
    )


def _maps(subject: Subject, settings: Settings) -> Iterator[dict[str, Any]]:
    from locbench.analysis.maps import stage_maps
    from locbench.analysis.representations import batches_of, test_images
    from locbench.analysis.trained import trained_learner

    recipe = subject.record.recipe
    chain = trained_learner(subject.record, subject.store).chain
    batch = next(batches_of(recipe, test_images(recipe, settings.root, settings.shown)))
    return (
        {"image": image, "stage": stage, "row": row, "column": column, "value": float(value)}
        for stage, maps in enumerate(stage_maps(chain, batch.images), 1)
        for image, each in enumerate(maps)
        for row, line in enumerate(each)
        for column, value in enumerate(line)
    )


def _accuracy(subject: Subject, settings: Settings) -> Iterator[dict[str, Any]]:  # noqa: ARG001
    return iter([{"value": subject.record.metrics["test_acc"]}])


def _reduction(subject: Subject, settings: Settings) -> Iterator[dict[str, Any]]:
    return ({"reduction": subject.reduction} | row for row in _accuracy(subject, settings))


def _curves(subject: Subject, settings: Settings) -> Iterator[dict[str, Any]]:  # noqa: ARG001
    return (
        {"epoch": row["epoch"], "value": row["train_loss"]}
        for row in subject.record.history
        if row.get("train_loss") is not None
    )


def _features(subject: Subject, settings: Settings) -> Any:
    from locbench.analysis.representations import batches_of, pooled_features, test_images
    from locbench.analysis.trained import trained_learner

    recipe = subject.record.recipe
    chain = trained_learner(subject.record, subject.store).chain
    return pooled_features(
        chain, batches_of(recipe, test_images(recipe, settings.root, settings.images))
    )


_ANALYSES: dict[Kind, Callable[[Subject, Settings], Iterator[dict[str, Any]]]] = {
    "accuracy": _accuracy,
    "reduction": _reduction,
    "cka": _cka,
    "probe": _probe,
    "tsne": _tsne,
    "features": _maps,
    "curves": _curves,
}


ACROSS: dict[Kind, str] = {
    "cka": "layer",
    "probe": "layer",
    "curves": "epoch",
    "reduction": "reduction",
}
"""What lies on the x axis of the kinds that are lines."""


def summaries(kind: Kind, frame: pd.DataFrame) -> dict[tuple[str, str], float]:
    """Return one number per panel and label, the mean over seeds.

    Of CKA it is the mean over layers, of a probe the last layer's accuracy, of curves the last
    epoch's loss, of accuracies their mean, of t-SNE the separation, and of feature maps the share
    of active places in percent (above half of the scaled range).
    """
    if kind == "features":
        frame = frame.assign(value=100.0 * (frame["value"] > 0.5))
    column = "separation" if kind == "tsne" else "value"
    by_seed = frame.groupby(["panel", "label", "seed"], sort=False)[column]
    each = by_seed.last() if kind in ("probe", "curves") else by_seed.mean()
    means = each.groupby(["panel", "label"], sort=False).mean()
    places = means.index.to_frame(index=False)
    names = zip(places["panel"].astype(str), places["label"].astype(str), strict=True)
    return dict(zip(names, map(float, means), strict=True))


def caption(kind: Kind, subjects: Sequence[Subject], settings: Settings) -> str:
    """Return what a reader must know of an analysis in one or two sentences."""
    networks = dict.fromkeys(NETWORKS[each.record.recipe.network].label for each in subjects)
    images = f"up to {settings.images:,} test images" if kind != "curves" else ""
    words = {
        "accuracy": "Test accuracy after the last epoch.",
        "reduction": "Test accuracy after the last epoch, and what the pyramidal depth saves of "
        "the auxiliary nets' FLOPs.",
        "cka": f"Linear CKA of each local layer with the reference, minibatch form with the "
        f"unbiased HSIC, whole feature maps flattened, {images}; legend: mean over layers.",
        "probe": f"Accuracy of a logistic regression on features averaged over each map, fitted on "
        f"one half of {images} and tested on the other.",
        "tsne": f"t-SNE of the last layer's features averaged over each map, {images}, seed "
        f"{settings.seed}; s is the mean silhouette of class {settings.target} against the rest.",
        "features": f"Mean over channels at the end of each stage, scaled to [0, 1] for each of "
        f"{settings.shown} test images; active places are above 0.5.",
        "curves": "Training loss of the network's output, by epoch.",
    }
    return f"{', '.join(networks)}. {words[kind]}"
