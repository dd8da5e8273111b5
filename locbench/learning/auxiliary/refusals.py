"""What auxiliary nets refuse to be built for. Imports no torch."""

from __future__ import annotations

from locbench.errors import UsageError


def refuse_empty_patches(side: int, parts: int) -> None:
    """Refuse to cut a map into patches that hold no pixel.

    Args:
        side: of the map in pixels.
        parts: patches along each side.

    Raises:
        UsageError: the map has fewer pixels than patches along a side.
    """
    if side < parts:
        raise UsageError(
            f"a map of {side} x {side} cannot be cut into {parts} x {parts} patches",
            "Use larger images, or no patches (pff = 0).",
        )
