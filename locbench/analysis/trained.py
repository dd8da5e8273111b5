"""Networks of recorded runs, with the weights that they ended with."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from locbench.datasets.catalogue import info
from locbench.errors import FailureError, UsageError
from locbench.learning.learner import Learner, build_learner
from locbench.networks.pretrained import library_of, library_state
from locbench.networks.weight_files import weights_in
from locbench.results.record import Record
from locbench.results.store import Store


def trained_learner(record: Record, store: Store) -> Learner:
    """Return what a recorded run of a classifier trained, on the CPU and in evaluation mode.

    Raises:
        UsageError: the run trained a detector.
        FailureError: its weights were not kept, cannot be read, or are of another recipe.
    """
    recipe = record.recipe
    if recipe.detection is not None:
        raise UsageError(
            f"{recipe.name} trained a detector, and a classifier is asked for",
            "Choose the record of a classifier.",
        )
    path = weights_file(record, store)
    state = weights_in(path, network_only=False)
    dataset = info(recipe.dataset)
    learner = build_learner(recipe, dataset.classes, recipe.image_size or dataset.side)
    try:
        learner.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()[:200]
        raise FailureError(
            f"{path} does not hold the weights of {recipe.name}: {reason}",
            "Train the run again with --keep-weights.",
        ) from None
    return learner.eval()


def weights_file(record: Record, store: Store) -> Path:
    """Return the file of a recorded run's weights; FailureError if they were not kept."""
    path = store.weights(record.key)
    if not path.is_file():
        raise FailureError(
            f"the weights of {record.recipe.name} were not kept: there is no file {path}",
            "Train the run with --keep-weights, or copy the file from where it was trained.",
        )
    return path


def exported_state(record: Record, store: Store, *, own_names: bool) -> dict[str, Tensor]:
    """Return the weights of a recorded run's network for use elsewhere.

    Args:
        record: of the run.
        store: where its weights are.
        own_names: keep locbench's names, also where torchvision or timm has the network.

    Raises:
        LocbenchError: see `trained_learner`.
    """
    chain, network = trained_learner(record, store).chain, record.recipe.network
    if own_names or not library_of(network):
        return dict(chain.state_dict())
    return library_state(chain, network)
