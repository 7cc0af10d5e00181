"""The inference-aware optimum of Sardana & Frankle 2023 (arXiv:2401.00448): its two examples and its maps.

python experiments/sardana2023/run.py
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

import chinchilla_jax as cj
from chinchilla_jax import planning
from chinchilla_jax.planning.inference import loss_like
from chinchilla_jax.plots import ratio_maps, save_figures

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from _tables import write  # noqa: E402

SIZES = (1e9, 7e9, 13e9, 30e9, 70e9, 200e9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resamples", type=int, default=4000)
    parser.add_argument("--tables", type=Path, default=HERE)
    args = parser.parse_args()
    law = planning.SARDANA_2023
    published = planning.LawSample.from_law(law)
    fitted = planning.LawSample.from_bootstrap(
        cj.bootstrap(cj.load_runs("chinchilla"), resamples=args.resamples)
    )

    rows = []
    for size, demand, figures in (
        (13e9, 2e12, {"params": "6.97e9", "tokens": "1.25e12", "saving": "17.4%", "saved": "1.69e22 FLOP"}),
        (30e9, 1e13, {"params": "13.6e9", "tokens": "-", "saving": "28.0%", "saved": "-"}),
    ):
        served = planning.Demand(input_tokens=demand)
        one = planning.inference_plan(published, demand=served, like_params=size)
        many = planning.inference_plan(fitted, demand=served, like_params=size)
        ours, band = one.table.set_index("quantity")["estimate"], many.table.set_index("quantity")
        for quantity, figure in figures.items():
            scale, unit = (100, "%") if quantity == "saving" else (1, "")
            estimate, low, high = (scale * band.loc[quantity, name] for name in ("estimate", "low", "high"))
            rows.append(
                (
                    f"{size / 1e9:g}B, {demand:.0e} tokens: {quantity}",
                    figure,
                    f"{scale * ours[quantity]:.5g}{unit}",
                    f"under the laws fitted here: {estimate:.4g}{unit} ({low:.4g} to {high:.4g})",
                )
            )
        rows.append(
            (
                f"{size / 1e9:g}B, {demand:.0e} tokens: first-order condition missed by",
                "-",
                f"{max(one.residual, many.residual):.1e}",
                f"largest over {len(fitted) + 1:,} laws",
            )
        )
    rows += _authors_examples(published)
    write(rows, args.tables)

    losses, demands = np.linspace(1.8, 2.6, 161), np.geomspace(1e9, 1e14, 151)
    sizes = {f"{size / 1e9:g}B": float(loss_like(law, size)) for size in SIZES}
    gpu = planning.find_device("h100")
    quantised = planning.find_device("h100", "int8")
    # Assumptions of ours, to show the shape of the map: not figures of the paper.
    costs = planning.Costs.rented(
        train=planning.Machine(peak_flops=gpu.peak_flops, utilisation=0.4, price_per_hour=2.0),
        read=planning.Machine(peak_flops=quantised.peak_flops, utilisation=0.4, price_per_hour=2.0),
        write=planning.Machine(peak_flops=quantised.peak_flops, utilisation=0.01, price_per_hour=2.0),
    )
    figures = [
        ("ratio_maps_flop", ratio_maps(planning.ratio_map(law, losses, demands), sizes=sizes)),
        (
            "ratio_maps_money",
            ratio_maps(planning.ratio_map(law, losses, demands, costs=costs, output_share=0.25), sizes=sizes),
        ),
    ]
    save_figures(figures, args.tables / "figures", dpi=120)


def _authors_examples(published: planning.LawSample) -> list[tuple[str, str, str, str]]:
    """The examples in the README of the paper's code (github.com/nikhilsardana/beyond-chinchilla)."""
    tera, machine = 1e12, planning.Machine
    a100, int8 = planning.find_device("a100").peak_flops, planning.find_device("a100", "int8").peak_flops
    hired = planning.Costs.rented(
        train=machine(peak_flops=a100, utilisation=0.5, price_per_hour=1.40),
        read=machine(peak_flops=int8, utilisation=0.4, price_per_hour=0.60),
        write=machine(peak_flops=int8, utilisation=0.2, price_per_hour=0.60),
    )
    examples = (
        ("loss 1.947, 2e12 tokens", planning.Demand(input_tokens=2 * tera), planning.FLOP_COSTS, "FLOP"),
        (
            "loss 1.947, 1e13 read, 2.5e12 written",
            planning.Demand(input_tokens=10 * tera, output_tokens=2.5 * tera),
            hired,
            "money: A100 at 1.40/h trains at 50%, A100 in int8 at 0.60/h reads at 40%, writes at 20%",
        ),
    )
    figures = (
        ("2.418e+10", "2.657e+12", "70.96%", "146.77%", "95.22%"),
        ("2.053e+10", "3.302e+12", "60.23%", "182.41%", "88.76%"),
    )
    rows = []
    for (name, demand, costs, note), printed in zip(examples, figures, strict=True):
        made = planning.inference_plan(published, loss=1.947, demand=demand, costs=costs)
        point = made.table.set_index("quantity")["estimate"]
        ours = (
            f"{point['params']:.3e}",
            f"{point['tokens']:.3e}",
            f"{point['params'] / point['baseline_params']:.2%}",
            f"{point['tokens'] / point['baseline_tokens']:.2%}",
            f"{point['total_cost'] / point['baseline_cost']:.2%}",
        )
        wanted = (
            "params",
            "tokens",
            "params over Chinchilla's",
            "tokens over Chinchilla's",
            "cost over Chinchilla's",
        )
        rows += [(f"{name}: {w}", p, o, note) for w, p, o in zip(wanted, printed, ours, strict=True)]
    law = published.point
    plan = planning.plan(published, params=30e9).table.set_index("quantity")["estimate"]
    return [
        *rows,
        ("loss of 70B on 1e12 tokens", "1.947", f"{float(law.loss(70e9, 1e12)):.3f}", ""),
        ("compute-optimal 30B: tokens", "1.556e+12", f"{plan['tokens']:.3e}", ""),
        ("compute-optimal 30B: FLOP", "2.801e+23", f"{plan['flops']:.3e}", ""),
        ("compute-optimal 30B: loss", "1.958253360475841", repr(float(plan["loss"])), ""),
    ]


if __name__ == "__main__":
    main()
