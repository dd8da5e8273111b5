"""How fast images arrive, and whether training waits for them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from locbench.data.batches import Batch

__all__ = ["speed", "timed"]

LONG_ENOUGH = 30.0
"""Seconds after which a speed is told, if the epoch has not ended before."""


def speed(images: int, seconds: float, waited: float) -> str:
    """Return in words how fast images arrived.

    Args:
        images: that arrived.
        seconds: in which they did.
        waited: seconds of these that were spent waiting for them.
    """
    return f"{images / seconds:,.0f} images/s read from files, {100 * waited / seconds:.0f} % of the time spent waiting"


def timed(
    batches: Iterator[Batch],
    tell: Callable[[str], None],
    after: float = LONG_ENOUGH,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[Batch]:
    """Pass batches on and tell their speed once, from the second one on: the first waits for workers to start.

    Args:
        batches: of images read from files.
        tell: gets the sentence.
        after: seconds after which it does, or at the end of the batches if that is sooner.
        clock: tells seconds.
    """
    first = next(batches, None)
    if first is None:
        return
    yield first
    images, waited, begun = 0, 0.0, clock()
    told = False
    asked = begun
    for batch in batches:
        now = clock()
        images, waited = images + len(batch.labels), waited + now - asked
        if not told and now - begun >= after:
            tell(speed(images, now - begun, waited))
            told = True
        yield batch
        asked = clock()
    if images and not told:
        tell(speed(images, asked - begun, waited))
