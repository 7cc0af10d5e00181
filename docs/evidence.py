"""Writes docs/evidence.md: claims of the README, the commands that show them, and the values last measured.

    python docs/evidence.py             # runs the quick commands (10 s) and writes the page
    python docs/evidence.py --check     # exits with 1 where the page differs from what is measured

A claim is a piece of the README with its numbers. Its value comes from a command that is run here where that
takes seconds, and otherwise from the file in which its last measurement is kept. A number of the README that
is in no claim, or a value that is no longer where it was found, fails a test.
"""

import argparse
import contextlib
import dataclasses
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import outputs

ROOT = Path(__file__).parent.parent
README, PAGE = ROOT / "README.md", ROOT / "docs" / "evidence.md"
RESULTS = "benchmarks/RESULTS.md"


@dataclasses.dataclass(frozen=True)
class Claim:
    """A claim of the README.

    Attributes:
        says: the words of the README, of which white space does not count.
        shown_by: the command that shows it.
        found: a regular expression; what it matches is the value, or its groups are.
        source: the file that has the value; None where the command is run.
    """

    says: str
    shown_by: str
    found: str
    source: str | None = None


STUDY = "chinchilla-jax study paper --out results/paper"
BESIDE = "python benchmarks/run_all.py"
CLAIMS = (
    Claim("Sixty runs", "chinchilla-jax fit runs.csv", r"60 runs"),
    Claim("Loss against compute for 60 runs", "chinchilla-jax fit runs.csv", r"60 runs"),
    Claim("Python 3.11 or newer", "pip install .", r'requires-python = "(>=3\.11)"', "pyproject.toml"),
    Claim(
        "224 conditions, 896,000 fits",
        STUDY,
        r"(224 conditions), 4,000 resamples.*?fits \| (896,000: .*? INVALID)",
        RESULTS,
    ),
    Claim("10 seconds on two cores", STUDY, r"with figures \| 29.6 s[^|]*\| ([\d.]+ and [\d.]+ s)", RESULTS),
    Claim(
        "a second or two",
        "python benchmarks/kernel_targets.py",
        r"compiling the kernel, without the cache \| ([\d.]+ s of CPU time)",
        RESULTS,
    ),
    Claim(
        "9.05B parameters and 184B tokens",
        "python examples/make_tables.py",
        r"optimum at (9\.05B parameters, 184B tokens and a loss of 2\.141)",
        "docs/start/index.md",
    ),
    Claim(
        "For the budget of Chinchilla, 5.76e23 FLOP, the 240 runs behind the law prescribe 73 billion "
        "parameters, with an 80% interval from 57 to 97",
        "chinchilla-jax plan chinchilla --flops 5.76e23 --flops 1e26",
        r"(240 runs).*?(80%).*?5\.76e23.*?parameters N +(\S+ +\S+ +\S+)",
    ),
    Claim(
        "(Chinchilla has 70)",
        "Hoffmann et al. 2022 (arXiv:2203.15556)",
        r"70B",
        "experiments/hoffmann2022/README.md",
    ),
    Claim(
        "At 1e26 FLOP it runs from 0.72 to 1.59 trillion",
        "chinchilla-jax plan chinchilla --flops 5.76e23 --flops 1e26",
        r"FLOP\) +1e26.*?parameters N +(\S+ +\S+ +\S+)",
    ),
    Claim(
        "by another formula, 7.4% off on average",
        "python experiments/diagnosis/run.py",
        r"the reported counts are 7\.4% above the standard",
        "experiments/diagnosis/README.md",
    ),
    Claim(
        "17 tokens per parameter",
        "chinchilla-jax plan chinchilla --flops 5.76e23 --counting reported",
        r"tokens per parameter +(\S+ +\S+ +\S+)",
    ),
    Claim(
        "to 23 (",
        "chinchilla-jax plan chinchilla --flops 5.76e23 --counting standard",
        r"tokens per parameter +(\S+ +\S+ +\S+)",
    ),
    Claim(
        "Eight papers reproduced",
        "python experiments/FOLDER/run.py",
        r"\| (\w[\w&. ]+ 20\d\d) \| `\w+` \|",
        "docs/how-to/reproduce.md",
    ),
    Claim(
        "210,000 certified fits per CPU second for the unperturbed runs",
        BESIDE,
        r"Resamples of the log loss.*?\| chinchilla_jax \| 4,000 \| [\d,]+ \| ([\d,]+)",
        "docs/benchmarks.md",
    ),
    Claim(
        "500 times SciPy's BFGS with a hand-written gradient",
        BESIDE,
        r"scipy bfgs, gradient by hand \| \d+ \| [\d,]+ \| [\d,]+ \| ([\d,]+)",
        "docs/benchmarks.md",
    ),
    Claim(
        "1,585 times the published script",
        BESIDE,
        r"published pipeline \| \d+ \| [\d,]+ \| [\d,]+ \| ([\d,]+)",
        "docs/benchmarks.md",
    ),
    Claim(
        "it makes 181,000 per second on two cores (median of three runs, 179,000 to 184,000)",
        "python benchmarks/study_rate.py",
        r"Over the study, on two quiet cores, in turn, ([\d,]+, [\d,]+ and [\d,]+) certified fits per second",
        RESULTS,
    ),
    Claim("Apache License 2.0", "cat LICENSE", r'license = "(Apache-2\.0)"', "pyproject.toml"),
)


def text_of(path: Path) -> str:
    """A file with every white space as one space."""
    return " ".join(path.read_text(encoding="utf-8").split())


def values(claim: Claim, printed: str | None = None) -> list[str]:
    """What was measured; empty where it is not found.

    Args:
        claim: of the README.
        printed: by its command, where that is run.
    """
    text = printed if claim.source is None else text_of(ROOT / claim.source)
    found = re.findall(claim.found, " ".join((text or "").split()))
    parts = [each if isinstance(each, tuple) else (each,) for each in found]
    return [" ".join(part.split()) for each in parts for part in each]


def measured() -> dict[str, str]:
    """What every quick command prints."""
    quick = {claim.shown_by for claim in CLAIMS if claim.source is None}
    os.environ["COLUMNS"] = "100"
    with tempfile.TemporaryDirectory() as folder:
        examples = shutil.copytree(ROOT / "examples", Path(folder) / "examples")
        with contextlib.chdir(examples):
            return {command: "\n".join(outputs.printed(command)) for command in sorted(quick)}


def page(printed: dict[str, str]) -> str:
    """The page in Markdown."""
    rows = []
    for claim in CLAIMS:
        found = values(claim, printed.get(claim.shown_by))
        value = "; ".join(found) if found else "not found"
        where = "run for this page" if claim.source is None else link(claim.source)
        says = " ".join(claim.says.split()).strip("() ")
        shown_by = claim.shown_by if "et al." in claim.shown_by else f"`{claim.shown_by}`"
        rows.append(f"| {says} | {shown_by} | {value.replace('|', ',')} | {where} |")
    return _PAGE.format(rows="\n".join(rows))


def link(source: str) -> str:
    """A link from the page to a file of the repository."""
    target = source.removeprefix("docs/") if source.startswith("docs/") else f"../{source}"
    return f"[{source}]({target})"


_PAGE = """\
# Evidence

Every claim of the [README](../README.md) that has a number, the command that shows it, and the value that
was last measured. Made by `python docs/evidence.py`: commands that take seconds are run for this page; the
others are benchmarks and studies, whose last results, with machine and date, are in the file named. Values
of a plan are the estimate and the ends of its 80% interval. A test fails where the README has a number that
is not here, and where a claim's numbers are not those that were measured.

| the README says | shown by | last measured | where |
|---|---|---|---|
{rows}
"""


def main() -> int:
    """Write or check the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing")
    arguments = parser.parse_args()
    made, before = page(measured()), PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    if outputs.alike(made, before):
        return 0
    if arguments.check:
        print(f"{PAGE.relative_to(ROOT)} is not what is measured: run python docs/evidence.py")
        return 1
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    os.environ.setdefault("MPLBACKEND", "Agg")
    sys.exit(main())
