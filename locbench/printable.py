"""Names from outside without control characters, times and values in words."""

from __future__ import annotations

import re
import unicodedata

_ESCAPE, _DELETE, _UNKNOWN = 0x2400, "\u2421", "\ufffd"

_JOINERS = "\u200c\u200d"
"""Letters of some scripts and emoji are joined by these, and they move nothing."""

_SUSPECT = re.compile(r"[^\x20-\x7e]")


def printable(text: str, keep: str = "") -> str:
    """Return a text with a visible sign in the place of each character that has none of its own.

    These are control characters, which command a terminal; characters that turn the direction of
    writing round or that nobody sees; line and paragraph separators; and bytes of a name that are
    no UTF-8. Lengths stay.

    Args:
        text: anything from outside: names of files, data sets, devices, networks; messages of other
            programs.
        keep: control characters to leave alone, such as the line breaks of a message.
    """
    return _SUSPECT.sub(lambda found: found[0] if found[0] in keep else _shown(found[0]), text)


def _shown(character: str) -> str:
    if character < " ":
        return chr(_ESCAPE + ord(character))
    if character == "\x7f":
        return _DELETE
    hidden = (
        unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        and character not in _JOINERS
    )
    return _UNKNOWN if hidden else character


def escaped(text: str) -> str:
    """Return a text with the bytes that are no UTF-8 written as ``\\udc80`` to ``\\udcff``."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def duration(seconds: float) -> str:
    """Return a time as a person says it: ``45 s``, ``12 min``, ``3 h 05 min``, ``2 d 4 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def shortened(value: object) -> str:
    """Return a value as it is shown in a message, which nobody wants to fill the terminal."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
