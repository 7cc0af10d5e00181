"""Published recipes compared: training corpora, shapes, repeated data, quantised training.

    python experiments/recipes/run.py DATA                 # DATA: a folder with the tables as CSV files
    python experiments/recipes/run.py DATA --pages DIR     # also a page for each comparison

Writes multipliers, ranking, crossings and places as .csv, sentences.txt and a figure for each comparison
beside this file, or into `--tables`. `--only` does some comparisons again and keeps the others.
"""

from __future__ import annotations

import argparse
import dataclasses
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

import chinchilla_jax as cj
from chinchilla_jax.plots import comparison, save_figures
from chinchilla_jax.report import write_comparison

HERE = Path(__file__).parent
CORPORA = ("c4", "redpajama", "refinedweb")
_LONG = "tokens >= 1e9"  # the shortest runs of datablations are not those of a law


@dataclasses.dataclass(frozen=True)
class Case:
    """A comparison: a table, the rows of each recipe, how they are read and how compared."""

    file: str
    recipes: Mapping[str, str | list[str]]
    reading: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def _corpora(loss: str) -> Case:
    recipes = {name: f"corpus == '{name}'" for name in CORPORA}
    return Case("gadre", recipes, {"columns": {"loss": loss}})


CASES: Mapping[str, Case] = {
    # One validation loss each: every corpus is compared on the same tokens.
    "corpora by c4": _corpora("loss"),
    "corpora by redpajama": _corpora("loss_paloma_redpajama"),
    "corpora by refinedweb": _corpora("loss_paloma_refinedweb"),
    # The rows of a shape share their trunk: shapes are resampled, and not rows.
    "shapes": Case(
        "gemstones",
        {"deep": "16 <= width / depth < 64", "wide": "width / depth >= 64"},
        {"groups": ["run"]},
        {"scheme": cj.Cluster(by="run"), "pair": "none"},
    ),
    # A law of total tokens describes few epochs only, and each of these tables alone hardly determines E.
    "repeated data": Case(
        "datablations",
        {
            "one epoch": ["corpus == 'c4'", _LONG, "epochs <= 1"],
            "2 to 4 epochs": ["corpus == 'c4'", _LONG, "1 < epochs <= 4.1"],
            "5 to 15 epochs": ["corpus == 'c4'", _LONG, "4.1 < epochs <= 15"],
        },
        {},
        {"share": "all", "places": [(4e8, 8e9), (2.8e9, 5.6e10)]},
    ),
    # Different bits are never pooled. All have one tokenizer and validation set.
    "quantised": Case(
        "quest",
        {
            "16 bits": "weight_quantizer == 'none'",
            **{
                f"{bits} bits": f"weight_quantizer == 'HalfHadamardTrust' and weight_bits == {bits} "
                f"and activation_bits == {bits}"
                for bits in (4, 3, 2)
            },
        },
        {"columns": {"params": "params_non_embedding"}},
        {"share": "all"},
    ),
}


def compared(case: Case, data: Path, resamples: int) -> cj.planning.Comparison:
    """The comparison of a case, at 1e20 FLOP, the largest run and ten times that."""
    runs = [
        cj.load_runs(data / f"{case.file}.csv", where=rows, **case.reading) for rows in case.recipes.values()
    ]
    largest = max(float((6 * each.params * each.tokens).max()) for each in runs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return cj.compare(
            *runs, names=list(case.recipes), flops=sorted({1e20, largest, 10 * largest}), resamples=resamples,
            **case.options,
        )  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the tables")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--only", nargs="*", choices=list(CASES), help="comparisons to do")
    parser.add_argument("--tables", type=Path, default=HERE)
    parser.add_argument("--pages", type=Path, help="folder for a page of each comparison")
    args = parser.parse_args(arguments)
    frames: dict[str, list[pd.DataFrame]] = {
        "multipliers": [], "ranking": [], "crossings": [], "places": [],
    }  # fmt: skip
    said = []
    for name in args.only or CASES:
        found = compared(CASES[name], args.data, args.resamples)
        tables = {
            "multipliers": found.table.assign(doubt=found.doubts),
            "ranking": found.ranking,
            "crossings": found.crossings,
            "places": found.places,
        }
        for kind, table in tables.items():
            if table is not None:
                frames[kind].append(table.assign(comparison=name))
        lines = [*found.sentences, f"Resampling: {found.laws.pairing}"]
        lines += [f"Warning: {each}" for each in found.warnings]
        said.append("\n".join([name, *(f"  {line}" for line in lines)]))
        print(said[-1], flush=True)
        figure = comparison(found)
        save_figures([(name.replace(" ", "_"), figure)], args.tables)
        if args.pages is not None:
            args.pages.mkdir(parents=True, exist_ok=True)
            write_comparison(found, args.pages / f"{name.replace(' ', '_')}.html")
    for kind, of in frames.items():
        if of:
            _write(pd.concat(of, ignore_index=True), args.tables / f"{kind}.csv", args.only)
    text = args.tables / "sentences.txt"
    if args.only and text.exists():
        old = [each.strip("\n") for each in text.read_text(encoding="utf-8").split("\n\n")]
        said = [each for each in old if each.splitlines()[0] not in args.only] + said
    text.write_text("\n\n".join(said) + "\n", encoding="utf-8")


def _write(table: pd.DataFrame, file: Path, only: list[str] | None) -> None:
    if only and file.exists():
        kept = pd.read_csv(file)
        table = pd.concat([kept[~kept["comparison"].isin(only)], table], ignore_index=True)
    table.to_csv(file, index=False, float_format="%.6g")


if __name__ == "__main__":
    main()
