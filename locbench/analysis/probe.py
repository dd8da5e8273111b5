"""Linear probes: how well a linear classifier tells classes apart by one layer's features."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from locbench.analysis.representations import Array, PooledFeatures
from locbench.errors import FailureError

MOST_STEPS = 1000
"""Steps of the solver; standardised features need a fraction of them."""


def probe_accuracies(features: PooledFeatures, seed: int = 0) -> list[float]:
    """Return the accuracy of a linear probe on each layer in percent.

    A probe is a logistic regression on standardised features. It is fitted on one half of the
    images and tested on the other; the halves have the same shares of classes and are the same for
    every layer and network.

    Args:
        features: of images that the network was not trained on.
        seed: of the halves.

    Raises:
        FailureError: some class has fewer than two images.
    """
    counts = np.unique(features.labels, return_counts=True)[1]
    if len(counts) < 2 or counts.min() < 2:
        raise FailureError(
            "a probe needs two images or more of at least two classes",
            "Ask for more with --images.",
        )
    fitted, tested = train_test_split(
        np.arange(len(features.labels)),
        test_size=0.5,
        stratify=features.labels,
        random_state=seed,
    )
    return [_accuracy(layer, features.labels, fitted, tested) for layer in features.layers]


def _accuracy(layer: Array, labels: Array, fitted: Array, tested: Array) -> float:
    probe: Any = make_pipeline(StandardScaler(), LogisticRegression(max_iter=MOST_STEPS))
    probe.fit(layer[fitted], labels[fitted])
    return 100 * float(probe.score(layer[tested], labels[tested]))
