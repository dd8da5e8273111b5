"""Text as LaTeX prints it: specials escaped, signs, arrows and Greek letters as mathematics. Imports no torch."""

from __future__ import annotations

import re
import unicodedata

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    "<": "$<$",
    ">": "$>$",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "−": "$-$",
    "–": "--",
    "—": "---",
    "→": r"$\rightarrow$",
    "←": r"$\leftarrow$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "≈": r"$\approx$",
    "∞": r"$\infty$",
    "²": "$^2$",
    "³": "$^3$",
    "µ": r"$\mu$",
    "†": r"$^\dagger$",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
    "…": r"\ldots{}",
    "\u00a0": "~",
}
_GREEK = re.compile(r"GREEK (SMALL|CAPITAL) LETTER (\w+)$")
_LATIN_LOOKALIKES = ("ALPHA", "BETA", "EPSILON", "ZETA", "ETA", "IOTA", "KAPPA", "MU", "NU", "RHO", "TAU", "CHI")


def escaped(text: str) -> str:
    """Return LaTeX that prints the text as it is: specials escaped, signs, arrows and Greek letters as mathematics."""
    plain = "".join(_character(each) for each in " ".join(text.split()))
    return re.sub(r"(?<![\w$}-])-(?=\d)", "$-$", plain)


def _character(character: str) -> str:
    if character in _SPECIAL:
        return _SPECIAL[character]
    if character in "&%$#_{}":
        return f"\\{character}"
    if character < "\u0100":
        return character
    name = unicodedata.name(character, "unknown character")
    greek = _GREEK.match(name)
    if greek:
        return _greek(greek[1], greek[2])
    simple = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return "".join(map(_character, simple)) or f"({name.lower()})"


def _greek(size: str, letter: str) -> str:
    letter = {"LAMDA": "LAMBDA"}.get(letter, letter)
    if letter == "OMICRON":
        return "o" if size == "SMALL" else "O"
    if size == "CAPITAL" and letter in _LATIN_LOOKALIKES:
        return {"ETA": "H", "NU": "N", "RHO": "P", "CHI": "X"}.get(letter, letter[0])
    return f"$\\{letter.lower() if size == 'SMALL' else letter.capitalize()}$"
