"""The answer in three sentences, whose numbers come from the page's tables and link to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.labels import COUNTING_NAMES, HEADLINE, INTERVAL_COLUMNS
from chinchilla_jax._util.text import flops_text
from chinchilla_jax.laws.compute import RULE_OF_THUMB
from chinchilla_jax.perturbations import DOCUMENTED_MISCOUNT
from chinchilla_jax.planning.plausibility import known_ratio, no_optimum, prescription_doubt
from chinchilla_jax.plots.sweeps import SWEEPS, family_words, in_words
from chinchilla_jax.report.content import Linked, Sentence
from chinchilla_jax.report.facts import Facts
from chinchilla_jax.report.numbers import answer_text, shown
from chinchilla_jax.report.tables import condition_anchors
from chinchilla_jax.solvers.counted import counted_statuses
from chinchilla_jax.solvers.status import Status

if TYPE_CHECKING:
    import pandas as pd


def answer(facts: Facts) -> list[Sentence]:
    """Three sentences: the prescription, how far miscounting moves it, and the evidence for both."""
    return [_prescription(facts), _movement(facts), _evidence(facts)]


def _prescription(facts: Facts) -> Sentence:
    table = facts.at_budget.set_index("condition")
    if facts.reference is None:
        return ["The study has no unperturbed condition and so no prescription of its own."]
    row = table.loc[facts.reference]
    anchor = condition_anchors(facts)[facts.reference]
    count = COUNTING_NAMES.get(str(row["params"]), str(row["params"]))
    n_runs = int(facts.conditions.set_index("condition").loc[facts.reference, "n_runs"])
    whose = f"the {n_runs:,} runs of {facts.data_name} (parameters counted {_how(count)})"
    wanted, what = facts.wanted_budget
    budget, asked = flops_text(facts.budget), flops_text(wanted)
    # Compute of rounded counts is not quite the budget that they were made for.
    place = f"At {budget} FLOP ({what if budget == asked else f'nearest to {asked}, {what}'}), {whose}"
    if np.isnan(known_ratio(row[HEADLINE])):
        lacking = np.isnan(row[HEADLINE]) and facts.study.spec.model.has_optimum
        why = "their point fit could not be certified" if lacking else _no_optimum(facts)
        return [
            f"{place} give no prescription, because {why} (",
            Linked("see the row", anchor),
            ").",
        ]
    contains = row["low"] <= RULE_OF_THUMB <= row["high"]
    doubt = prescription_doubt(
        facts.budget, *(float(row[name]) for name in INTERVAL_COLUMNS), largest=facts.largest
    )
    return [
        f"{place} call for ",
        Linked(f"{_ratio(row[HEADLINE])} training tokens per parameter", anchor),
        f", the {facts.interval} from ",
        Linked(_ratio(row["low"]), anchor),
        " to ",
        Linked(_ratio(row["high"]), anchor),
        f" over {int(row['n_converged']):,} resamples; the interval "
        f"{'contains' if contains else 'does not contain'} the rule of thumb of {RULE_OF_THUMB:g}"
        f"{f' ({doubt})' if doubt else ''}{_other_interval(facts)}.",
    ]


def _ratio(value: float) -> str:
    return answer_text("tokens_per_param", float(value))


def _other_interval(facts: Facts) -> str:
    """The interval of the other choice about E = 0, as a clause; empty where it hardly matters."""
    if facts.other_interval is None:
        return ""
    count, low, high = facts.other_interval
    which = "without" if facts.study.spec.boundary == "keep" else "with"
    span = f"{shown(low, 3)} to {shown(high, 3)}"
    return f"; {which} the {count:,} resamples whose best E is 0 it runs from {span}"


def _no_optimum(facts: Facts) -> str:
    """Why the law of the reference has no compute-optimal point."""
    why = no_optimum(facts.study.point_law(str(facts.reference)))
    return f"the fitted law has no compute-optimal point: {why}"


def _how(count: str) -> str:
    return f"by the {count}" if count.endswith("formula") else f"as {count.removeprefix('as ')}"


def _movement(facts: Facts) -> Sentence:
    table = facts.at_budget
    unperturbed = table[table["family"] == "identity"]
    estimates = unperturbed.loc[np.isfinite(unperturbed[HEADLINE]), ["condition", HEADLINE]]
    parts: list[str | Linked] = []
    if len(estimates) > 1:
        ordered = estimates.sort_values(HEADLINE)
        parts += [
            f"Across the {len(estimates)} ways to count the parameters, this estimate ranges from ",
            _estimate_of(facts, ordered["condition"].iloc[0]),
            " to ",
            _estimate_of(facts, ordered["condition"].iloc[-1]),
        ]
    spans = {family: span for family in facts.families if (span := facts.documented_estimates(family))}
    if spans:
        lowest = min(spans, key=lambda family: spans[family][0])
        highest = max(spans, key=lambda family: spans[family][1])
        lead = "; perturbations" if parts else "Perturbations"
        parts += [
            f"{lead} up to {_miscount(facts)}, interpolated between the sizes of the study, keep it between ",
            Linked(shown(spans[lowest][0], 3), f"tokens-per-param-{lowest}"),
            f"{f' ({family_words(lowest)})' * (lowest != highest)} and ",
            Linked(shown(spans[highest][1], 3), f"tokens-per-param-{highest}"),
            f" ({family_words(highest)})",
        ]
    if not parts:
        return [
            "The study compares neither ways to count the parameters nor perturbations as small as "
            f"{_miscount(facts)}."
        ]
    return [*parts, "."]


def _miscount(facts: Facts) -> str:
    """The size that perturbations are measured by. Nothing is documented about a table of the user's own."""
    if facts.study.spec.data == "chinchilla":
        return f"the documented miscount of {DOCUMENTED_MISCOUNT:.1%}"
    return f"{DOCUMENTED_MISCOUNT:.1%} (the miscount documented for Chinchilla's table, not for this one)"


def _estimate_of(facts: Facts, condition: str) -> Linked:
    return Linked(_ratio(facts.estimate(condition, facts.at_budget)), condition_anchors(facts)[condition])


def _evidence(facts: Facts) -> Sentence:
    info = facts.study.info
    failed = info["n_fits"] - _n_counted(facts)
    table = facts.at_budget
    perturbed = table[(table["family"] != "identity") & np.isfinite(table[HEADLINE])]
    fits: list[str | Linked] = [
        f"{info['n_fits']:,} bootstrap fits, of which ",
        Linked(f"{failed:,}", "statuses"),
        f" ({shown(100 * failed / info['n_fits'], 2)}%) {_why(facts)} and enter no number",
    ]
    if perturbed.empty or not np.isfinite(facts.estimate(facts.reference, table)):
        return ["This page rests on ", *fits, "."]
    moved = perturbed[~perturbed["contains_unperturbed"]]
    anchors = condition_anchors(facts)
    mildest: list[str | Linked] = []
    for family in facts.families:
        row = mildest_condition(perturbed[perturbed["family"] == family], family)
        if row is not None:
            mildest += [", " if mildest else ", beginning with "]
            name = Linked(in_words(family, float(row["value"])), anchors[row["condition"]], row["condition"])
            mildest.append(name)
    if len(mildest) > 2:
        mildest[-2] = " and "
    return [
        Linked(f"{len(moved):,}", "at-budget"),
        " of the ",
        Linked(f"{len(perturbed):,} perturbed conditions", "at-budget"),
        " with a certified fit have an interval that excludes the unperturbed estimate",
        *mildest,
        "; this page rests on ",
        *fits,
        ".",
    ]


def _n_counted(facts: Facts) -> int:
    """Bootstrap fits that count in the numbers of the page."""
    counts = facts.study.info["status_counts"]
    return sum(counts.get(status.name, 0) for status in counted_statuses(facts.study.spec.boundary))


def _why(facts: Facts) -> str:
    """Why fits do not count; many have E = 0 only in a study that drops these."""
    at_edge = facts.study.info["status_counts"].get(Status.BOUNDARY.name, 0)
    dropped = at_edge if facts.study.spec.boundary == "drop" else 0
    return f"could not be certified or have E = 0 ({dropped:,})" if dropped else "could not be certified"


def mildest_condition(rows: pd.DataFrame, family: str) -> pd.Series[Any] | None:
    """The condition of smallest size whose interval excludes the unperturbed estimate.

    Args:
        rows: the conditions of one family out of `Facts.at_budget`.
        family: its name.

    Returns:
        One row; of several draws of a size, most must exclude the estimate. None if no size does, or the
        family has no axis to measure sizes on.
    """
    if family not in SWEEPS or rows.empty:
        return None
    sweep = SWEEPS[family]
    excludes = ~rows.groupby("value")["contains_unperturbed"].mean().gt(0.5)
    sizes = excludes.index[excludes].to_numpy(dtype=np.float64)
    distance = np.abs(sweep.coordinate(sizes) - float(sweep.coordinate(sweep.neutral)))
    if not np.isfinite(distance).any():
        return None
    size = sizes[np.nanargmin(distance)]
    return rows[(rows["value"] == size) & ~rows["contains_unperturbed"]].iloc[0]


def key_figures(facts: Facts) -> list[tuple[Linked, str]]:
    """The numbers to see first, each with its meaning; fewer if the study has fewer."""
    found: list[tuple[Linked, str]] = []
    row = None if facts.reference is None else facts.at_budget.set_index("condition").loc[facts.reference]
    if row is not None and np.isfinite(row[HEADLINE]):
        anchor = condition_anchors(facts)[str(facts.reference)]
        estimate, low, high = (float(row[name]) for name in INTERVAL_COLUMNS)
        what = f"training tokens per parameter at {flops_text(facts.budget)} FLOP"
        found.append((Linked(_ratio(estimate), anchor), what))
        found.append((Linked(f"{_ratio(low)} to {_ratio(high)}", anchor), facts.interval))
        spans = [span for family in facts.families if (span := facts.documented_estimates(family))]
        if spans:
            lowest, highest = min(span[0] for span in spans), max(span[1] for span in spans)
            text = f"{shown(lowest, 3)} to {shown(highest, 3)}"
            what = f"where perturbations up to {_miscount(facts)} move this estimate"
            found.append((Linked(text, "perturbed"), what))
    info = facts.study.info
    share = 100 * _n_counted(facts) / max(info["n_fits"], 1)
    # Never rounded up to 100%.
    text = "100%" if share == 100 else f"{min(float(format(share, '.3g')), 99.9):g}%"
    found.append((Linked(text, "statuses"), f"of {info['n_fits']:,} bootstrap fits certified"))
    return found
