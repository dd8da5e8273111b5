"""Write the pages of a site into a folder of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

import locbench
from locbench.console import remark
from locbench.errors import FailureError, UsageError
from locbench.files import write_atomically
from locbench.printable import printable
from locbench.report.claim_blocks import CLAIM_MEANING
from locbench.report.formatting import (
    NOTHING,
    difference_text,
    number_text,
    published_text,
    ratio_text,
)
from locbench.report.model import VERDICTS, Entry, Verdict
from locbench.report.scoreboard import EXTENTS
from locbench.report.site.pages import Site, record_url, table_url
from locbench.report.text import HOW_TO_READ, MEANING

MARKER = ".locbench-site"
"""File that says that a folder is a site of ours; it lists the site's files."""

HERE = Path(__file__).parent

MARKS: dict[Verdict, str] = {
    "match": "✓",
    "off": "✗",
    "unconfirmed": "?",
    "predicted": "≈",
    "measured": "≈",
    "reduced": "†",
    "own": "",
    "missing": "",
    "failed": "!",
    "blocked": "⊘",
}
"""A sign for each verdict, so that colour alone says nothing."""


def write_site(site: Site, out: Path) -> Path:
    """Write a site and return the page where it begins.

    Files of an earlier site that the new one lacks are removed; what is no file of a site stays.

    Args:
        site: what it shows.
        out: a folder that is empty, is not there yet, or holds a site of ours.

    Raises:
        UsageError: the folder holds something else.
        FailureError: it cannot be written to.
    """
    earlier = _files_of(out)
    pages = dict(_pages(site))
    statics = {
        f"static/{path.name}": path.read_bytes() for path in sorted((HERE / "static").iterdir())
    }
    files = [*pages, *statics, *site.pictures]
    _write(out / MARKER, "".join(f"{name}\n" for name in dict.fromkeys([*files, *earlier])))
    for name, text in pages.items():
        _write(out / name, text)
    for name, content in statics.items():
        _write(out / name, content)
    for name, draw in site.pictures.items():
        path = out / name
        if not path.is_file():  # a name says what is drawn
            draw(path)
    _remove(out, set(earlier) - set(files))
    _write(out / MARKER, "".join(f"{name}\n" for name in files))
    return out / "index.html"


def refuse_other_folder(out: Path) -> None:
    """Refuse a folder that holds something else than a site of ours; see `write_site`."""
    _files_of(out)


def _files_of(out: Path) -> list[str]:
    """Return the files of the site that is in a folder.

    Raises:
        UsageError: the folder holds something else.
        FailureError: it cannot be read.
    """
    try:
        if not out.exists() or (out.is_dir() and not any(out.iterdir())):
            return []
        marker = out / MARKER
        if out.is_dir() and marker.is_file():
            return marker.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FailureError(f"cannot read {out}: {error}", "Name another folder.") from None
    raise UsageError(
        f"{out} is there and is no site that locbench wrote",
        "Name an empty folder or a new one: --out site.",
    )


def _write(path: Path, content: str | bytes) -> None:
    """Write a file unless it is there with this content."""
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    try:
        if path.is_file() and path.read_bytes() == data:
            return
    except OSError:
        pass  # the attempt to write it says what is wrong
    write_atomically(path, data)


def _remove(out: Path, names: Iterable[str]) -> None:
    """Remove files of an earlier site; a name that leads out of the folder is none of ours."""
    for name in names:
        path = (out / name).resolve()
        if path.is_relative_to(out.resolve()):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                remark(f"left in place: {path}: {error.strerror or error}")


def _pages(site: Site) -> Iterator[tuple[str, str]]:
    """Yield the path and the text of every page."""
    environment = _environment()

    def page(template: str, url: str, **values: Any) -> tuple[str, str]:
        top = "../" * url.count("/")
        return url, environment.get_template(template).render(site=site, top=top, **values)

    for table in site.tables:
        yield page("table.html", f"tables/{table.table.id}.html", page=table)
    for record in site.record_pages:
        yield page("record.html", record.url, page=record)
    yield page("index.html", "index.html")
    yield page("methods.html", "methods.html")
    yield page("records.html", "records.html")


def _environment() -> jinja2.Environment:
    """Return the templates, which escape every text and show what has no sign of its own."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.globals |= {
        "version": locbench.__version__,
        "nothing": NOTHING,
        "marks": MARKS,
        "meaning": MEANING,
        "verdicts": VERDICTS,
        "extents": EXTENTS,
        "claim_meaning": CLAIM_MEANING,
        "how_to_read": HOW_TO_READ,
        "table_url": table_url,
        "record_url": record_url,
    }
    environment.filters |= {
        "ours": _ours,
        "paper": lambda entry: published_text(entry.published),
        "hint": _hint,
        "aside": _aside,
        "percent": lambda part, whole: f"{100 * part / whole:.1f}" if whole else "0",
        "number": _number,
    }
    return environment


def _shown(value: Any) -> Any:
    """Return text with signs in the place of characters that have none."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _number(value: Any) -> str:
    """Return a number as a person reads it; texts as they are."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _ours(entry: Entry) -> str:
    """Return our number with the paper's decimals, with spread and number of seeds."""
    decimals = entry.published.decimals if entry.published is not None else None
    spread = entry.std is not None
    return number_text(entry, decimals=None if spread else decimals) or NOTHING


def _aside(entry: Entry) -> str:
    """Return how far ours is from the paper's, where that is taken."""
    difference, ratio = difference_text(entry), ratio_text(entry)
    if entry.verdict == "predicted":
        return f"({difference}, {ratio})" if ratio else ""
    return difference if entry.verdict == "off" else ""


def _hint(entry: Entry) -> str:
    """Return what is known of a number beside it, in words."""
    printed = published_text(entry.published)
    difference, ratio = difference_text(entry), ratio_text(entry)
    words = [
        f"{entry.row}, {entry.column}",
        f"{entry.verdict}: {MEANING[entry.verdict]}",
        f"paper {printed}" if printed else "",
        f"ours - paper {difference}" if difference else "",
        f"ours / paper {ratio}" if ratio else "",
        f"seeds {', '.join(map(str, entry.seeds))}" if entry.seeds else "",
        f"{entry.epochs} epochs on {entry.data_label}" if entry.epochs else "",
        "at chance" if entry.at_chance else "",
        entry.detail,
    ]
    return "; ".join(filter(None, words))
