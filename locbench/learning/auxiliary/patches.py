"""Cutting a map or an image into patches."""

from __future__ import annotations

from torch import Tensor


def split(x: Tensor, n: int) -> list[Tensor]:
    """Cut B x C x H x W into n x n patches of floor(H / n) x floor(W / n), row by row, as views."""
    rows, columns = x.shape[2] // n, x.shape[3] // n
    return [x[:, :, i * rows : (i + 1) * rows, j * columns : (j + 1) * columns] for i in range(n) for j in range(n)]
