"""Runs the commands that the documentation shows, and writes what they print below them.

    python docs/outputs.py             # every page whose outputs differ is rewritten
    python docs/outputs.py --check     # exits with 1 where one differs

A block of the kind `console` holds lines `$ command`, each followed by its output. Where an output ends with
a line `...`, as many lines as are above it are kept; `...12` in a draft keeps twelve. Where it begins with
one, it is shown from the line with the same first word. An output whose numbers differ by less than 2%, as
they do on another processor, stays as it is. The commands run in a copy of examples/, where the tables are.
"""

import argparse
import contextlib
import io
import math
import os
import re
import shlex
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
NUMBER = re.compile(r"\d[\d,.]*(?:e[+-]?\d+)?")
BLOCK = re.compile(r"(?<=```console\n).*?(?=```)", re.DOTALL)


def printed(command: str) -> list[str]:
    """What a command prints, on both streams as in a terminal."""
    from chinchilla_jax.cli import main

    program, *arguments = shlex.split(command)
    if program != "chinchilla-jax":
        raise ValueError(f"{command}: shown outputs are those of chinchilla-jax")
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), warnings.catch_warnings():
        warnings.resetwarnings()  # as in a process of its own
        for ignored in (DeprecationWarning, PendingDeprecationWarning, ResourceWarning):
            warnings.simplefilter("ignore", ignored)
        main(arguments)
    return [line.rstrip() for line in said.getvalue().rstrip().splitlines()]


def cut_as(shown: list[str], found: list[str]) -> list[str]:
    """The part of an output that is shown now, by its first word and its number of lines."""
    before = shown[:1] == ["..."] and len(shown) > 1
    if before:
        shown = shown[1:]
        first = [line.split()[:1] for line in found].index(shown[0].split()[:1])
        found = found[first:]
    cut = re.fullmatch(r"\.\.\.(\d*)", shown[-1]) if shown else None
    if cut:
        found = [*found[: int(cut[1] or len(shown) - 1)], "..."]
    return ["...", *found] if before else found


def alike(one: str, other: str) -> bool:
    """Whether two outputs differ in nothing but their last digits and what a search counts."""

    def comparable(text: str) -> str:
        lines = [
            line for line in text.split("\n") if not line.startswith(("certificate", "starts", "objective"))
        ]
        return " ".join(" ".join(lines).split())

    one, other = comparable(one), comparable(other)
    if NUMBER.split(one) != NUMBER.split(other):
        return False
    numbers = (
        [float(found.strip(",.").replace(",", "")) for found in NUMBER.findall(text)] for text in (one, other)
    )
    pairs = zip(*numbers, strict=True)
    return all(math.isclose(a, b, rel_tol=0.02) for a, b in pairs)


def filled(block: str) -> str:
    """A block with the outputs of its commands."""
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    shown = []
    for part in parts:
        command, *lines = part.rstrip("\n").split("\n")
        while command.endswith("\\"):
            command = command[:-1] + "\n" + lines.pop(0)
        found = printed(command.replace("\n", " "))
        found = cut_as(lines, found)
        shown += ["$ " + command.replace("\n", "\\\n"), *found]
    after = "\n".join(shown) + "\n"
    return block if alike(block, after) else after


def main() -> int:
    """Fill in or check all pages, or those that are named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pages", nargs="*", type=Path, help="pages (default: all)")
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit with 1 where an output differs"
    )
    options = parser.parse_args()
    pages = [page.resolve() for page in options.pages] or PAGES
    os.environ["COLUMNS"] = "100"
    differ = []
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(shutil.copytree(ROOT / "examples", Path(folder) / "examples"))
        for page in pages:
            before = page.read_text(encoding="utf-8")
            after = BLOCK.sub(lambda block: filled(block[0]), before)
            if after != before:
                differ.append(page)
                if not options.check:
                    page.write_text(after, encoding="utf-8")
        os.chdir(ROOT)
    for page in differ:
        print(os.path.relpath(page, ROOT), "differs" if options.check else "rewritten")
    return 1 if differ and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
