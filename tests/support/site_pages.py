"""Pages of a site as a browser reads them: links, resources, ids, and cells of tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

VOID = {"meta", "link", "input", "img", "br"}


@dataclass
class Cell:
    """A cell of a table: its classes, its attributes and what it shows."""

    classes: list[str]
    attributes: dict[str, str]
    text: str = ""


@dataclass
class Page(HTMLParser):
    """A page, which has to close what it opens.

    Attributes:
        links: of anchors.
        resources: what the page loads.
        ids: of elements, each once.
        rows: of tables, as cells.
        text: all that is shown, with blanks between elements.
    """

    path: Path
    links: list[str] = field(default_factory=list)
    resources: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    rows: list[list[Cell]] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    handlers: list[str] = field(default_factory=list)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.feed(self.path.read_text(encoding="utf-8"))
        self.close()
        assert self.open == [], f"{self.path}: not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        self.handlers += [name for name in attributes if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "a":
            self.links.append(attributes["href"])
        elif "href" in attributes:
            self.resources.append(attributes["href"])
        if "src" in attributes:
            self.resources.append(attributes["src"])
        if "id" in attributes:
            assert attributes["id"] not in self.ids, attributes["id"]
            self.ids.append(attributes["id"])
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append(Cell(attributes.get("class", "").split(), attributes))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"{self.path}: </{tag}> closes nothing"
        assert self.open.pop() == tag, f"{self.path}: </{tag}>"

    def handle_data(self, data: str) -> None:
        self.text += f" {data}"
        if "td" in self.open or "th" in self.open:
            cell = self.rows[-1][-1]
            cell.text = " ".join(f"{cell.text} {data}".split())

    def row(self, start: str) -> list[Cell]:
        """The one row whose first cell begins so."""
        (row,) = [row for row in self.rows if row and row[0].text.startswith(start)]
        return row


def pages_of(site: Path) -> dict[str, Page]:
    """All pages of a site by their paths in it."""
    return {path.relative_to(site).as_posix(): Page(path) for path in sorted(site.rglob("*.html"))}


def broken_links(site: Path, pages: dict[str, Page]) -> Iterator[str]:
    """Links and resources that lead to no file of the site, or to no place in a page."""
    for name, page in pages.items():
        for link in (*page.links, *page.resources):
            if link.startswith("data:"):
                continue
            address, _, fragment = link.partition("#")
            target = (page.path.parent / unquote(address)).resolve() if address else page.path
            inside = target.is_file() and target.is_relative_to(site.resolve())
            place = target.relative_to(site.resolve()).as_posix() if inside else ""
            if not inside or (fragment and fragment not in pages[place].ids):
                yield f"{name}: {link}"
