"""Image files opened in the formats of data sets alone, as eight-bit RGB."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from PIL import Image, UnidentifiedImageError

from locbench.errors import FailureError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "FORMATS",
    "UNDECODABLE",
    "Damage",
    "as_rgb",
    "damage_at_sight",
    "damage_of",
    "opened",
    "undecodable",
]

FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What Pillow may take a file for, whatever its suffix: others run programs (PostScript) or read
further files.
"""

UNDECODABLE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    AttributeError,
    EOFError,
    RuntimeError,
    LookupError,
    ArithmeticError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow raises on files that are damaged or made to be."""

_NEARLY_BLACK = 16
"""An image whose brightest level is below this one of 256 has lost its contrast."""

_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262  # of TIFF

_WHOLE = "Put a whole copy of the file in its place, or unpack the set again."

_NAMED = 5


class DepthError(ValueError):
    """An image has no levels that eight bits could stand for."""


class Damage(NamedTuple):
    """Why an image cannot be used: what is wrong with it and what helps."""

    what: str
    remedy: str


def opened(path: Path) -> Image.Image:
    """Open an image, undecoded; whatever Pillow raises is for the caller, see `UNDECODABLE`."""
    return Image.open(path, formats=FORMATS)


def as_rgb(image: Image.Image, box: tuple[int, int, int, int] | None = None) -> Image.Image:
    """Return an image, or a rectangle of it, as eight-bit RGB.

    Grey levels of 16 bits become their high byte, as Pillow makes those of colour images; its own
    conversion would cut them off at 255, which turns whole images white.

    Raises:
        DepthError: it has 32-bit or real levels, whose range no format defines, or 16-bit ones that
            use a small part of their range.
    """
    bits = _bits(image)
    part = image if box is None else image.crop(box)
    return (_high_byte(part, bits) if bits > 8 else part).convert("RGB")


def damage_at_sight(path: Path) -> Damage | None:
    """Return why an image cannot be used as far as its head tells, without decoding it.

    None if the head shows no fault.
    """
    try:
        with opened(path) as image:
            _bits(image)
    except UNDECODABLE as error:
        return damage_of(error)
    return None


def _bits(image: Image.Image) -> int:
    """Return the bits of a grey level; 8 for whatever Pillow converts rightly."""
    if image.mode.startswith("I;16"):
        tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
        if tags.get(_PHOTOMETRIC) == 0:  # Pillow turns eight bits round, and these not
            raise DepthError("its grey levels of 16 bits count from white to black")
        return int(tags.get(_BITS_PER_SAMPLE, (16,))[0])
    # Pillow scales a PGM's levels to 16 bits.
    if image.mode == "I" and image.format in (
        "PNG",
        "PPM",
    ):
        return 16
    if image.mode in ("I", "F"):
        kind = "32-bit or signed" if image.mode == "I" else "real"
        raise DepthError(
            f"its grey levels are {kind} numbers, for which no black and no white is defined"
        )
    return 8


def _high_byte(image: Image.Image, bits: int) -> Image.Image:
    import numpy as np

    levels: NDArray[np.integer] = np.asarray(image)
    found = (levels >> (bits - 8)).astype(np.uint8)
    brightest = int(levels.max())
    if brightest and brightest >> (bits - 8) < _NEARLY_BLACK:
        raise DepthError(
            f"its grey levels end at {brightest:,} of {(1 << bits) - 1:,}, nearly black in 8 bits"
        )
    return Image.fromarray(found)


def damage_of(error: Exception) -> Damage:
    """Return what an error in opening or decoding an image says of it."""
    if isinstance(error, FailureError):
        return Damage(error.message, error.remedy)
    if isinstance(error, DepthError):
        return Damage(str(error), "Scale its levels to 8 bits, or to the whole range of 16.")
    if isinstance(error, Image.DecompressionBombError):
        found = str(error).split(", could")[0]
        return Damage(
            f"it is too large to be decoded safely: {found}",
            "Scale it down, or take it out of the set.",
        )
    if isinstance(error, MemoryError):
        return Damage("its pixels do not fit the memory", "Scale it down, or free some memory.")
    if isinstance(error, UnidentifiedImageError):
        return Damage(f"it is none of {', '.join(FORMATS)}", f"Convert it to one of them. {_WHOLE}")
    if isinstance(error, OSError) and error.errno is not None:
        return Damage(
            error.strerror or str(error), "Check that the file is there and that you may read it."
        )
    return Damage(str(error) or type(error).__name__, _WHOLE)


def undecodable(
    damages: Mapping[Path, Damage], of: int = 1, folder: Path | None = None
) -> FailureError:
    """Return the error that names the images that cannot be decoded, with their number.

    Args:
        damages: why, by file.
        of: so many images were decoded.
        folder: that they lie in.
    """
    remedies = " ".join(dict.fromkeys(each.remedy for each in damages.values()))
    if folder is None or len(damages) == 1:
        (path, damage), *_ = damages.items()
        return FailureError(f"{path} cannot be decoded: {damage.what}", remedies)
    named = [
        f"{path.relative_to(folder)} ({damage.what})"
        for path, damage in list(damages.items())[:_NAMED]
    ]
    more = f", and {len(damages) - _NAMED:,} more" if len(damages) > _NAMED else ""
    return FailureError(
        f"{len(damages):,} of {of:,} images in {folder} cannot be decoded: "
        f"{', '.join(named)}{more}",
        remedies,
    )
