"""Links of the Markdown pages: every file and every heading that one names is there.

Headings have the anchors that GitHub gives them, the site's too. Standard library only.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_FENCE = re.compile(r"^ {0,3}(```+|~~~+)")
_HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+(.*?)[ \t#]*$")
_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)")
_MADE = re.compile(r"\b(?:href|src)=\"([^\"]+)\"")
_ANCHOR = re.compile(r"<a (?:id|name)=\"([^\"]+)\"")


def prose(text: str) -> Iterator[tuple[int, str]]:
    """(number, line) of each line of a page that is not in a block of code."""
    fence = ""
    for number, line in enumerate(text.splitlines(), 1):
        found = _FENCE.match(line)
        if fence:
            if found and found[1].startswith(fence):
                fence = ""
        elif found:
            fence = found[1]
        else:
            yield number, line


def slug(heading: str) -> str:
    """The anchor of a heading, before equal ones are told apart."""
    plain = re.sub(r"!?\[([^]]*)\]\([^)]*\)", r"\1", heading)
    plain = html.unescape(re.sub(r"[`*]", "", plain)).lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def anchors(text: str) -> set[str]:
    """All anchors of a page."""
    found: set[str] = set()
    for _, line in prose(text):
        found.update(_ANCHOR.findall(line))
        heading = _HEADING.match(line)
        if heading:
            first = slug(heading[1])
            name, again = first, 0
            while name in found:
                again += 1
                name = f"{first}-{again}"
            found.add(name)
    return found


def links(text: str) -> Iterator[tuple[int, str]]:
    """(line, target) of each link and picture of a page; code spans are none."""
    for number, line in prose(text):
        plain = re.sub(r"(`+).*?\1", "", line)
        for target in (*_LINK.findall(plain), *_MADE.findall(plain)):
            yield number, target


def faults(root: Path, pages: Iterable[Path]) -> list[str]:
    """A line for each link of the pages that leads nowhere: a file or an anchor that is not there.

    Addresses elsewhere (with a scheme) are not asked. `pages` are paths below `root`.
    """
    known: dict[Path, set[str]] = {}
    found = []
    for page in pages:
        for number, target in links(page.read_text(encoding="utf-8")):
            parts = urlsplit(target)
            if parts.scheme:
                continue
            place = (page.parent / unquote(parts.path)).resolve() if parts.path else page.resolve()
            where = f"{page.relative_to(root)}:{number}: {target}"
            if not place.is_relative_to(root.resolve()) or not place.exists():
                found.append(f"{where}: expected a file that is there")
            elif parts.fragment and place.suffix == ".md":
                if place not in known:
                    known[place] = anchors(place.read_text(encoding="utf-8"))
                if parts.fragment not in known[place]:
                    found.append(f"{where}: expected a heading of that page")
    return found


class _Page(HTMLParser):
    """What an HTML page links to, and what can be linked to in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.targets: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.ids.add(value)
            elif name in ("href", "src") and value:
                self.targets.append((tag, value))


def faults_of_site(folder: Path) -> list[str]:
    """The same of a built site, and of what it would load from elsewhere: it needs no network."""
    pages = {
        path.resolve(): _Page(path.read_text(encoding="utf-8"))
        for path in sorted(folder.rglob("*.html"))
    }
    found = []
    for page, made in pages.items():
        for tag, target in made.targets:
            parts, where = urlsplit(target), f"{page.relative_to(folder.resolve())}: {target}"
            if parts.scheme == "data":
                continue
            if parts.scheme or parts.netloc:
                if tag != "a":
                    found.append(f"{where}: expected nothing that is loaded from elsewhere")
                continue
            place = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            if not place.is_file():
                found.append(f"{where}: expected a file that is there")
            elif parts.fragment and place in pages:
                if unquote(parts.fragment) not in pages[place].ids:
                    found.append(f"{where}: expected an anchor of that page")
    return found
