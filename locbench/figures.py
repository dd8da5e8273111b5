"""Figures that become files. Imports matplotlib only when one is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from locbench.errors import FailureError


@contextmanager
def figure_file(
    path: Path,
    *,
    panels: int = 1,
    grid: tuple[int, int] | None = None,
    size: tuple[float, float],
) -> Iterator[tuple[Any, Any]]:
    """Give a matplotlib figure and its axes to draw in, and write it when the block is left.

    Args:
        path: the file; its ending says the format.
        panels: axes below each other, with one x axis; several come as an array.
        grid: rows and columns of axes of their own in the place of panels; they come as an array of
            two dimensions.
        size: inches, width and height.

    Raises:
        FailureError: the file cannot be written.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with matplotlib.rc_context({"text.parse_math": False}):  # a dollar in a name begins no formula
        rows, columns = grid or (panels, 1)
        figure, axes = pyplot.subplots(
            rows,
            columns,
            figsize=size,
            sharex=grid is None,
            squeeze=grid is None,
            layout="constrained",
        )
        try:
            yield figure, axes
            path.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, dpi=150)
        except (OSError, ValueError) as error:
            raise FailureError(
                f"cannot write {path}: {error}", "Choose a file such as plot.png."
            ) from None
        finally:
            pyplot.close(figure)
