"""`chinchilla-jax progress simulate`: how well a way of scaling up works, on a known law."""

from __future__ import annotations

from typing import Any

import click

from chinchilla_jax._util.labels import percent_text
from chinchilla_jax._util.text import count_text, flops_text
from chinchilla_jax.cli import choices, law_source, output
from chinchilla_jax.cli.figures import Figures, figures_option
from chinchilla_jax.cli.options import Decorator, level_option, output_options, seed_option


def seed_run_options(
    *, flops_range: tuple[str, str] | None, ratio_range: tuple[str, str], seeds: int, factor: int
) -> Decorator[Any]:
    """--flops-range, --ratio-range, --seeds and --factor with these defaults; None for a required option."""

    def decorate(command: Any) -> Any:
        for option in (
            click.option(
                "--factor",
                type=choices.POSITIVE,
                metavar="X",
                default=factor,
                help="Next budget as a multiple of the largest so far.",
            ),
            click.option(
                "--seeds",
                type=choices.WholeNumber(1),
                metavar="K",
                default=seeds,
                help="Number of seed runs.",
            ),
            _range_option("--ratio-range", "Tokens per parameter of the seed runs.", ratio_range),
            _range_option("--flops-range", "Training compute of the seed runs (FLOP).", flops_range),
        ):
            command = option(command)
        return command

    return decorate


def _range_option(name: str, help: str, default: tuple[str, str] | None) -> Decorator[Any]:
    return click.option(
        name,
        type=(choices.POSITIVE, choices.POSITIVE),
        metavar="LOW HIGH",
        default=default,
        required=default is None,
        help=help,
    )


@click.command("simulate")
@seed_run_options(flops_range=("1e15", "1e16"), ratio_range=("10", "100"), seeds=401, factor=10)
@click.option("--steps", type=choices.WholeNumber(), metavar="K", default=1, help="Number of scaling steps.")
@law_source.given_law_option("The true law", default="hoffmann2022")
@click.option(
    "--noise",
    type=choices.Name(("exponential", "normal")),
    metavar="NAME",
    default="exponential",
    help="Distribution of the noise in the loss: exponential or normal.",
)
@click.option(
    "--noise-size",
    type=choices.NON_NEGATIVE,
    metavar="X",
    default=0.1,
    help="Mean of exponential noise, standard deviation of normal noise (nats per token).",
)
@click.option(
    "--replicas", type=choices.WholeNumber(1), metavar="R", default=400, help="Number of repetitions."
)
@seed_option("Seed of all randomness.")
@click.option(
    "--flops",
    type=choices.POSITIVE,
    metavar="C",
    show_default="the next budget",
    help="Training compute (FLOP) at which the optimum is judged.",
)
@figures_option
@level_option
@output_options
def simulate_command(
    flops_range: tuple[float, float],
    ratio_range: tuple[float, float],
    seeds: int,
    steps: int,
    factor: float,
    law: str,
    noise: str,
    noise_size: float,
    replicas: int,
    seed: int,
    flops: float | None,
    figures: Figures,
    level: float,
    as_json: bool,
) -> None:
    """Simulate a study on a known law.

    Every repetition samples seed runs, fits, scales up and fits again; the table shows how far the optimum
    at the next budget is from the true one.
    """
    from chinchilla_jax.planning.ladder.simulation import (
        Scenario,
        compare_scenarios,
        exponential_noise,
        normal_noise,
    )

    kinds = {"exponential": exponential_noise, "normal": normal_noise}
    scenario = Scenario(
        flops_range=flops_range,
        ratio_range=ratio_range,
        seeds=seeds,
        steps=steps,
        factor=factor,
        target=law_source.parse_law(law),
        noise=kinds[noise](noise_size),
    )
    name = f"{seeds:,} seeds, {steps:,} steps"
    table = compare_scenarios({name: scenario}, replicas=replicas, seed=seed, flops=flops, level=level)
    counted = int(table["n"].iloc[0])
    if figures:
        from chinchilla_jax import plots

        figures.save({"simulation_errors": lambda: plots.simulation_errors(table, level=level)})
    if as_json:
        output.print_json(
            {
                "replicas": replicas,
                "n_counted": counted,
                "level": level,
                "flops": flops,
                "summary": output.records(table, ["quantity", "low", "median", "high", "n"]),
            }
        )
        return
    output.echo(
        f"{replicas:,} repetitions of {seeds:,} seeds and {count_text(steps, 'scaling step')} "
        f"of factor {factor:g}; "
        f"{counted:,} with every fit certified"
    )
    at = "the budget after the last one" if flops is None else f"{flops_text(flops, 6)} FLOP"
    output.echo(f"at {at}: error of the optimal size, compute it wastes, error of its")
    output.echo(
        f"predicted loss, and errors of the exponents; {percent_text(level)} interval over the repetitions"
    )
    output.echo()
    shown = ["quantity", "low", "median", "high"]
    output.print_table(shown, output.rows(table, shown))
