"""The prescriptions of Hoffmann et al. 2022 (arXiv:2203.15556) and those of a fit to their runs.

python experiments/hoffmann2022/run.py
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

import chinchilla_jax as cj
from chinchilla_jax import planning, plots
from chinchilla_jax.datasets.counting import Architecture
from chinchilla_jax.laws.compute import GOPHER_FLOPS
from chinchilla_jax.laws.scaling_law import HOFFMANN_2022
from chinchilla_jax.plots import save_figures

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from _tables import write  # noqa: E402

# Table A4: name, parameters, layers, d_model, ffw_size, heads, kv_size, ratio of FLOP to 6 N D.
TABLE_A4 = (
    ("73M", 73e6, 10, 640, 2560, 10, 64, 1.03),
    ("305M", 305e6, 20, 1024, 4096, 16, 64, 1.10),
    ("552M", 552e6, 24, 1280, 5120, 10, 128, 1.08),
    ("1.1B", 1.143e9, 26, 1792, 7168, 14, 128, 1.04),
    ("1.6B", 1.6e9, 28, 2048, 8192, 16, 128, 1.03),
    ("6.8B", 6.8e9, 40, 3584, 14336, 28, 128, 0.99),
)


# Table A3, approach 3: compute and tokens that make a size optimal. Its FLOP for 175B (1.26e24) is not
# 6 N D of its own tokens (1.26e25), which is listed here.
TABLE_A3 = (
    ("1B", 1e9, 1.62e20, 27.1e9),
    ("10B", 1e10, 2.46e22, 410.1e9),
    ("67B", 67e9, 1.71e24, 4.1e12),
    ("175B", 175e9, 1.26e25, 12.0e12),
    ("1T", 1e12, 5.65e26, 94.1e12),
)
_BATCH = "without embedding; at the critical batch, where half of the compute counts"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resamples", type=int, default=4000)
    parser.add_argument("--tables", type=Path, default=HERE)
    args = parser.parse_args()
    runs = cj.load_runs("chinchilla")
    sample = planning.LawSample.from_bootstrap(cj.bootstrap(runs, resamples=args.resamples))
    rows = [*_allocation(sample), *_isoflop(runs, args.resamples), *_flops()]
    write(rows, args.tables)
    placed = planning.place_models(sample, planning.known_models())
    placed.to_csv(args.tables / "known_models.csv", index=False)
    result = planning.isoflop(runs, resamples=args.resamples)
    figures = [
        ("optimum_by_compute", plots.plan(sample, models=planning.known_models())),
        ("loss_contours", plots.loss_surface(sample)),
        ("model_ratios", plots.model_ratios(placed)),
        ("flop_ratio", plots.flop_ratio(planning.flop_ratio_table(), plots.context_cost_table())),
        ("isoflop", plots.isoflop(result, sample)),
    ]
    save_figures(figures, args.tables / "figures", dpi=120)


def _allocation(sample: planning.LawSample) -> list[tuple[str, str, str, str]]:
    published = planning.plan(planning.LawSample.from_law(HOFFMANN_2022), flops=GOPHER_FLOPS).table.set_index(
        "quantity"
    )
    fitted = planning.plan(sample, flops=GOPHER_FLOPS).table.set_index("quantity")

    def band(quantity: str, scale: float, unit: str) -> str:
        estimate, low, high = (scale * fitted.loc[quantity, name] for name in ("estimate", "low", "high"))
        return f"the laws fitted here: {estimate:.3g}{unit} ({low:.3g} to {high:.3g})"

    kaplan = planning.KAPLAN_2020
    return [
        (
            "optimal size at Gopher's budget, approach 3",
            "40B",
            f"{published.loc['params', 'estimate'] / 1e9:.1f}B",
            band("params", 1e-9, "B"),
        ),
        (
            "exponents of params and tokens, approach 3",
            "0.46, 0.54",
            ", ".join(f"{float(each):.2f}" for each in HOFFMANN_2022.exponents),
            ", ".join(f"{float(each):.2f}" for each in sample.point.exponents) + " for the law fitted here",
        ),
        (
            "tokens per parameter there",
            "-",
            f"{published.loc['tokens_per_param', 'estimate']:.1f}",
            band("tokens_per_param", 1, ""),
        ),
        (
            "compute that the 20:1 rule wastes there",
            "-",
            f"{published.loc['rule_overhead', 'estimate']:.1%}",
            band("rule_overhead", 100, "%"),
        ),
        (
            "optimal size there, Kaplan et al. 2020",
            "-",
            f"{kaplan.optimal(GOPHER_FLOPS)[0] / 1e9:.0f}B",
            _BATCH,
        ),
        (
            "optimal size at 1e21, Kaplan et al. 2020",
            "4.68B",
            f"{kaplan.optimal(1e21)[0] / 1e9:.2f}B",
            _BATCH,
        ),
        *_table_a3(),
    ]


def _table_a3() -> list[tuple[str, str, str, str]]:
    """Table A3: compute and tokens for which a size is optimal by approach 3, under the published law."""
    law, rows = planning.LawSample.from_law(HOFFMANN_2022), []
    for name, params, flops, tokens in TABLE_A3:
        point = planning.plan(law, params=params).table.set_index("quantity")["estimate"]
        ours = f"{point['flops']:.3g} FLOP, {point['tokens']:.3g}"
        away = f"{point['flops'] / flops - 1:+.0%} FLOP"
        note = f"{away}; Table A3 does not follow from the published law, here with unrounded parameters"
        rows.append(
            (f"compute and tokens for {name}, approach 3", f"{flops:.3g} FLOP, {tokens:.3g}", ours, note)
        )
    return rows


def _isoflop(runs: cj.Runs, resamples: int) -> list[tuple[str, str, str, str]]:
    result = planning.isoflop(runs, resamples=resamples)
    table = result.exponents().set_index("quantity")
    rows = []
    for quantity, published in (("params", "0.49 (0.462, 0.534)"), ("tokens", "0.51 (0.483, 0.529)")):
        point, low, high = (table.loc[quantity, name] for name in ("estimate", "low", "high"))
        rows.append(
            (
                f"exponent of {quantity}, approach 2",
                published,
                f"{point:.3f} ({low:.3f}, {high:.3f})",
                f"runs read off the figure; {result.n_left_out} of {len(runs)} at none of the nine budgets",
            )
        )
    n, d = (np.asarray(each)[:, 0] for each in result.optimal(GOPHER_FLOPS))
    for quantity, published, values, scale, unit in (
        ("size", "63B", n, 1e-9, "B"),
        ("tokens", "1.4T", d, 1e-12, "T"),
    ):
        low, high = scale * np.nanquantile(values[1:], [0.1, 0.9])
        ours = f"{scale * values[0]:.3g}{unit} ({low:.3g} to {high:.3g})"
        rows.append((f"{quantity} at Gopher's budget, approach 2", published, ours, "as above"))
    return rows


def _flops() -> list[tuple[str, str, str, str]]:
    rows = []
    for name, params, layers, d, f, heads, kv, published in TABLE_A4:
        architecture = Architecture(
            d_model=d, ffw_size=f, kv_size=kv, n_heads=heads, n_layers=layers, vocab_size=32_000
        )
        whole, alone = (float(np.asarray(each)) for each in planning.flop_ratio(architecture, params))
        note = f"layers alone; {whole:.2f} with embedding and logits"
        rows.append((f"training FLOP over 6 N D, {name}", f"{published:.2f}", f"{alone:.3f}", note))
    return rows


if __name__ == "__main__":
    main()
