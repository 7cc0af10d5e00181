"""Every law on every public table that has its variables, by the error of runs it was not fitted to.

    python experiments/laws_by_tables/run.py DATA

DATA is a folder with the tables as CSV files, see README.md. Writes errors.csv, sentences.txt and the figure
beside this file. `--only` does some of the tables again and keeps the others.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure

import chinchilla_jax as cj
from chinchilla_jax.analysis import compare_forms
from chinchilla_jax.analysis.comparable_laws import comparable_laws
from chinchilla_jax.laws import LAWS
from chinchilla_jax.plots.styles import styled

HERE = Path(__file__).parent
_FEWEST = 12  # runs of a table that leave enough below a budget
NON_EMBEDDING = {"columns": {"params": "params_non_embedding"}}


def _of(name: str, where: str, **reading: Any) -> tuple[str, dict[str, Any]]:
    return name, {"where": where, **reading}


TABLES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "chinchilla": ("", {}),
    "llama3": ("", {}),
    "cs336 (synthetic)": ("cs336_isoflops", {}),
    "gadre c4": _of("gadre", "corpus == 'c4'"),
    "gadre redpajama": _of("gadre", "corpus == 'redpajama'"),
    "gadre refinedweb": _of("gadre", "corpus == 'refinedweb'"),
    "gemstones": ("gemstones", {}),
    "olmo ladder": _of("olmo_ladder", "series == 'ladder'", columns={"flops": ""}),
    "datablations": _of("datablations", "corpus == 'c4'"),
    "routing S-Base": _of("routing", "router == 'S-Base'", columns={"params": "params", "flops": ""}),
    "routing RL-R": _of("routing", "router == 'RL-R'", columns={"params": "params", "flops": ""}),
    "routing Hash": _of("routing", "router == 'Hash'", columns={"params": "params", "flops": ""}),
    # Never pooled: runs of other bits, in the weights or in the activations.
    **{
        f"quest {bits} bits": _of(
            "quest",
            f"weight_quantizer == 'HalfHadamardTrust' and weight_bits == activation_bits == {bits}",
            **NON_EMBEDDING,
        )
        for bits in (2, 3, 4)
    },
}


def read(name: str, data: Path) -> cj.Runs:
    """The runs of a table, with what further variables of laws it has."""
    file, reading = TABLES[name]
    if not file:
        return cj.load_runs(name)
    return cj.load_runs(data / f"{file}.csv", known_variables=True, **reading)


def errors(name: str, args: argparse.Namespace) -> tuple[pd.DataFrame, list[str]]:
    """The rows of a table, and what they say."""
    runs = read(name, args.data)
    laws, left_out = comparable_laws(runs)
    found = compare_forms(
        runs,
        [*laws, "farseer", "compute_only"],
        splits=["runs", "flops"] if len(runs) >= _FEWEST else ["runs"],
        folds=args.folds,
        resamples=args.resamples,
        seed=args.seed,
    )
    table = found.table
    table.insert(0, "table", name)
    table.insert(1, "runs", len(runs))
    missing = [why for why in left_out if " needs " not in why and "name it" not in why]
    return table, [*found.sentences, *(f"Left out: {why}" for why in (*missing, *found.left_out))]


@styled
def plot_errors(rows: pd.DataFrame) -> Figure:
    """Draw the error of each law on each table, and which laws cannot be told from the best.

    Args:
        rows: of `errors`, of all tables.
    """
    tables = [name for name in TABLES if name in set(rows["table"])]
    laws = [name for name in LAWS if name in set(rows["form"])]
    kinds = {"folds of runs": "held out at random", "FLOP": "held out above a budget"}
    figure = Figure(figsize=(12.5, 1.6 + 0.36 * len(tables)), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    colours = LinearSegmentedColormap.from_list("errors", ["#ffffff", "#56b4e9", "#003f6b"])
    for ax, (mark, title) in zip(axes, kinds.items(), strict=True):
        chosen = rows[rows["split"].str.contains(mark)].drop_duplicates(["table", "form"])
        cells = chosen.pivot_table(index="table", columns="form", values="error", sort=False)
        cells = cells.reindex(index=tables, columns=laws)
        best = cells.min(axis=1).to_numpy()[:, None]
        with np.errstate(invalid="ignore"):
            relative = cells.to_numpy() / best
        ax.imshow(relative, cmap=colours, norm=LogNorm(1, 10), aspect="auto")
        held = chosen.set_index(["table", "form"])["p_best"]
        for i, table in enumerate(tables):
            for j, law in enumerate(laws):
                value = cells.iloc[i, j]
                if not np.isfinite(value):
                    continue
                alike = held.get((table, law), np.nan) >= 0.2
                colour = "white" if relative[i, j] > 3 else "black"
                weight = "bold" if alike else "normal"
                ax.text(j, i, f"{100 * value:.2g}", ha="center", va="center", color=colour, weight=weight)
        ax.set_xticks(range(len(laws)), laws, rotation=35, ha="right")
        ax.set_yticks(range(len(tables)), tables)
        ax.set_title(f"{title}: mean error (%)")
        ax.grid(visible=False)
        ax.tick_params(length=0)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder of the tables")
    parser.add_argument("--only", nargs="*", choices=list(TABLES), default=list(TABLES))
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--resamples", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=HERE)
    args = parser.parse_args()
    (args.out / "figures").mkdir(parents=True, exist_ok=True)
    path, said_path = args.out / "errors.csv", args.out / "sentences.txt"
    rows = pd.read_csv(path) if path.exists() else pd.DataFrame({"table": []})
    said = dict(_sections(said_path.read_text())) if said_path.exists() else {}
    for name in args.only:
        begun = time.perf_counter()
        try:
            found, said[name] = errors(name, args)
        except cj.ChinchillaError as error:
            found, said[name] = pd.DataFrame({"table": []}), [f"Not compared: {error}"]
        kept = rows[rows["table"] != name]
        full = [each for each in (kept, found) if len(each)]
        rows = pd.concat(full, ignore_index=True) if full else kept
        rows.to_csv(path, index=False, float_format="%.5g")
        ordered = [each for each in TABLES if each in said]
        said_path.write_text("\n\n".join("\n".join([f"# {each}", *said[each]]) for each in ordered) + "\n")
        print(f"{name}: {time.perf_counter() - begun:.0f} s", *said[name], sep="\n  ", flush=True)
    plot_errors(rows).savefig(args.out / "figures" / "errors.png", dpi=120)


def _sections(text: str) -> list[tuple[str, list[str]]]:
    """The tables and their sentences in sentences.txt."""
    parts = [part.split("\n") for part in text.strip().split("\n\n")]
    return [(lines[0].removeprefix("# "), lines[1:]) for lines in parts]


if __name__ == "__main__":
    main()
