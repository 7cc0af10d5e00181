"""The tables and the figure of the README, from planted.csv and real.csv beside this file.

python experiments/next_runs/summarise.py
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from chinchilla_jax.plots import save_figures
from chinchilla_jax.plots.panels import panels
from chinchilla_jax.plots.styles import counting_looks, styled

HERE = Path(__file__).parent
RULES = ("largest", "ladder", "replicates", "spread")
OURS_NAME = "next_runs"
BESIDE = dict(zip((*RULES, "random"), np.geomspace(1.2, 2.2, len(RULES) + 1).tolist(), strict=True))
OURS = {
    **{f"{part:g} of it": part for part in (0.01, 0.02, 0.05, 0.1, 0.25, 0.5)},
    "chosen": 1.0,
}
CELLS = {"planted": ["truth", "design", "n", "target"], "real": ["table", "target"]}


def read(which: str, folder: Path) -> pd.DataFrame:
    """The lines with ln of the width over that of now, and of the width over the expected one."""
    lines = pd.read_csv(folder / f"{which}.csv")
    keys = [*CELLS[which], "repeat"]
    now = lines[lines["choice"] == "now"].set_index(keys)
    at = pd.MultiIndex.from_frame(lines[keys])
    lines["ln_width"] = np.log(lines["width"].to_numpy() / now["width"].reindex(at).to_numpy())
    lines["ln_expected"] = np.log(lines["width"] / lines["expected"])
    lines["error_size"] = lines["error"].abs() / now["width"].reindex(at).to_numpy()
    largest = lines[lines["choice"] == "largest"].set_index(keys)["flops"]
    lines["share"] = lines["flops"] / largest.reindex(at).to_numpy()
    return lines[lines["choice"] != "refused"]


def by_choice(lines: pd.DataFrame) -> pd.DataFrame:
    """Means over all questions (a table and a target) of each choice."""
    of = lines.groupby("choice")
    ln_share = np.log(lines["share"].where(lines["share"] > 0))
    found = pd.DataFrame(
        {
            "questions": of.size(),
            "width": np.exp(of["ln_width"].mean()),
            "se": of["ln_width"].sem(),
            "realised over expected": np.exp(of["ln_expected"].mean()),
            "error over width now": of["error_size"].mean(),
            "holds": of["holds"].mean(),
            "FLOP over largest": np.exp(ln_share.groupby(lines["choice"]).mean()),
        }
    )  # fmt: skip
    return found.round(3).reset_index().sort_values("width")


def by_cell(lines: pd.DataFrame, which: str) -> pd.DataFrame:
    """For each cell the best rule, what is chosen beside it, and the share of its FLOP for the same width."""
    rows = []
    for cell, of in lines.groupby(CELLS[which]):
        widths = of.pivot(index="repeat", columns="choice", values="ln_width")
        # A rule has no choice in some tables: it is compared with ours on those where it has one.
        paired = {
            rule: widths[widths[rule].notna()]
            for rule in RULES
            if rule in widths and widths[rule].notna().any()
        }
        best = max(paired, key=lambda rule: (paired[rule]["chosen"] - paired[rule][rule]).mean())
        mean = paired[best].mean()
        ours = paired[best].reindex(columns=list(OURS)).mean(skipna=False)
        known = ours.notna().to_numpy()  # shares that pay for a run in every table
        ours, at = ours[known], np.log(list(OURS.values()))[known]
        # The least share from which ours is as narrow; between two shares on the line between them.
        falling = np.minimum.accumulate(ours.to_numpy())
        enough = np.flatnonzero(falling <= mean[best])
        share = np.nan
        if len(enough):
            i = int(enough[0])
            share = float(np.exp(at[0]))
            if i:
                part = (falling[i - 1] - mean[best]) / (falling[i - 1] - falling[i])
                share = float(np.exp(at[i - 1] + part * (at[i] - at[i - 1])))
        rows.append(
            (*cell, len(paired[best]), best, np.exp(mean[best]), np.exp(mean["chosen"]),
             np.exp(mean["chosen"] - mean[best]), share)
        )  # fmt: skip
    columns = [*CELLS[which], "tables", "best rule", "its width", "chosen", "chosen over it", "share of FLOP"]
    return pd.DataFrame(rows, columns=columns).round(3)


@styled
def draw(every: dict[str, pd.DataFrame]) -> Figure:
    """Mean width over that of now against the share of the allowance; rules stand beside 100%."""
    where = panels(list(every), None, columns=len(every), size=(8.4, 3.6))
    first, *others = where.axes.values()
    for ax in others:
        ax.sharey(first)
    looks = counting_looks([OURS_NAME, *RULES, "random"])
    for which, lines in every.items():
        ax = where.axes[which]
        of = lines.groupby("choice")["ln_width"]
        mean, error = of.mean(), of.sem()
        points = {OURS_NAME: (list(OURS.values()), list(OURS))}
        points |= {name: ([x], [name]) for name, x in BESIDE.items() if name in mean}
        for name, (x, choices) in points.items():
            y, look = np.exp(mean[choices]), looks[name]
            ax.errorbar(
                x, y, yerr=y * error[choices], marker=look.marker, color=look.colour, label=name,
                linestyle="-" if name == OURS_NAME else "none",
            )  # fmt: skip
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(FixedLocator(list(OURS.values())))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.0%}"))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_xlabel("share of the allowance; rules beside 100%: all of it")
        ax.set_title(
            f"{which} tables: {len(lines[lines['choice'] == 'now'])} questions; bars: one standard error",
            fontsize=8.0,
        )
    first.set_ylabel("width of the interval over that before")
    first.legend(loc="upper left")
    return where.figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=Path, default=HERE)
    args = parser.parse_args()
    every = {which: read(which, args.tables) for which in CELLS}
    for which, lines in every.items():
        choices, cells = by_choice(lines), by_cell(lines, which)
        print(f"{which}\n{choices.to_string(index=False)}\n{cells.to_string(index=False)}")
        share, never = cells["share of FLOP"].fillna(1.0), int(cells["share of FLOP"].isna().sum())
        worse = cells["chosen over it"] > 1.1
        print(
            f"share of the FLOP of the best rule for its width: {np.exp(np.log(share).mean()):.2f} "
            f"(geometric mean over cells; {never} cells never); chosen over the best "
            f"rule: {np.exp(np.log(cells['chosen over it']).mean()):.3f}, worse by over 10% in "
            f"{int(worse.sum())} of {len(cells)} cells\n"
        )
        choices.to_csv(args.tables / f"{which}_by_choice.csv", index=False)
        cells.to_csv(args.tables / f"{which}_by_cell.csv", index=False)
    save_figures([("widths", draw(every))], args.tables / "figures")


if __name__ == "__main__":
    main()
