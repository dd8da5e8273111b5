"""Text as LaTeX prints it: specials escaped, signs, arrows and Greek letters as mathematics."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

from locbench.printable import printable

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
    "‡": r"$^\ddagger$",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
    "…": r"\ldots{}",
    "\u00a0": "~",
    "`": r"\textasciigrave{}",
    "«": r"$\ll$",
    "»": r"$\gg$",
    "\u00a1": "!`",
    "\u00bf": "?`",
}
_GREEK = re.compile(r"GREEK (SMALL|CAPITAL) LETTER (\w+)$")
_LATIN_LOOKALIKES = (
    "ALPHA",
    "BETA",
    "EPSILON",
    "ZETA",
    "ETA",
    "IOTA",
    "KAPPA",
    "MU",
    "NU",
    "RHO",
    "TAU",
    "CHI",
)


def escaped(text: str) -> str:
    """Return LaTeX that prints the text as it is.

    Specials are escaped; signs, arrows and Greek letters become mathematics.
    """
    words = printable(" ".join(text.split())).split(" ")
    plain = " ".join(r"\allowbreak{}".join(map(_characters, _parts(word))) for word in words)
    return re.sub(r"(?<![\w$}-])-(?=\d)", "$-$", plain)


_WIDTHS = {
    2.78: "!',.:;[]`il",
    3.34: "fj -",
    3.95: "I()trs",
    4.73: "cez>?",
    5.01: '"$*/0123456789\\^ago{}~_<',
    5.56: "JqkvxySbdhnpu",
    6.53: "ZLF",
    7.23: "EPBCTw",
    7.51: "RAHNUVXY",
    7.85: "D&+=@KOQG",
    8.34: "#%m",
    10.3: "MW|",
}
_WIDTH = {character: width for width, characters in _WIDTHS.items() for character in characters}


def text_width(text: str) -> float:
    """Return about how wide a text is in Computer Modern at 10 pt, in points.

    Never much less than it is.
    """
    minus = 4.5 * len(re.findall(r"(?<![\w-])-(?=\d)", text))
    return minus + sum(map(_width, printable(text)))


def _width(character: str) -> float:
    if character in _WIDTH:
        return _WIDTH[character]
    shown = "?" if character in _SPECIAL else _character(character)
    return 7.8 if len(shown) == 1 or shown.startswith(("$", "\\")) else 5.6 * len(shown)


def longest_word(text: str) -> float:
    """Return about how wide the longest unbreakable part is, in points at 10 pt."""
    return max(
        (text_width(part) for word in printable(text).split() for part in _parts(word)), default=0.0
    )


_LONGEST = 20
"""Letters of a word from which on a line may end inside it.

Paths would leave the page otherwise.
"""


def _parts(word: str) -> list[str]:
    """Split a long word after its signs, and what is still long into short parts."""
    if text_width(word) <= 5.6 * _LONGEST:
        return [word]
    return [
        part
        for run in re.findall(r"[A-Za-z0-9]+[!-/:-@\[-`{-~]?|.", word)
        for part in re.findall(r".{1,14}", run)
    ]


def _characters(text: str) -> str:
    # Two hyphens in a row would be printed as a dash.
    return "".join(
        "-{}" if pair == ("-", "-") else _character(pair[0]) for pair in pairwise(f"{text} ")
    )


def _character(character: str) -> str:
    if character in _SPECIAL:
        return _SPECIAL[character]
    if character in "&%$#_{}":
        return f"\\{character}"
    if character < "\u0100" and character not in "ÐÞðþ":  # which LaTeX's first fonts lack
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


_SINGLE = re.compile(r"(?<!\\)(?:\\\\)*[%#&]")


def fault_of_fragment(latex: str) -> str:
    """Return why LaTeX from outside would break what is around it; empty if it would not."""
    if found := _SINGLE.search(latex):
        return f"{found[0][-1]} needs a backslash before it"
    plain = re.sub(r"\\.", "", latex)  # escaped signs and the first letters of commands
    depth = 0
    for sign in re.findall("[{}]", plain):
        depth += 1 if sign == "{" else -1
        if depth < 0:
            break
    if depth:
        return "its braces are not balanced"
    if plain.count("$") % 2:
        return "a $ has no partner"
    if latex.endswith("\\") and not latex.endswith("\\\\"):
        return "it ends in a backslash"
    return ""
