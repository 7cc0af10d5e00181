"""README.md of the atlas: page.md with every number taken from the tables beside it.

    python experiments/atlas/page.py

page.md holds {names}: those of `facts`, and of the tables that this file lays out. A test renders the page
again and compares it with README.md.
"""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from chinchilla_jax._util.text import flops_text, list_text, plain_number, scaled_number
from chinchilla_jax.analysis.claims import CLAIMS
from chinchilla_jax.perturbations import PARAMS_FAMILIES
from chinchilla_jax.study.atlas.tables import multiplicity

HERE = Path(__file__).parent
MARKS = {"holds": "holds", "fails": "**fails**", "undetermined": "?", "not asked": "-"}


def main() -> None:
    write_page(HERE)


def write_page(folder: Path) -> None:
    """Write README.md."""
    (folder / "README.md").write_text(render(folder))


def render(folder: Path) -> str:
    """README.md from page.md and the tables in `folder`."""
    tables = {path.stem: pd.read_csv(path) for path in folder.glob("*.csv")}
    text = (folder / "page.md").read_text()
    for name, value in {**facts(tables), **layouts(tables)}.items():
        text = text.replace("{" + name + "}", value)
    return text


def facts(tables: dict[str, pd.DataFrame]) -> dict[str, str]:
    """The numbers of the prose, as texts."""
    overview, claims = tables["overview"], tables["claims"]
    counts = multiplicity(claims)
    found = {
        "n_tables": str(len(overview)),
        "n_conditions": f"{int(overview['conditions'].sum()):,}",
        "n_fits": f"{int(overview['fits'].sum()):,}",
        "certified": f"{overview['certified'].sum() / overview['fits'].sum():.1%}",
        "judged": str(counts["judged"]),
        "n_hold": str(counts["holds"]),
        "n_fail": str(counts["fails"]),
        "n_undetermined": str(counts["undetermined"]),
        "decided": str(counts["holds"] + counts["fails"]),
        "by_chance": f"{counts['by_chance']:g}",
        "survive": str(counts["survive"]),
        "largest_most": flops_text(float(overview["largest_flops"].max())),
    }
    for claim in CLAIMS:
        own = claims[claims["claim"] == claim.name]
        for verdict, mark in (("holds", "holds"), ("fails", "fails"), ("undetermined", "open")):
            names = list(own.loc[own["verdict"] == verdict, "table"])
            found[f"{claim.name}:{mark}"] = str(len(names))
            found[f"{claim.name}:{mark}_on"] = list_text(names) if names else "no table"
        for _, row in own.iterrows():
            found[f"{claim.name}:{row['table']}"] = interval(row["estimate"], row["low"], row["high"])
            found[f"{claim.name}:{row['table']}:factor"] = interval(
                *(math.exp(row[name]) for name in ("estimate", "low", "high"))
            )
    for _, row in tables["slopes"].iterrows():
        found[f"slope:{row['table']}:{row['params']}"] = interval(row["median"], row["low"], row["high"])
        found[f"growth:{row['table']}:{row['params']}"] = interval(
            *(10 ** row[name] for name in ("median", "low", "high"))
        )
    for _, row in tables["ratios"].iterrows():
        where = "beyond" if row["beyond"] > 1 else "largest"
        found[f"ratio:{row['table']}:{row['params']}:{where}"] = interval(
            row["median"], row["low"], row["high"]
        )
    for _, row in tables["breakdown"].iterrows():
        key = f"breakdown:{row['table']}:{row['family']}:{row['direction']}:{row['criterion']}"
        found[key] = plain_number(float(row["times_documented"]), 2)
    found |= _comparisons(tables)
    for _, row in tables["left_out"].iterrows():
        found[f"left_out:{row['table']}"] = f"{row['uncertified'] / row['resamples']:.0%}"
    for _, row in tables.get("multiverse", pd.DataFrame()).iterrows():
        found[f"multiverse:{row['table']}"] = str(row["sentence"])
    return found


def _comparisons(tables: dict[str, pd.DataFrame]) -> dict[str, str]:
    """Numbers over all tables."""
    first = tables["slopes"].drop_duplicates("table").set_index("table")["median"]
    near = tables["sensitivity"].query("documented and family != 'log_normal_noise'")
    moved = (near["slope_median"] - near["table"].map(first)).abs()
    ratio = tables["breakdown"].query("criterion == 'ratio_leaves_interval'")
    least = ratio.groupby(["table", "family"], sort=False)["times_documented"].min().unstack()
    apart = tables["overview"]["count_difference"].drop(0)  # chinchilla's apart
    effects = tables["multiverse_effects"].sort_values("share", ascending=False).drop_duplicates("table")
    order = list(tables["overview"]["table"])
    found = {
        "slope_least": number(first.min()),
        "slope_most": number(first.max()),
        "moved_most": number(moved.max()),
        "noise_first": str(int((least.idxmin(axis=1) == "log_normal_noise").sum())),
        "noise_least": number(least["log_normal_noise"].min()),
        "noise_most": number(least["log_normal_noise"].max()),
        "apart_paper": f"{tables['overview']['count_difference'].iloc[0]:.0%}",
        "apart_least": f"{apart.min():.0%}",
        "apart_most": f"{apart.max():.0%}",
        "n_counted": str(int(apart.notna().sum())),
    }
    for choice in ("rows", "counting", "objective"):
        names = [name for name in order if name in set(effects.loc[effects["choice"] == choice, "table"])]
        found[f"moved_by:{choice}"] = list_text(names) if names else "no table"
        found[f"moved_by:{choice}:n"] = str(len(names))
    return found


def layouts(tables: dict[str, pd.DataFrame]) -> dict[str, str]:
    """The tables of the page."""
    found = {
        "table:overview": _overview(tables["overview"]),
        "table:claims": _claims(tables["claims"]),
        "table:slopes": _slopes(tables["slopes"], tables["ratios"]),
        "table:breakdown": _breakdown(tables["breakdown"]),
        "table:caveats": "\n".join(
            f"- **{row['table']}**: {row['caveat']}" for _, row in tables["overview"].iterrows()
        ),
    }
    for kind in ("table", "multiverse"):
        found[f"figures:{kind}"] = "\n\n".join(
            f"![{name}](figures/{kind}_{name}.png)" for name in tables["overview"]["table"]
        )
    if "multiverse" in tables:
        found["table:multiverse"] = _multiverse(tables["multiverse"], tables["multiverse_effects"])
    return found


def interval(middle: float, low: float, high: float) -> str:
    """Such as "0.35 [0.11, 0.62]"."""
    return f"{number(middle)} [{number(low)}, {number(high)}]"


def number(value: float) -> str:
    """Two or three digits, and a hyphen for what is not known."""
    if math.isnan(value):
        return "-"
    if abs(value) >= 1000:
        return f"{float(f'{value:.3g}'):,.0f}"
    digits = 2 if abs(value) < 1 else 3
    return plain_number(float(f"{value:.{digits}g}"), digits)


def rows(header: list[str], lines: list[list[str]]) -> str:
    """A table in Markdown."""
    found = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*found, *("| " + " | ".join(line) + " |" for line in lines)])


def _overview(table: pd.DataFrame) -> str:
    return rows(
        [
            "table",
            "runs",
            "parameters",
            "largest run (FLOP)",
            "counts (apart by)",
            "resampling",
            "fits",
            "certified",
        ],
        [
            [
                row["table"],
                str(row["runs"]),
                f"{scaled_number(row['least_params'])} to {scaled_number(row['most_params'])}",
                flops_text(row["largest_flops"]),
                str(row["counts"])
                + ("" if math.isnan(row["count_difference"]) else f" ({row['count_difference']:.0%})"),
                str(row["resampling"]).split(",")[0].replace(" are resampled", ""),
                f"{row['fits']:,}",
                f"{row['certified'] / row['fits']:.1%}",
            ]
            for _, row in table.iterrows()
        ],
    )


def _claims(table: pd.DataFrame) -> str:
    names = list(dict.fromkeys(table["table"]))
    marks = table.set_index(["claim", "table"])["verdict"]
    return rows(
        ["claim", *names],
        [[claim.sentence, *(MARKS[marks[claim.name, name]] for name in names)] for claim in CLAIMS],
    )


def _slopes(slopes: pd.DataFrame, ratios: pd.DataFrame) -> str:
    at = ratios.set_index(["table", "params", "budget"])
    return rows(
        ["table", "count", "slope", "tokens per parameter at the largest run", "ten times beyond it"],
        [
            [
                row["table"],
                str(row["params"]).replace("_", " "),
                interval(row["median"], row["low"], row["high"]),
                *(
                    interval(*at.loc[(row["table"], row["params"], budget), ["median", "low", "high"]])
                    for budget in ("largest run", "ten times that")
                ),
            ]
            for _, row in slopes.iterrows()
        ],
    )


def _breakdown(table: pd.DataFrame) -> str:
    """The smaller of both directions, in documented miscounts."""
    lines = []
    for name in dict.fromkeys(table["table"]):
        cells = [name]
        for criterion in ("ratio_leaves_interval", "slope_excludes_zero"):
            for family in PARAMS_FAMILIES:
                own = table[
                    (table["table"] == name) & (table["criterion"] == criterion) & (table["family"] == family)
                ]
                cells.append(_threshold(own))
        lines.append(cells)
    families = ["factor", "amount", "bias", "noise"]
    header = ["table", *(f"ratio: {each}" for each in families), *(f"slope: {each}" for each in families)]
    return rows(header, lines)


def _threshold(own: pd.DataFrame) -> str:
    times = own["times_documented"]
    if times.isna().all():
        return "never"
    row = own.loc[times.idxmin()]
    if row["times_documented"] == 0:
        return "already"
    high = "never" if math.isinf(row["times_high"]) else number(row["times_high"])
    return f"{number(row['times_documented'])} [{number(row['times_low'])}, {high}]"


def _multiverse(table: pd.DataFrame, effects: pd.DataFrame) -> str:
    lines = []
    for _, row in table.iterrows():
        own = effects[effects["table"] == row["table"]].sort_values("share", ascending=False)
        first = own.iloc[0]
        lines.append(
            [
                row["table"],
                f"{row['specifications']:,}",
                str(row["without_estimate"]),
                f"{number(row['median'])} [{number(row['low'])}, {number(row['high'])}]",
                f"[{number(row['both_low'])}, {number(row['both_high'])}]",
                f"{first['choice']}: {first['share']:.0%}, a factor of {number(first['move'])}",
            ]
        )
    return rows(
        ["table", "analyses", "without an answer", "80% of the answers", "with resampling", "moves it most"],
        lines,
    )


if __name__ == "__main__":
    main()
