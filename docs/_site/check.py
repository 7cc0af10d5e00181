"""The built site holds together: links within it lead somewhere, and nothing is loaded from elsewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What a browser fetches by itself, and the attribute that says from where.
_LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "srcset", "link": "href"}


class _Page(HTMLParser):
    """Anchors, links and loaded resources of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        loaded = given.get(_LOADS.get(tag, ""))
        if loaded and given.get("rel") not in ("canonical", "next", "prev", "edit"):
            self.loads.append(loaded)


def faults(site: Path) -> list[str]:
    """What is wrong, a line each."""
    pages = {path: _Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        where = path.relative_to(site)
        found += [f"{where} loads {each}" for each in page.loads if urlsplit(each).netloc]
        for link in [*page.links, *page.loads]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or path.name == "404.html":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            if not target.is_file():
                found.append(f"{where}: no file for {link}")
            elif anchor and target in pages and anchor not in pages[target].anchors:
                found.append(f"{where}: no anchor for {link}")
    for path in site.rglob("*.css"):
        text = path.read_text(encoding="utf-8")
        found += [
            f"{path.relative_to(site)} loads {each}"
            for each in re.findall(r"url\(['\"]?(https?:[^)]*)", text)
        ]
    return found
