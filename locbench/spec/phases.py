"""When a step is local and when it is global."""

from __future__ import annotations

from locbench.spec.components import AnyPhases, Periodic


def is_global(phases: AnyPhases, step: int, steps: int) -> bool:
    """Return whether a training step belongs to PGL's global phase.

    P and Q count epochs of the published schedule. A step's place in that schedule is its share of
    the whole run, so a shorter run keeps the share of global steps, and a full run switches at
    epochs. Whole numbers throughout: no epoch is lost to rounding.

    Args:
        phases: the method's phases.
        step: 0-based index of the step in the whole run.
        steps: number of steps of the whole run.
    """
    if not isinstance(phases, Periodic):
        return False
    place = step * phases.schedule_epochs  # in units of 1 / steps published epochs
    period, duration = phases.period * steps, phases.duration * steps
    if phases.cycle == "period":
        return place % period >= period - duration
    if phases.cycle == "sum":
        return place % (period + duration) >= period
    return place >= period and place % period < duration


def weighted(local: float, guided: float, share: float) -> float:
    """Return the mean of a figure of local and of global steps, of which there is a ``share``."""
    return (1 - share) * local + share * guided


def global_share(phases: AnyPhases, epochs: int) -> float:
    """Return the share of the epochs that are global."""
    return global_epochs(phases, epochs) / epochs


def global_epochs(phases: AnyPhases, epochs: int) -> int:
    """Return how many of ``epochs`` whole epochs are global, one step each."""
    return sum(is_global(phases, epoch, epochs) for epoch in range(epochs))
