"""IsoFLOP estimates: the Llama 3 runs as published, and the bias on noise-free surfaces (Czech et al. 2026).

python experiments/czech2026/run.py
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

import chinchilla_jax as cj
from chinchilla_jax import planning, plots
from chinchilla_jax.plots import save_figures

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from _tables import write  # noqa: E402

LLAMA_3 = 3.8e25  # FLOP, the budget of the largest model
BUDGETS = np.geomspace(1e18, 1e22, 9)
GRID = np.linspace(-1, 1, 15) * np.log(10)
# Named by beta/alpha and by where the grids of sizes lie; alpha + beta = 0.65 throughout.
SURFACES = {
    "equal exponents, centred": (1.0, 0.0, 0.0),
    "beta/alpha = 1.5, centred": (1.5, 0.0, 0.0),
    "beta/alpha = 3, centred": (3.0, 0.0, 0.0),
    "equal exponents, sizes 5 times too large": (1.0, np.log(5), 0.0),
    "equal exponents, from 5 times too small to 5 times too large": (1.0, -np.log(5), 2 * np.log(5)),
    "beta/alpha = 3, from 5 times too small to 5 times too large": (3.0, -np.log(5), 2 * np.log(5)),
}


# Exponents, then the offset of the grids (in factors of 3) at the lowest and at the highest budget.
PRINTED = (
    ("chinchilla surface", (0.34, 0.28, 0, 0), {2: -0.326938, 4: -1.301125, 8: -2.902905, 16: -5.100245}),
    ("asymmetric surface", (0.465, 0.155, 0, 0), {2: -1.674748, 4: -6.497779, 8: -13.910419, 16: -23.116308}),
    ("symmetric surface, offset", (0.31, 0.31, 1, 1), {2: 3.974244, 4: 3.471818, 8: 2.645165, 16: 1.509792}),
    ("symmetric surface, drift", (0.31, 0.31, 0, 1), {2: 6.070972, 4: 5.171168, 8: 3.697903, 16: 1.689067}),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resamples", type=int, default=4000)
    parser.add_argument("--tables", type=Path, default=HERE)
    args = parser.parse_args()
    runs = cj.load_runs("llama3")
    result = planning.isoflop(runs, resamples=args.resamples)
    boot = cj.bootstrap(runs, resamples=args.resamples)
    sample = planning.LawSample.from_bootstrap(boot)
    write(_llama(result, sample), args.tables)
    write(_published_surfaces(), args.tables, "published_surfaces")
    surfaces = _surfaces()
    write(surfaces, args.tables, "surfaces")
    planning.compare_methods(result, sample, [1e22, 1e24, LLAMA_3]).to_csv(
        args.tables / "llama3.csv", index=False
    )
    figures = [
        ("isoflop_llama3", plots.isoflop(result, sample, beyond=1e4)),
        ("parabola_bias", plots.parabola_bias(plots.parabola_bias_table())),
    ]
    save_figures(figures, args.tables / "figures", dpi=120)


def _llama(result: planning.IsoflopResult, sample: planning.LawSample) -> list[tuple[str, str, str, str]]:
    table = planning.compare_methods(result, sample, [LLAMA_3]).set_index(["quantity", "method"])

    def row(quantity: str, method: str, scale: float) -> str:
        found = table.loc[(quantity, method)]
        return f"{scale * found['estimate']:.4g} ({scale * found['low']:.4g} to {scale * found['high']:.4g})"

    tokens = result.exponents().set_index("quantity").loc["tokens"]
    every = result.optimal(LLAMA_3)[1][:, 0] / 1e12
    low, high = np.nanquantile(every[1:], [0.1, 0.9])
    at_product = [float(each[0, 0]) for each in result.optimal(6 * 402e9 * 16.55e12)]
    at_product = [at_product[0] / 1e9, at_product[1] / 1e12]
    law_tokens = np.asarray(sample.laws.optimal(LLAMA_3)[1]) / 1e12
    law_limits = np.quantile(law_tokens, [0.1, 0.9])
    exponent = table.loc[("exponent_params", "parametric")]
    return [
        (
            "exponent of tokens",
            "0.53",
            f"{tokens['estimate']:.3f} ({tokens['low']:.3f} to {tokens['high']:.3f})",
            f"parametric fit: {1 - exponent['estimate']:.3f} ({1 - exponent['high']:.3f} to "
            f"{1 - exponent['low']:.3f})",
        ),
        (
            "parameters at 3.8e25 FLOP (10^9)",
            "402",
            row("params", "isoflop", 1e-9),
            f"parametric fit: {row('params', 'parametric', 1e-9)}",
        ),
        (
            "tokens at 3.8e25 FLOP (10^12)",
            "16.55",
            f"{every[0]:.4g} ({low:.4g} to {high:.4g})",
            f"402e9 x 16.55e12 x 6 is 3.99e25, where ours are {at_product[0]:.4g} and {at_product[1]:.4g}; "
            f"parametric fit: {float(sample.point.optimal(LLAMA_3)[1]) / 1e12:.4g} "
            f"({law_limits[0]:.4g} to {law_limits[1]:.4g})",
        ),
    ]


def _published_surfaces() -> list[tuple[str, str, str, str]]:
    """Errors of the tokens at 1e24 FLOP as printed in the article of the paper's code, on its own surfaces.

    github.com/Open-Athena/scaling-law-analysis, results/article: 15 sizes, a factor of 2 to 16 each way, on
    budgets of 1e17 to 1e21. "offset": grids of a third of the optimal sizes; "drift": from right to a third.
    """
    budgets, rows = np.geomspace(1e17, 1e21, 5), []
    for name, (alpha, beta, start, end), figures in PRINTED:
        law = cj.ScalingLaw(E=1.69, A=406.4, B=410.7, alpha=alpha, beta=beta)
        shift = np.linspace(start, end, len(budgets)) * np.log(3)
        for factor, printed in figures.items():
            grid = np.linspace(-1, 1, 15) * np.log(factor)
            params = np.asarray(law.optimal(budgets)[0])[:, None] * np.exp(grid - shift[:, None])
            flops = np.broadcast_to(budgets[:, None], params.shape)
            tokens = flops / 6 / params
            loss = np.asarray(law.loss(params, tokens))
            runs = cj.Runs(params.ravel(), tokens.ravel(), flops.ravel(), loss.ravel(), name=name)
            found = planning.isoflop(runs, resamples=0, extrapolated=True).optimal(1e24)[1][0, 0]
            error = 100 * (found / law.optimal(1e24)[1] - 1)
            rows.append(
                (f"{name}, factor {factor}", f"{printed:+.4f}%", f"{error:+.4f}%", "error of the tokens")
            )
    return rows


def _surfaces() -> list[tuple[str, str, str, str]]:
    """Noise-free runs, and the estimates of each method."""
    rows = []
    for name, (skew, start, span) in SURFACES.items():
        alpha = 0.65 / (1 + skew)
        law = cj.ScalingLaw(E=1.7, A=400.0, B=2000.0, alpha=alpha, beta=0.65 - alpha)
        shift = start + span * np.linspace(0, 1, len(BUDGETS))
        params = np.asarray(law.optimal(BUDGETS)[0])[:, None] * np.exp(GRID + shift[:, None])
        flops = np.broadcast_to(BUDGETS[:, None], params.shape)
        tokens = flops / 6 / params
        loss = np.asarray(law.loss(params, tokens))
        runs = cj.Runs(params.ravel(), tokens.ravel(), flops.ravel(), loss.ravel(), name=name)
        by_parabola = planning.isoflop(runs, resamples=0, extrapolated=True)
        fitted = cj.fit(runs, starts=64)
        true = float(law.exponents[0])
        errors = []
        for exponent, size in (
            (by_parabola.exponent[0], by_parabola.optimal(1e24)[0][0, 0]),
            (fitted.law.exponents[0], fitted.law.optimal(1e24)[0]),
        ):
            away = 100 * (size / law.optimal(1e24)[0] - 1)
            errors.append(f"exponent {exponent:.4f}, size at 1e24 FLOP {away:+.1f}%")
        rows.append((name, f"exponent {true:.4f}", errors[0], f"parametric fit: {errors[1]}"))
    return rows


if __name__ == "__main__":
    main()
