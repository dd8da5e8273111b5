"""t-SNE of a network's last features, and how far a class lies from the others in it."""

from __future__ import annotations

from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_score

from locbench.analysis.representations import Array
from locbench.errors import FailureError

PERPLEXITY = 30.0
"""scikit-learn's default, which the paper does not name."""


def tsne(features: Array, seed: int = 0) -> Array:
    """Return N points in the plane, N x 2 (van der Maaten & Hinton 2008).

    Args:
        features: N x C.
        seed: of the descent; it starts from the principal components.

    Raises:
        FailureError: there are no more images than the perplexity.
    """
    if len(features) <= PERPLEXITY:
        raise FailureError(
            f"t-SNE takes more than {PERPLEXITY:.0f} images, and there are {len(features)}",
            "Ask for more with --images.",
        )
    embedding: Array = TSNE(perplexity=PERPLEXITY, init="pca", random_state=seed).fit_transform(
        features
    )
    return embedding


def separation(points: Array, is_target: Array) -> float:
    """Return the mean silhouette of one class against the rest, from -1 to 1.

    Args:
        points: N x anything.
        is_target: N booleans, both values among them.
    """
    return float(silhouette_score(points, is_target))
