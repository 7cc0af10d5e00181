"""How often do intervals of new runs hold, plain and `--calibrated`, by distance?

    python experiments/backtest/run.py DATA          # DATA: a folder with the tables as CSV files
    python experiments/backtest/run.py --smoke       # seconds

Real tables are backtested over compute, each calibrated interval by the windows before its own. Of planted
tables, whose runs follow the fitted law or another, new runs are simulated beyond the largest one, and
predicted with the calibration of the whole table. Writes real.csv, planted.csv and backtest.png beside this
file, or into `--tables`; `--pieces` keeps what is computed in a folder, and resumes.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import chinchilla_jax as cj
from chinchilla_jax.laws.scaling_law import BESIROGLU_2024 as TRUTH
from chinchilla_jax.plots.styles import BLUE, GREY, VERMILLION, styled

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from _tables import kept  # noqa: E402

LEVEL = 0.8
BANDS = ["to half a decade", "half to one", "one to two", "two and more"]

REAL: Mapping[str, tuple[str, dict[str, Any]]] = {
    "chinchilla": ("", {}),
    "llama3": ("", {}),
    "gadre c4": ("gadre", {"where": "corpus == 'c4'"}),
    "gadre redpajama": ("gadre", {"where": "corpus == 'redpajama'"}),
    "gadre refinedweb": ("gadre", {"where": "corpus == 'refinedweb'"}),
    "gemstones": ("gemstones", {"groups": ["run"]}),
    # Checkpoints of one rate, as the table asks: rows of a run err together.
    "gemstones checkpoints": (
        "gemstones_checkpoints", {"where": "learning_rate_scale == 1", "groups": ["run"], "all_states": True},
    ),
    "olmo ladder": ("olmo_ladder", {"where": "series == 'ladder'", "columns": {"flops": ""}}),
    # A law without repetition applies to runs of one epoch.
    "datablations, one epoch": (
        "datablations", {"where": ["corpus == 'c4'", "epochs <= 1", "tokens >= 1e9"]},
    ),
}  # fmt: skip

NOISE, BUDGETS = 0.005, (1e18, 1e21)
BEYOND = {"inside": -1.5, "largest run": 0.0, "half a decade": 0.5, "one decade": 1.0, "two decades": 2.0}


def _gamma(params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Terms that add up to less than their sum."""
    of_params, of_tokens = TRUTH.terms(params, tokens)
    return np.asarray(TRUTH.E + (of_params + of_tokens) ** 0.8)


def _bend(params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """The law, and half the gain of compute from 3e19 FLOP on."""
    flops = 6 * params * tokens
    of_params, of_tokens = TRUTH.terms(params, tokens)
    return np.asarray(TRUTH.E + (of_params + of_tokens) * (1 + (flops / 3e19) ** 0.5) ** 0.15)


PLANTED: Mapping[str, Callable[..., np.ndarray]] = {
    "law holds": TRUTH.loss,
    "gamma": _gamma,
    "bend": _bend,
}


def real(name: str, data: Path, resamples: int) -> pd.DataFrame:
    """Predictions of a backtest of one table."""
    file, reading = REAL[name]
    runs = cj.load_runs(data / f"{file}.csv", **reading) if file else cj.load_runs(name)
    scheme = cj.Cluster(by="run") if "run" in runs.groups else "auto"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = cj.backtest(runs, level=LEVEL, resamples=resamples, scheme=scheme)
    print(f"{name}: {found.sentence}; {found.calibration and found.calibration.sentence}", flush=True)
    return found.table.drop(columns="row").assign(table=name, runs=len(runs))


def planted(kind: str, runs: int, number: int, resamples: int, seed: int) -> pd.DataFrame:
    """New runs of one planted table at each distance, and whether intervals hold them."""
    generator = np.random.default_rng([seed, list(PLANTED).index(kind), runs, number])
    budgets = runs // 6
    flops, ratio = np.meshgrid(np.geomspace(*BUDGETS, budgets), np.geomspace(3, 150, 6))
    params = np.sqrt(flops / 6 / ratio).ravel()
    tokens = params * ratio.ravel()

    def losses(params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        errors = NOISE * generator.standard_normal(len(params))
        return np.asarray(PLANTED[kind](params, tokens)) * np.exp(errors)

    table = cj.Runs(params=params, tokens=tokens, loss=losses(params, tokens))
    places = BUDGETS[1] * 10.0 ** np.array(list(BEYOND.values()))
    size = np.sqrt(places / 6 / 20)
    observed = losses(size, 20 * size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        boot = cj.bootstrap(table, resamples=resamples, seed=number)
        found = cj.backtest(table, level=LEVEL, resamples=resamples, seed=number)
        frame = pd.DataFrame({"kind": kind, "runs": runs, "place": list(BEYOND), "observed": observed})
        for name, calibration in (("plain", None), ("calibrated", found.calibration)):
            of = cj.predict(boot, {"params": size, "tokens": 20 * size}, level=LEVEL, calibration=calibration)
            low, high = of.table["new_run_low"], of.table["new_run_high"]
            frame[name], frame[f"{name}_width"] = (low <= observed) & (observed <= high), np.log(high / low)
    return frame


def real_table(lines: pd.DataFrame) -> pd.DataFrame:
    """Shares by table and distance."""
    rows = []
    decades = lines["log_distance"] / np.log(10)
    band = pd.cut(decades, [-np.inf, 0.5, 1.0, 2.0, np.inf], right=False, labels=BANDS)
    tables = pd.Categorical(lines["table"], list(dict.fromkeys(lines["table"])))
    for (name, place), of in lines.groupby([tables, band], observed=True):
        known = of[of["calibrated_low"].notna()]
        inside = {
            each: known["observed"].between(known[f"{each}_low"], known[f"{each}_high"]).mean()
            for each in ("new_run", "calibrated")
        }
        widths = {each: 50 * np.log(known[f"{each}_high"] / known[f"{each}_low"]).median() for each in inside}
        rows.append(
            {
                "table": name, "runs": of["runs"].iloc[0], "distance": place, "predictions": len(of),
                "windows": of["window"].nunique(), "error %": 100 * of["error"].abs().median(),
                "mean held %": 100 * of["in_mean"].mean(), "plain held %": 100 * of["in_new_run"].mean(),
                "judged": len(known), "judged windows": known["window"].nunique(),
                "plain held % of judged": 100 * inside["new_run"],
                "calibrated held %": 100 * inside["calibrated"],
                "plain half width %": widths["new_run"], "calibrated half width %": widths["calibrated"],
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def planted_table(lines: pd.DataFrame) -> pd.DataFrame:
    """Shares by kind, number of runs and distance."""
    rows = []
    for (kind, runs, place), of in lines.groupby(["kind", "runs", "place"], sort=False):
        rows.append(
            {
                "kind": kind, "runs": runs, "place": place, "tables": len(of),
                "plain held %": 100 * of["plain"].mean(), "calibrated held %": 100 * of["calibrated"].mean(),
                "plain half width %": 50 * of["plain_width"].median(),
                "calibrated half width %": 50 * of["calibrated_width"].median(),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


@styled
def plot(real_rows: pd.DataFrame, planted_rows: pd.DataFrame) -> Figure:
    """Draw the share held, plain and calibrated, on every table and distance."""
    figure = Figure(figsize=(9.6, 4.8), layout="constrained")
    axes = figure.subplots(1, 2, sharex=True)
    judged = real_rows[real_rows["judged"] >= 10]
    of_real = [f"{row['table']}, {row['distance']}" for _, row in judged.iterrows()]
    far = planted_rows[planted_rows["place"].isin(["largest run", "one decade", "two decades"])]
    of_planted = [f"{row['kind']}, {row['runs']} runs, {row['place']}" for _, row in far.iterrows()]
    for ax, rows, names, plain, title in (
        (axes[0], judged, of_real, "plain held % of judged", "real tables, by distance beyond the window"),
        (axes[1], far, of_planted, "plain held %", "planted tables"),
    ):
        places = np.arange(len(rows))[::-1]
        ax.axvspan(
            100 * LEVEL - 5, 100 * LEVEL + 5, color="#dddddd", linewidth=0, label="within 5 points of 80%"
        )
        ax.hlines(places, rows[plain], rows["calibrated held %"], color=GREY, linewidth=0.8)
        ax.plot(rows[plain], places, "o", color=VERMILLION, markersize=4, label="plain")
        # Open and larger: a dot of the same share shows through.
        ax.plot(
            rows["calibrated held %"], places, "s", color=BLUE, fillstyle="none", markersize=6,
            label="calibrated",
        )  # fmt: skip
        ax.set_yticks(places, names, fontsize=6.5)
        ax.set_xlim(-3, 103)
        ax.set_title(title, fontsize=8.0)
        ax.set_xlabel("runs inside the 80% interval of a new run (%)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def planted_tables(kind: str, runs: int, args: argparse.Namespace) -> pd.DataFrame:
    """`planted` for as many tables as asked."""
    return pd.concat(planted(kind, runs, i, args.resamples, args.seed) for i in range(args.planted))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", help="folder of the real tables")
    parser.add_argument("--resamples", type=int, default=400)
    parser.add_argument("--planted", type=int, default=60, help="planted tables of each kind")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--pieces", type=Path, help="folder that keeps what is computed")
    parser.add_argument("--tables", type=Path, default=HERE)
    parser.add_argument(
        "--smoke", action="store_true", help="one real table, one planted; nothing is written"
    )
    args = parser.parse_args(arguments)
    if args.smoke:
        args.resamples, args.planted = 40, 1
    elif args.data is None:
        parser.error("give the folder of the real tables")
    names = ["llama3"] if args.smoke else list(REAL)
    of_real = [kept(args.pieces, each, real, each, args.data, args.resamples) for each in names]
    kinds = [("law holds", 24)] if args.smoke else [(kind, runs) for kind in PLANTED for runs in (24, 48)]
    of_planted = [
        kept(args.pieces, f"{kind} {runs}", planted_tables, kind, runs, args) for kind, runs in kinds
    ]
    found = {"real": real_table(pd.concat(of_real)), "planted": planted_table(pd.concat(of_planted))}
    for name, table in found.items():
        print(f"\n{name}\n{table.to_string(index=False, float_format=lambda value: f'{value:.3g}')}")
        if not args.smoke:
            args.tables.mkdir(parents=True, exist_ok=True)
            table.to_csv(args.tables / f"{name}.csv", index=False, float_format="%.6g")
    if not args.smoke:
        plot(found["real"], found["planted"]).savefig(args.tables / "backtest.png", dpi=150)


if __name__ == "__main__":
    main()
