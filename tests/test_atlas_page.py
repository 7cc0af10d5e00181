"""The page of the atlas experiment: every number is from the tables beside it."""

import re
from pathlib import Path

import pandas as pd
from scripts import loaded

from chinchilla_jax import plots
from chinchilla_jax.plots.panels import unshown
from chinchilla_jax.report.drawn import drawn_figure

FOLDER = Path(__file__).parent.parent / "experiments" / "atlas"


def test_the_page_is_what_its_tables_give():
    assert (FOLDER / "README.md").read_text() == loaded(FOLDER / "page.py").render(FOLDER)


def test_no_placeholder_is_left_and_every_figure_is_there():
    text = (FOLDER / "README.md").read_text()
    assert not re.findall(r"\{[^}]*\}", text)
    for name in re.findall(r"\]\((figures/[^)]*)\)", text):
        assert (FOLDER / name).exists(), name


def test_numbers_of_the_prose_that_are_not_from_a_table_are_margins_sizes_and_sources():
    text = (FOLDER / "page.md").read_text()
    text = re.sub(r"\{[^}]*\}|`[^`]*`|\]\([^)]*\)|```.*?```", "", text, flags=re.DOTALL)
    known = {"2025", "1979", "2509.23963", "80%", "15.2%", "15%", "0.1", "2", "3", "4", "6", "10", "40"}
    assert set(re.findall(r"\d[\d.,]*%?", text.replace(",", " "))) <= known | {f"{each}." for each in known}


def test_the_tables_agree_with_each_other():
    claims, slopes, ratios = (pd.read_csv(FOLDER / f"{name}.csv") for name in ("claims", "slopes", "ratios"))
    flat = claims[claims["claim"] == "flat"].set_index("table")
    for table, own in slopes.groupby("table", sort=False):
        first = own.iloc[0]
        assert flat.loc[table, "low"] == first["low"] and flat.loc[table, "high"] == first["high"]
        held = first["low"] >= -0.1 and first["high"] <= 0.1
        assert (flat.loc[table, "verdict"] == "holds") == held
    assert set(ratios["beyond"]) == {1.0, 10.0}
    assert (ratios["low"] <= ratios["median"]).all() and (ratios["median"] <= ratios["high"]).all()


def test_the_claims_of_one_table_fit_on_a_page():
    claims = pd.read_csv(FOLDER / "claims.csv")
    own = claims[claims["table"] == "olmo_ladder"]
    drawn_figure("claims", "", lambda: plots.atlas_claims(own))  # would warn of Axes without any size


def test_every_interval_of_tokens_per_parameter_is_within_the_axis():
    ratios = pd.read_csv(FOLDER / "ratios.csv")
    with unshown():
        low, high = plots.atlas_ratios(ratios, budget="ten times that").get_xlim()
    assert low < ratios["low"].min() and ratios["high"].max() < high


def test_the_colours_of_breakdowns_are_named():
    breakdown = pd.read_csv(FOLDER / "breakdown.csv")
    with unshown():
        *_, below, _ = plots.atlas_breakdown(breakdown, "ratio_leaves_interval")
    named = [text.get_text() for text in below.get_legend().get_texts()]
    assert named == ["upward, and noise", "downward", "up to the documented miscount"]
