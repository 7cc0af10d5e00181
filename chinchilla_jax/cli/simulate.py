"""`chinchilla-jax progress simulate`: what a way of scaling up would give, on a known law."""

from __future__ import annotations

from typing import Annotated

import typer

from chinchilla_jax._util.errors import unknown_name
from chinchilla_jax._util.text import count_text
from chinchilla_jax.cli import laws, options, output


def simulate_command(
    flops_range: Annotated[
        tuple[float, float], typer.Option(metavar="LOW HIGH", help="Compute of the seed runs (FLOP).")
    ] = (1e15, 1e16),
    ratio_range: Annotated[
        tuple[float, float], typer.Option(metavar="LOW HIGH", help="Tokens per parameter of the seed runs.")
    ] = (10.0, 100.0),
    seeds: Annotated[int, typer.Option(metavar="K", help="How many seed runs.")] = 401,
    steps: Annotated[int, typer.Option(metavar="K", help="How many scaling steps.")] = 1,
    factor: Annotated[float, typer.Option(metavar="X", help="Next budget over the largest so far.")] = 10.0,
    law: Annotated[
        str, typer.Option(metavar="LAW", help="The true law: E,A,B,alpha,beta or hoffmann2022.")
    ] = "hoffmann2022",
    noise: Annotated[str, typer.Option(metavar="NAME", help="exponential or normal.")] = "exponential",
    noise_size: Annotated[
        float, typer.Option(metavar="X", help="Its mean, or standard deviation (nats per token).")
    ] = 0.1,
    replicas: Annotated[int, typer.Option(metavar="R", help="How many repetitions.")] = 400,
    seed: Annotated[int, typer.Option(metavar="S", help="Seed of all randomness.")] = 0,
    flops: Annotated[
        float | None,
        options.optional("C", "Budget at which the optimum is judged.  [default: the next one]"),
    ] = None,
    figures: Annotated[str | None, options.optional("DIR", "Also draw the errors into a directory.")] = None,
    level: options.LevelOption = 0.8,
    as_json: options.JsonOption = False,
) -> None:
    """Simulate a study on a known law.

    Every repetition samples seeds, fits, scales and fits again; the table says how far the optimum at the
    next budget is then from the true one.
    """
    from chinchilla_jax.intervals.quantiles import central_tails
    from chinchilla_jax.planning.ladder.simulation import (
        Scenario,
        compare_scenarios,
        exponential_noise,
        normal_noise,
    )

    kinds = {"exponential": exponential_noise, "normal": normal_noise}
    if noise not in kinds:
        raise unknown_name("noise", noise, kinds)
    central_tails(level)
    scenario = Scenario(
        flops_range=flops_range,
        ratio_range=ratio_range,
        seeds=seeds,
        steps=steps,
        factor=factor,
        target=laws.parse_law(law),
        noise=kinds[noise](noise_size),
    )
    if flops is not None:
        options.require_positive("--flops", [flops])
    name = f"{seeds:,} seeds, {steps:,} steps"
    table = compare_scenarios({name: scenario}, replicas=replicas, seed=seed, flops=flops, level=level)
    counted = int(table["n"].iloc[0])
    if figures is not None:
        from chinchilla_jax.plots import planning as planning_figures

        figure = planning_figures.plot_simulation_errors(table, level=level)
        planning_figures.save_figures([("simulation_errors", figure)], figures)
    if as_json:
        output.say_json(
            {
                "replicas": replicas,
                "n_counted": counted,
                "level": level,
                "flops": flops,
                "summary": laws.records(table[["quantity", "low", "median", "high", "n"]]),
            }
        )
        return
    output.say(
        f"{replicas:,} repetitions of {seeds:,} seeds and {count_text(steps, 'scaling step')} "
        f"of factor {factor:g}; "
        f"{counted:,} with every fit certified"
    )
    at = "the budget after the last one" if flops is None else f"{flops:g} FLOP"
    output.say(f"at {at}: error of the optimal size, compute it wastes, error of its")
    output.say(f"predicted loss, and errors of the exponents; interval {level:g} over the repetitions")
    output.say()
    shown = ["quantity", "low", "median", "high"]
    output.say_table(shown, table[shown].itertuples(index=False))
