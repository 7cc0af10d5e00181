"""Every number of the README is a claim in docs/evidence.py, and is what was measured."""

import re
import statistics
from pathlib import Path

import pytest
from scripts import loaded

ROOT = Path(__file__).parent.parent
WORDS = {"Sixty": 60.0, "Eight": 8.0}
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(?:e\d+)?")
SCALES = {"": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


EVIDENCE = loaded(ROOT / "docs" / "evidence.py")
ROWS = [line for line in EVIDENCE.PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")][1:]


def prose():
    """The README without code, commands and targets of links, with each white space as one space."""
    text = EVIDENCE.README.read_text(encoding="utf-8")
    text = re.sub(r"```.*?```", " ", text, flags=re.DOTALL)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    return " ".join(text.split())


def test_every_number_of_the_readme_is_in_a_claim():
    text = prose()
    for claim in EVIDENCE.CLAIMS:
        assert claim.says in text, (
            f"the README no longer says {claim.says!r}: mend CLAIMS in docs/evidence.py"
        )
    for says in sorted((claim.says for claim in EVIDENCE.CLAIMS), key=len, reverse=True):
        text = text.replace(says, " ")
    text = re.sub(r"`[^`]*`", " ", text)  # commands
    left = re.findall(r".{0,60}\d.{0,20}", text)
    assert not left, f"numbers of the README without evidence: {left}; add them to CLAIMS in docs/evidence.py"


def number(text):
    return float(text.replace(",", ""))


def room(text):
    """Half a unit of the last digit of a number that is not a trailing zero: 150,000 has two digits."""
    digits = text.replace(",", "").partition("e")[0]
    if "." in digits:
        return 0.5 * 10.0 ** -len(digits.partition(".")[2])
    return 0.5 * 10.0 ** (len(digits) - len(digits.rstrip("0")))


@pytest.mark.parametrize(("claim", "row"), list(zip(EVIDENCE.CLAIMS, ROWS, strict=True)))
def test_a_claim_says_what_was_measured(claim, row):
    """By the page, whose values of quick commands the slow test brings up to date."""
    says, _, value, _ = (cell.strip() for cell in row.split("|")[1:5])
    assert value and value != "not found", "what was measured is no longer in its file"
    assert says in claim.says
    if claim.source is not None:
        assert "; ".join(EVIDENCE.values(claim)).replace("|", ",") == value, "run python docs/evidence.py"
    there = [
        number(found[0]) * SCALES[found[1]]
        for found in re.findall(r"(\d[\d,]*(?:\.\d+)?(?:e\d+)?)([KMBT]?)(?![a-z])", value)
    ]
    there += [statistics.median(there)] if len(there) > 2 else []
    there += [float(value.count(";") + 1)]
    said = [(text, number(text)) for text in NUMBER.findall(claim.says)]
    said += [(str(int(count)), count) for word, count in WORDS.items() if word in claim.says.split()]
    for text, wanted in said:
        if text in claim.shown_by:
            continue
        close = [
            measured
            for measured in there
            for scale in (1.0, 1e9, 1e12)
            if abs(measured / scale - wanted) <= max(room(text), 1e-9 * wanted)
        ]
        assert close, f"{text} of {claim.says!r} is not in {value!r}"


def test_numbers_are_compared_by_their_digits():
    assert [room(text) for text in ("150,000", "23", "0.72", "1.59", "602")] == [5000, 0.5, 0.005, 0.005, 0.5]


@pytest.mark.slow
def test_the_page_is_what_is_measured(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    made = EVIDENCE.page(EVIDENCE.measured())
    assert EVIDENCE.outputs.alike(made, EVIDENCE.PAGE.read_text(encoding="utf-8")), (
        "run python docs/evidence.py"
    )
