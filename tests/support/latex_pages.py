"""LaTeX as a reader meets it: its tabulars, what cells print, and whether pages hold it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest


def tabulars(text: str) -> list[list[list[str]]]:
    """Every tabular of a text as rows of cells."""
    bodies = re.findall(r"\\begin\{tabular\}\{[^\n]*\}\n(.*?)\\end\{tabular\}", text, re.S)
    rows = [re.sub(r"\\(top|mid|bottom)rule", "", body).split("\\\\\n") for body in bodies]
    return [[re.split(r"(?<!\\)&", row.strip()) for row in each if row.strip()] for each in rows]


def shown(latex: str) -> str:
    """About what a cell prints.

    A paragraph box is as wide as it says, in characters of 5 points.
    """
    box = re.match(r"\s*\\parbox\[.\]\{(\d+)pt\}", latex)
    if box:
        return "x" * (int(box[1]) // 5)
    return re.sub(
        r"\\[a-z]+\{?\}?|[${}^\\]", "", latex.replace("\\pm", "+").replace("\\allowbreak{}", "")
    ).strip()


def compiled(folder: Path, text: str) -> None:
    """Compile a text as an article, if pdflatex is there, and find nothing beyond the margins."""
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")
    (folder / "all.tex").write_text(
        f"\\documentclass{{article}}\\usepackage{{booktabs}}\\begin{{document}}\n{text}\n\\end{{document}}\n"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, errors="replace", check=False
    )
    assert done.returncode == 0, done.stdout[-2000:]
    wide = [float(each) for each in re.findall(r"Overfull \\hbox \(([\d.]+)pt", done.stdout)]
    assert max(wide, default=0.0) <= 1.0
    assert "Float too large" not in done.stdout
