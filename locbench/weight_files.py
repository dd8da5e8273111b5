"""Files of pretrained weights, told apart by their content. Imports no torch."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

from locbench.errors import FailureError


def digest(path: Path) -> str:
    """Return 16 hexadecimal digits of a weight file's SHA-256.

    Raises:
        FailureError: the file cannot be read.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe or a device would be waited for
            raise OSError(errno.EINVAL, "it is not a regular file")
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise FailureError(
            f"the weight file {path} cannot be read: {error.strerror}", "Give another --weights."
        ) from None
