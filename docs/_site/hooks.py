"""What mkdocs calls while it builds the site: it adds the pages and figures that are made from the code.

Files of the repository that lie outside docs/ come into the site where a page links to them: Markdown as a
page, with its own links followed in turn, anything else as it is.
"""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).parent))
import check
import commands
import gallery
import names

ROOT = Path(__file__).parent.parent.parent
INCLUDED = {
    "CHANGELOG.md": "CHANGELOG.md",
    "CONTRIBUTING.md": "developers/contributing.md",
    "CODE_OF_CONDUCT.md": "developers/conduct.md",
    "ROADMAP.md": "developers/roadmap.md",
    "SECURITY.md": "developers/security.md",
    "benchmarks/RESULTS.md": "results/benchmarks.md",
    "benchmarks/README.md": "results/running-benchmarks.md",
    **{
        path.relative_to(ROOT).as_posix(): "results/"
        + (f"{path.parent.name}.md" if path.name == "README.md" else f"{path.parent.name}/{path.name}")
        for path in sorted((ROOT / "experiments").rglob("*.md"))
    },
    "chinchilla_jax/datasets/tables/README.md": "reference/tables.md",
}
"""Markdown outside docs/ that is a page of the site, and where."""

_RESULTS = """\
# Results

What was measured, by commands that anyone can run. [Benchmarks](benchmarks.md): speed, memory and robustness
against faults, with machine, date and command.

| experiment |
|---|
"""
_SHIM = "https://unpkg.com/iframe-worker/shim"
_LINK = re.compile(r"""(\]\(|\b(?:src|srcset)=")([^)#"\s]+)([^)"]*[)"])""")
"""A link or picture of Markdown, or a picture of HTML that has another for narrow screens."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is made and what is included."""
    for folder, made in (("commands", commands.pages()), ("python", names.pages())):
        for name, text in made:
            files.append(File.generated(config, f"reference/{folder}/{name}.md", content=text))
    for name, content in gallery.files():
        files.append(File.generated(config, f"gallery/{name}", content=content))
    for source, page in INCLUDED.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=_followed(text, source, page, files, config)))
    files.append(File.generated(config, "results/index.md", content=_results()))
    config.nav = _filled(config.nav, files)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Follow the links of a page of docs/ that lead out of it."""
    if page.file.generated_by:
        return markdown
    return _followed(markdown, f"docs/{page.file.src_uri}", page.file.src_uri, files, config)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Let the search of a page that is opened as a file run without the network, and have a name."""
    output = output.replace('role="dialog"', 'role="dialog" aria-label="Search"')
    return output.replace(_SHIM, posixpath.relpath("_worker.js", posixpath.dirname(page.url) or "."))


def on_post_template(output: str, template_name: str, config: MkDocsConfig) -> str:
    """The same for the page that says that there is none."""
    return output.replace(_SHIM, "_worker.js")


def on_post_build(config: MkDocsConfig) -> None:
    """Fail where a link of the built site leads nowhere, or a page needs the network."""
    found = check.faults(Path(config.site_dir).resolve())
    if found:
        raise PluginError("\n".join(found))


def _followed(text: str, source: str, page: str, files: Files, config: MkDocsConfig) -> str:
    """A text whose links to files of the repository lead to where they are in the site."""

    def follow(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link[2]))
        if link[2].startswith(("http:", "https:", "mailto:")) or not (ROOT / target).exists():
            return link[0]
        if (ROOT / target).is_dir():
            target = f"{target}/README.md" if (ROOT / target / "README.md").exists() else target
        if target == "README.md":
            place = "index.md"
        elif target.startswith("docs/"):
            place = target.removeprefix("docs/")
        elif target in INCLUDED:
            place = INCLUDED[target]
        elif (ROOT / target).is_file():
            place = f"files/{target}"
            if place not in files.src_uris:
                files.append(File.generated(config, place, abs_src_path=str(ROOT / target)))
        else:
            return link[0]
        return link[1] + posixpath.relpath(place, posixpath.dirname(page) or ".") + link[3]

    return _LINK.sub(follow, text)


def _results() -> str:
    rows = [
        f"| [{commands.title(ROOT / source)}]({page.removeprefix('results/')}) |"
        for source, page in INCLUDED.items()
        if source.startswith("experiments/") and source.endswith("/README.md")
    ]
    return _RESULTS + "\n".join(rows)


def _filled(nav: list, files: Files) -> list:  # type: ignore[type-arg]
    """The navigation with the pages of its folders, in the order in which the landing page lists them."""
    landing = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")

    def order(name: str) -> tuple[bool, int, str]:
        return (
            not name.endswith("index.md"),
            landing.find(f"({name}") % 10**6,
            "" if name.startswith("reference/") else name,
        )

    def fill(entry):  # type: ignore[no-untyped-def]
        if isinstance(entry, dict):
            return {title: fill(below) for title, below in entry.items()}
        if isinstance(entry, list):
            return [fill(each) for each in entry]
        if not entry.endswith("/"):
            return entry
        return [_with_more(page, within(page.removesuffix(".md") + "/")) for page in within(entry)]

    def within(folder: str) -> list[str]:
        pages = [page for page in files.src_uris if page.endswith(".md")]
        return sorted((page for page in pages if posixpath.dirname(page) + "/" == folder), key=order)

    return fill(nav)


def _with_more(page: str, more: list[str]) -> str | dict[str, list[object]]:
    """A page in the navigation, with the further pages of its experiment below it."""
    if not more:
        return page
    source = next(source for source, place in INCLUDED.items() if place == page)
    below: list[object] = [{Path(each).stem.replace("_", " ").capitalize(): each} for each in more]
    return {commands.title(ROOT / source): [page, *below]}
