"""What to train on limited data: with repetition, without, and what a law that ignores it would have said.

    python experiments/repeated_tokens/run.py datablations.csv

Fits the law of repeated data and the five-parameter law to the runs of Muennighoff et al. 2023
(arXiv:2305.16264), and writes prescriptions.csv beside this file, or into `--tables`. The table has the
columns params, tokens, unique_tokens, epochs, corpus, shape and loss; its figures are those of
github.com/huggingface/datablations (Apache-2.0), `utils/parametric_fit.ipynb`. Takes a few minutes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

import chinchilla_jax as cj
from chinchilla_jax.planning import LawSample
from chinchilla_jax.planning.allocation import overhead

HERE = Path(__file__).parent
ROWS = "corpus == 'c4' and shape == 'base' and tokens >= 1e9"
UNIQUE = (1e10, 1e11, 3e11)
BUDGETS = (1e22, 1e23, 1e24)


def prescriptions(path: str, resamples: int) -> pd.DataFrame:
    """A row per unique tokens, budget, way and quantity: estimate and 80% interval."""
    runs = cj.load_runs(path, where=ROWS, variables=["unique_tokens"])
    repeated = LawSample.from_bootstrap(cj.bootstrap(runs, "repeated_data", resamples=resamples))
    plain = {
        "plain law, every run": cj.load_runs(path, where=ROWS),
        "plain law, runs of one epoch": cj.load_runs(path, where=f"{ROWS} and epochs <= 1"),
    }
    others = {
        name: LawSample.from_bootstrap(cj.bootstrap(each, resamples=resamples))
        for name, each in plain.items()
    }
    rows = []
    for unique in UNIQUE:
        sample = repeated.at(variables={"unique_tokens": unique})
        for flops in BUDGETS:
            try:
                made = cj.plan(sample, flops=flops)
            except cj.ChinchillaError as error:  # more compute no longer lowers the loss
                print(error)
                continue
            frames = [made.table.assign(how="repeated"), made.beside]
            for name, other in others.items():
                table = cj.plan(other, flops=flops).table
                params, tokens = (
                    float(table.set_index("quantity")["estimate"][each]) for each in ("params", "tokens")
                )
                price = float(overhead(sample, sample.point, [params], [tokens])[0])
                loss = float(sample.loss(sample.point, params, tokens))
                extra = [("loss_on_these_data", loss), ("overhead_on_these_data", price)]
                frames += [
                    table.assign(how=name),
                    pd.DataFrame(extra, columns=["quantity", "estimate"]).assign(how=name),
                ]
            rows.append(pd.concat(frames).assign(unique_tokens=unique, flops=flops))
    found = pd.concat(rows, ignore_index=True)
    kept = found["quantity"].isin(
        [
            "params",
            "tokens",
            "epochs",
            "tokens_per_param",
            "loss",
            "loss_on_these_data",
            "overhead_on_these_data",
        ]
    )
    columns = ["unique_tokens", "flops", "how", "quantity", "estimate", "low", "high"]
    print(repeated.source, repeated.point, f"{len(repeated)} laws, {repeated.n_failed} left out")
    for name, other in others.items():
        print(name, other.point, f"{len(other)} laws, {other.n_failed} left out")
    return found.loc[kept, columns]


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data")
    parser.add_argument("--tables", type=Path, default=HERE)
    parser.add_argument("--resamples", type=int, default=400)
    arguments = parser.parse_args()
    found = prescriptions(arguments.data, arguments.resamples)
    arguments.tables.mkdir(parents=True, exist_ok=True)
    found.to_csv(arguments.tables / "prescriptions.csv", index=False, float_format="%.6g")


if __name__ == "__main__":
    main()
