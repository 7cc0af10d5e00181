"""Over-training: the predictions of Gadre et al. 2024 (arXiv:2403.08540), figure 1, from their five runs.

python experiments/gadre2024/run.py gadre.csv

The table has the runs of github.com/mlfoundations/scaling: corpus, params, tokens, tokens_per_param_over_20
and loss, the C4 validation loss.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.optimize

import chinchilla_jax as cj

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from _tables import table_options, write  # noqa: E402

# Relative errors that scaling_explorer.ipynb prints, by params and tokens per parameter; RedPajama.
PUBLISHED = {(1439795200, 640): 0.007103, (6889410560, 20): 0.007320}
FITTED = (10569312, 78914048, 153677376, 411616256)  # at 20 tokens per parameter; the first one at 320 too


def main() -> None:
    args = table_options(__doc__, HERE)
    table = pd.read_csv(args.data)
    rows = []
    for corpus in ("redpajama", "c4", "refinedweb"):
        own = table[table["corpus"] == corpus]
        ratio = own["tokens_per_param_over_20"]
        five = own[
            (own["params"].isin(FITTED) & (ratio == 1)) | ((own["params"] == FITTED[0]) & (ratio == 16))
        ]
        # Squared errors of the loss itself, as scipy.optimize.curve_fit has them there.
        # Five runs for four parameters, which `load_runs` would refuse.
        runs = cj.Runs(five["params"].to_numpy(), five["tokens"].to_numpy(), loss=five["loss"].to_numpy())
        fit = cj.fit(runs, "over_training", objective="raw_squared")
        theirs = _curve_fit(five)
        rest = own.drop(five.index)
        small = own[own["params"] < 1e9]
        boot = cj.bootstrap(cj.load_runs(small), "over_training", resamples=args.resamples, scheme="pairs")
        for name, value in theirs.items():
            limits = boot.interval().set_index("parameter").loc[name]
            ours = f"{fit.parameters[name]:.5g}"
            note = (
                f"{fit.status.name}; of all {len(small)} runs below 1e9 parameters "
                f"{limits['estimate']:.4g} [{limits['low']:.4g}, {limits['high']:.4g}]"
            )
            rows.append((f"{corpus}: {name}, of five runs", f"{value:.5g}", ours, note))
        for params, tokens, loss in rest[["params", "tokens", "loss"]].itertuples(index=False):
            known = PUBLISHED.get((params, round(tokens / params))) if corpus == "redpajama" else None
            if params < 1e9 or (corpus == "redpajama" and known is None):
                continue
            ours = abs(float(fit.law.loss(params, tokens)) / loss - 1)
            low, high = np.quantile(boot.laws.loss(params, tokens)[boot.counted] / loss - 1, [0.1, 0.9])
            rows.append(
                (
                    f"{corpus}: relative error at {params:.3g} params, {tokens / params:.0f} tokens each",
                    "-" if known is None else f"{known:.4%}",
                    f"{ours:.4%}",
                    f"from all runs below 1e9 parameters {low:+.2%} to {high:+.2%}",
                )
            )
    write(rows, args.tables)


def _curve_fit(table: pd.DataFrame) -> dict[str, float]:
    """The least squares of their code, from its starts, in the parameters of the law here."""
    n, m = table["params"].to_numpy(float), (table["tokens"] / table["params"]).to_numpy(float)
    loss = table["loss"].to_numpy(float)

    def predict(x, a, b, power, floor):  # type: ignore[no-untyped-def]
        return a * n**power + b * 6 ** (power / 2) * (m * n) ** power + floor

    best, least = None, np.inf
    for a in (1e2, 3e2, 1e3, 3e3):
        for b in (1e2, 3e2, 1e3, 3e3):
            for power in (-0.1, -0.3):
                for floor in (0.0, 1.0, 2.0, 10.0):
                    start = [a, b, power, floor]
                    found, _ = scipy.optimize.curve_fit(predict, n, loss, p0=start, maxfev=10000)
                    error = float(((predict(n, *found) - loss) ** 2).sum())
                    if error < least:
                        best, least = found, error
    assert best is not None
    a, b, power, floor = (float(value) for value in best)
    eta = -power / 2
    # a N^-2eta = (a 6^eta) M^eta C^-eta, and b 6^-eta D^-2eta = b M^-eta C^-eta.
    return {"E": floor, "a": a * 6**eta, "b": b, "eta": eta}


if __name__ == "__main__":
    main()
