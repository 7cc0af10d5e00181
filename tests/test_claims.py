"""The rules of the atlas's claims: on changes and on planted tables whose answers are known."""

import dataclasses
import math

import numpy as np
import pytest

import chinchilla_jax as cj
from chinchilla_jax.analysis.claim_evidence import Evidence, Fits
from chinchilla_jax.analysis.claim_rules import positive, within
from chinchilla_jax.analysis.claims import CLAIMS, judge_claims
from chinchilla_jax.laws.compute import training_flops
from chinchilla_jax.perturbations import FAMILIES, PARAMS_FAMILIES, bias_centre, documented_sizes
from chinchilla_jax.study.atlas.tables import multiplicity, with_holm

CENTRED = np.random.default_rng(0).standard_normal(400)
RESAMPLES = 60
SWEPT = {
    "multiplicative": (1e-3, 1e3),
    "additive": (-0.7, 0.7),  # of the smallest model
    "systematic_bias": (0.4, 2.5),
    "log_normal_noise": (0.5,),
}


def test_a_change_within_its_margin_holds_beyond_it_fails_and_across_it_is_undetermined():
    assert within({"x": (0.01 * CENTRED, 0.1)}).verdict == "holds"
    assert within({"x": (0.3 + 0.01 * CENTRED, 0.1)}).verdict == "fails"
    assert within({"x": (-0.3 + 0.01 * CENTRED, 0.1)}).verdict == "fails"
    assert within({"x": (0.1 + 0.05 * CENTRED, 0.1)}).verdict == "undetermined"
    assert within({}).verdict == "not asked"


def test_a_wide_interval_around_no_change_never_fails():
    # |x| is large in most resamples, and yet nothing says that x is not 0.
    assert within({"x": (100 * CENTRED, 0.1), "y": (0.01 * CENTRED, 0.1)}).verdict == "undetermined"


def test_one_of_several_changes_is_enough_to_fail_and_is_named():
    found = within({"x": (0.01 * CENTRED, 0.1), "y": (0.3 + 0.01 * CENTRED, 0.1)})
    assert (found.verdict, found.quantity) == ("fails", "y")
    assert found.low == pytest.approx(np.quantile(0.3 + 0.01 * CENTRED, 0.1), rel=1e-12)
    assert found.p == pytest.approx(2 / 401)  # two changes could have failed


def test_fits_that_failed_are_no_evidence():
    some = np.where(np.arange(400) < 150, 0.0, np.nan)
    found = within({"x": (some, 0.1)})
    assert found.verdict == "undetermined" and "too few" in found.quantity
    assert positive({"x": some}).verdict == "undetermined"


def test_changes_that_should_be_positive():
    assert positive({"x": 1 + 0.1 * CENTRED, "y": 2 + 0.1 * CENTRED}).verdict == "holds"
    assert positive({"x": 1 + 0.1 * CENTRED, "y": -2 + 0.1 * CENTRED}).verdict == "fails"
    assert positive({"x": CENTRED, "y": 2 + 0.1 * CENTRED}).verdict == "undetermined"


@pytest.mark.parametrize(("margin", "wrong"), [(0.1, "holds"), (0.1, "fails")])
def test_at_the_margin_a_verdict_is_wrong_in_at_most_a_tenth(margin, wrong):
    # The truth is just beyond the margin, or just within it: 400 tables with normal errors.
    truth = margin * (1.0001 if wrong == "holds" else 0.9999)
    rng = np.random.default_rng(1)
    verdicts = [
        within({"x": (truth + 0.01 * rng.standard_normal() + 0.01 * CENTRED, margin)}).verdict
        for _ in range(400)
    ]
    share = verdicts.count(wrong) / len(verdicts)
    assert share <= 0.1 + 3 * math.sqrt(0.1 * 0.9 / 400)
    assert verdicts.count(wrong) > 0


def planted(alpha, beta, *, noise=0.002, ratio=20.0, n=60, other=None):
    """The evidence of simulated runs of a known law, with tokens per parameter `ratio` at the largest run."""
    rng = np.random.default_rng(3)
    params = np.exp(rng.uniform(np.log(5e7), np.log(5e9), n))
    tokens = params * np.exp(rng.uniform(np.log(3), np.log(150), n))
    largest = float(training_flops(params, tokens).max())
    # ratio = (C/6)^s G^-2 with G^(alpha + beta) = alpha A / (beta B), solved for B.
    slope, total, A = (alpha - beta) / (alpha + beta), alpha + beta, 400.0
    G = math.sqrt((largest / 6) ** slope / ratio)
    law = cj.ScalingLaw(E=1.8, A=A, B=alpha * A / (beta * G**total), alpha=alpha, beta=beta)
    assert float(law.tokens_per_param(largest)) == pytest.approx(ratio)
    loss = law.loss(params, tokens) * np.exp(noise * rng.standard_normal(n))
    runs = cj.load_runs({"params": params, "tokens": tokens, "loss": loss})
    return evidence(runs, largest, other)


def fits(runs):
    boot = cj.bootstrap(runs, resamples=RESAMPLES, seed=0, scheme="pairs", objective=cj.Huber(delta=0.01))
    return Fits(boot.laws, boot.counted)


def evidence(runs, largest, other=None):
    def size(family, share):
        return share * float(runs.params.min()) if family == "additive" else share

    def at(family, value):
        draws = range(3) if FAMILIES[family].random else range(1)
        return [fits(FAMILIES[family](value, draw).apply(runs, seed=0)) for draw in draws]

    near = {
        family: [value for value in documented_sizes(runs, family) if value != FAMILIES[family].neutral]
        for family in PARAMS_FAMILIES
    }
    return Evidence(
        plain=fits(runs),
        countings={}
        if other is None
        else {"other": fits(dataclasses.replace(runs, params=other(runs.params)))},
        swept={
            family: {size(family, each): at(family, size(family, each)) for each in SWEPT[family]}
            for family in PARAMS_FAMILIES
        },
        documented={family: {value: at(family, value) for value in near[family]} for family in near},
        largest=largest,
        centre=bias_centre(runs),
    )


def verdicts(given):
    return {row["claim"]: row["verdict"] for row in judge_claims(given)}


@pytest.fixture(scope="module")
def flat():
    return planted(0.35, 0.35, other=lambda params: 1.05 * params)


@pytest.fixture(scope="module")
def tilted():
    return planted(
        0.5, 0.25, noise=0.0005, ratio=300.0, n=120, other=lambda params: params - 0.7 * params.min()
    )


def test_on_a_planted_flat_law_the_published_claims_hold(flat):
    found = verdicts(flat)
    for claim in (
        "flat", "twenty", "counts_law", "counts_ratio", "counts_slope", "multiplicative_identity",
        "bias_identity", "additive_raises", "additive_tilts", "bias_tilts", "withstands_multiplicative",
        "withstands_systematic_bias",
    ):  # fmt: skip
        assert found[claim] == "holds", claim


def test_on_a_planted_tilted_law_those_about_flatness_and_counts_fail_and_the_theorems_hold(tilted):
    found = verdicts(tilted)
    for claim in ("flat", "twenty", "counts_law", "counts_slope"):
        assert found[claim] == "fails", claim
    for claim in ("multiplicative_identity", "bias_identity", "additive_raises", "bias_tilts"):
        assert found[claim] == "holds", claim


def test_runs_that_say_little_leave_claims_undetermined_and_one_count_is_not_compared():
    found = verdicts(planted(0.35, 0.35, noise=0.1, n=14))
    for claim in ("flat", "twenty"):
        assert found[claim] == "undetermined", claim
    for claim in ("counts_law", "counts_ratio", "counts_slope"):
        assert found[claim] == "not asked", claim


def test_a_solver_that_breaks_an_identity_is_found_out(flat):
    def broken(fits_of):
        laws = fits_of.laws
        return Fits(dataclasses.replace(laws, A=1.01 * np.asarray(laws.A)), fits_of.counted)

    swept = {
        **flat.swept,
        "multiplicative": {
            c: [broken(each) for each in draws] for c, draws in flat.swept["multiplicative"].items()
        },
    }
    found = verdicts(dataclasses.replace(flat, swept=swept))
    assert found["multiplicative_identity"] == "fails" and found["bias_identity"] == "holds"


def test_names_and_sentences_of_claims_are_distinct():
    assert len({each.name for each in CLAIMS}) == len({each.sentence for each in CLAIMS}) == len(CLAIMS)


def test_cells_that_stand_when_all_are_judged_together():
    import pandas as pd

    table = pd.DataFrame(
        {
            "claim": ["flat"] * 4 + ["bias_identity"],
            "verdict": ["holds", "fails", "holds", "undetermined", "holds"],
            "p": [0.0001, 0.04, 0.06, np.nan, np.nan],
        }
    )
    found = with_holm(table)
    # Holm at 0.1 over four judged cells: 0.0001 <= 0.1/4, 0.04 > 0.1/3.
    assert found["survives"].tolist() == [True, False, False, False, False]
    assert multiplicity(found) == {
        "judged": 4, "holds": 2, "fails": 1, "undetermined": 1, "by_chance": 0.4, "survive": 1,
    }  # fmt: skip
    easier = with_holm(table.assign(p=[0.0001, 0.03, 0.04, np.nan, np.nan]))
    assert easier["survives"].tolist() == [True, True, True, False, False]


def test_chance_decides_as_many_cells_as_is_said_and_rarely_one_that_stands():
    """`by_chance` and Holm counted the decided cells alone, which chance had chosen."""
    import pandas as pd

    rng = np.random.default_rng(2)
    wrong, expected, families = 0, 0.0, 0
    for _ in range(40):  # atlases of 25 cells, every truth just beyond its margin
        found = [
            within({"x": (0.10001 + 0.01 * rng.standard_normal() + 0.01 * CENTRED, 0.1)}) for _ in range(25)
        ]
        cells = pd.DataFrame([dataclasses.asdict(each) for each in found]).assign(claim="flat")
        cells = with_holm(cells)
        expected += multiplicity(cells)["by_chance"]
        holds = cells["verdict"] == "holds"
        wrong += int(holds.sum())
        families += bool(cells.loc[holds, "survives"].any())
    assert wrong == pytest.approx(expected, abs=4 * math.sqrt(1000 * 0.1 * 0.9))
    assert families / 40 <= 0.1 + 3 * math.sqrt(0.1 * 0.9 / 40)


@pytest.mark.parametrize("resamples", [2, 5, 8])
def test_a_few_resamples_decide_nothing(resamples):
    """The interval of two resamples is narrow, whatever the runs say: claims held and failed by two."""
    few = np.linspace(-0.001, 0.001, resamples)
    assert within({"x": (few, 0.1)}).verdict == "undetermined"
    assert within({"x": (0.2 + few, 0.1)}).verdict == "undetermined"
    assert positive({"x": 0.2 + few}).verdict == positive({"x": few - 0.2}).verdict == "undetermined"


def test_resamples_for_a_verdict_grow_with_the_changes_that_could_decide_it():
    def verdict(resamples, middle, changes):
        values = middle + np.linspace(-0.001, 0.001, resamples)
        return within({f"x{i}": (values, 0.1) for i in range(changes)}).verdict

    assert verdict(9, 0.0, 6) == "holds"  # each must lie within, so that none is one chance of many
    assert verdict(9, 0.2, 1) == "fails"
    assert verdict(58, 0.2, 6) == "undetermined"
    assert verdict(59, 0.2, 6) == "fails"
