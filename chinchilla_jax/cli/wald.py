"""`chinchilla-jax wald`: whether a published law agrees with the runs."""

from __future__ import annotations

from typing import Annotated

import typer

from chinchilla_jax.cli import options, output


def wald_command(
    data: options.DataArgument,
    params: options.ParamsOption = "as_plotted",
    drop_highest_loss: options.DropOption = None,
    column: options.ColumnOption = None,
    experiment: options.ExperimentOption = None,
    law: Annotated[
        str,
        typer.Option(
            metavar="LAW", help="The law to test: E,A,B,alpha,beta or hoffmann2022 or besiroglu2024."
        ),
    ] = "hoffmann2022",
    delta: options.DeltaOption = 1e-3,
    resamples: options.ResamplesOption = 4000,
    seed: options.SeedOption = 0,
    scheme: Annotated[
        str, typer.Option(metavar="NAME", help="How to resample: pairs, cluster, bayesian, wild.")
    ] = "pairs",
    as_json: options.JsonOption = False,
) -> None:
    """Joint test of all five parameters of a law against the fit.

    The squared Mahalanobis distance of the law from the fit, by the covariance of the resamples, against
    chi-squared with 5 degrees of freedom and against the resamples' own distances.
    """
    from chinchilla_jax import Huber, bootstrap
    from chinchilla_jax._util.progress_bar import resolve
    from chinchilla_jax.analysis.wald import wald_test
    from chinchilla_jax.cli.fit import require_certified
    from chinchilla_jax.cli.laws import parse_law

    tested = parse_law(law)
    objective = Huber(delta)
    runs = options.read_runs(data, params, drop_highest_loss, column, experiment)
    with resolve("auto") as reporter:
        reporter.begin("bootstrap", resamples)
        boot = bootstrap(
            runs,
            resamples=resamples,
            seed=seed,
            objective=objective,
            scheme=scheme,
            progress=reporter.advance,
        )
    require_certified(boot.point)
    test = wald_test(boot, tested, runs)
    if as_json:
        output.say_json(
            {
                "data": output.runs_fields(runs),
                **output.objective_fields(objective),
                "law": output.law_fields(tested),
                "fit": output.law_fields(boot.point.law),
                "resamples": resamples,
                "seed": seed,
                "scheme": scheme,
                "statistic": test.statistic,
                "degrees": test.degrees,
                "p_value": test.p_value,
                "log10_p": test.log10_p,
                "p_bootstrap": test.p_bootstrap,
                "n_resamples": test.n_resamples,
                "n_failed": test.n_failed,
                "coordinates": test.table.to_dict("records"),
                "sentence": test.sentence,
            }
        )
        return
    output.say(output.runs_line(runs))
    output.say(f"law {law}")
    output.say(f"against the fit by {objective.name}, {resamples:,} resamples ({scheme})")
    output.say()
    output.say_table(list(test.table.columns), test.table.itertuples(index=False))
    output.say()
    output.say_sentence(test.sentence)
