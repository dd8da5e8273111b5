"""Published loss weights by network, data set and number of modules.

Source of InfoPro's: the commands of InfoPro-Pytorch's README (Wang et al. 2021). Cells that nobody
published take the ResNet-110 weights of the same data set if there are any, else CIFAR-10's; more
than sixteen modules take the weights of sixteen. ImageNet's networks have one pair of weights each.
"""

from __future__ import annotations

from typing import TypeAlias

from locbench.spec.components import DecoderVariant, HeadNet

Weights: TypeAlias = tuple[tuple[float, float], tuple[float, float]]
"""(reconstruction first, last), (task first, last)."""

PUBLISHED: dict[tuple[str, str], dict[int, Weights]] = {
    ("resnet32", "cifar10"): {
        2: ((5, 5), (1, 1)),
        4: ((6, 1), (0, 2)),
        8: ((5, 0), (0, 2)),
        16: ((5, 0.2), (0.05, 0.5)),
    },
    ("resnet110", "cifar10"): {
        2: ((5, 5), (0.5, 0.5)),
        4: ((1, 0), (0, 1)),
        8: ((5, 0), (0, 1)),
        16: ((5, 0.5), (0, 1)),
    },
    ("resnet110", "stl10"): {
        2: ((10, 10), (1, 1)),
        4: ((20, 5), (0.2, 2)),
        8: ((20, 5), (0.2, 1)),
        16: ((20, 10), (0.5, 0.1)),
    },
    ("resnet110", "svhn"): {
        2: ((1, 1), (0.1, 0.1)),
        4: ((5, 0.5), (0, 1)),
        8: ((5, 0.5), (0, 2)),
        16: ((5, 0.5), (0.2, 1)),
    },
}


IMAGENET: dict[str, Weights] = {
    "resnet101": ((5, 5), (0.75, 0.75)),
    "resnet152": ((5, 5), (1, 1)),
    "resnext101-32x8d": ((5, 5), (0.75, 0.75)),
}
"""Networks that InfoPro trains on ImageNet, with two modules; any other number of modules takes the
same weights.

HPFF's released code has 5 and 0.75 for all three, with four modules.
"""


def infopro_weights(network: str, dataset: str, modules: int) -> Weights:
    """Return the reconstruction ramp and the task ramp.

    Args:
        network: name of the network; one without published weights counts as ResNet-110 (ResNet-32
            if shallower).
        dataset: name of the data set; one without published weights counts as CIFAR-10.
        modules: K; between published values the next larger one is taken, above sixteen the weights
            of sixteen.
    """
    family = "resnet110" if network == "resnet110" else "resnet32"
    name = dataset if dataset in ("stl10", "svhn") else "cifar10"
    table = PUBLISHED.get((family, name)) or PUBLISHED["resnet110", name]
    published = table[next((k for k in sorted(table) if k >= modules), max(table))]
    (first, last), (task_first, task_last) = IMAGENET.get(network, published)
    return (float(first), float(last)), (float(task_first), float(task_last))


def infopro_nets(network: str) -> tuple[HeadNet, DecoderVariant]:
    """Return the head and the decoder that InfoPro publishes for networks of a kind."""
    return ("imagenet", "doubling") if network in IMAGENET else ("1C2F", "resize")


def reconstruction_weights(modules: int) -> Weights:
    """Return alpha and beta of Swin feature reconstruction at the first and last auxiliary block.

    alpha_i = 3 (K - i) / (K - 1), beta_i = 1 + 3 (i - 1) / (K - 1): (3, 1), (2, 2), (1, 3) for the
    three blocks of K = 4 (Pathak et al. 2023, section 4.1; linear for other K).
    """
    if modules < 2:
        return (3.0, 3.0), (1.0, 1.0)
    step = 3 / (modules - 1)
    return (3.0, step), (1.0, 1 + step * (modules - 2))
