"""`chinchilla-jax predict`: the loss of a run, with the interval of the law and that of one new run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.labels import kind_text, quantity_text
from chinchilla_jax._util.text import list_text
from chinchilla_jax.cli import choices, output
from chinchilla_jax.cli.costs import cost_fields, cost_option, print_cost, read_cost
from chinchilla_jax.cli.figures import Figures, figures_option
from chinchilla_jax.cli.fit import require_certified
from chinchilla_jax.cli.fit_options import (
    Solver,
    law_options,
    objective_options,
    solver_options,
    weights_option,
)
from chinchilla_jax.cli.options import (
    boundary_option,
    flops_option,
    level_option,
    output_options,
    resamples_option,
    seed_option,
)
from chinchilla_jax.cli.resampling import (
    Resampling,
    print_dependence,
    resampling_options,
    scheme_fields,
)
from chinchilla_jax.cli.table_options import Table, table_options

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax import BootstrapResult, Runs
    from chinchilla_jax.laws import Law, Objective
    from chinchilla_jax.planning import Calibration, Prediction

_COUNTS = ("params", "tokens", "flops")
_LIMITS = ("mean_low", "mean_high", "new_run_low", "new_run_high")


@click.command("predict")
@table_options()
@click.option(
    "--at",
    metavar="PLACES",
    help="A table of places: two of params, tokens and flops, and the law's further variables; or flops "
    "alone, for compute-optimal runs.",
)
@click.option("--params", type=choices.POSITIVE, metavar="N", help="Size of the model (parameters).")
@click.option("--tokens", type=choices.POSITIVE, metavar="D", help="Training tokens.")
@flops_option("Training compute (FLOP); alone, of compute-optimal runs")
@click.option(
    "--against",
    metavar="RUN",
    help="A table of a run under way, tokens and loss, to compare with runs that end there; --params gives "
    "its size, unless a column does.",
)
@click.option(
    "--calibrated",
    is_flag=True,
    help="Widen intervals of new runs by what a backtest of DATA over compute measures.",
)
@resamples_option()
@seed_option("Seed of the resamples and of the errors of new runs.")
@level_option
@resampling_options()
@boundary_option
@cost_option
@law_options
@objective_options
@weights_option
@solver_options
@figures_option
@output_options
def predict_command(
    table: Table,
    at: str | None,
    params: float | None,
    tokens: float | None,
    flops: tuple[float, ...],
    against: str | None,
    calibrated: bool,
    resamples: int,
    seed: int,
    level: float,
    resampling: Resampling,
    boundary: str,
    cost: str | None,
    law: Law,
    objective: Objective | str,
    weights: str | None,
    solver: Solver,
    figures: Figures,
    as_json: bool,
) -> None:
    """Predict losses: of the law, and of one new run.

    For each place the loss, the interval of the law's mean, and the interval in which one new run will end:
    that of the mean and a residual drawn from those of the fit. --against compares a run under way.
    """
    places = _places(at, params, tokens, flops, against)
    options = solver.options(law, objective)
    priced = read_cost(cost)
    runs = resampling.read_runs(table.for_laws(law))
    own = table.read_weights(weights, runs)

    from chinchilla_jax.planning import predict, predict_against

    if calibrated and own is not None:
        raise UsageError("--calibrated and --weights cannot be combined; leave one out")

    boot = resampling.bootstrap(
        runs, law, resamples=resamples, seed=seed, objective=objective, weights=own, solver=solver.name,
        boundary=boundary, options=options,
    )  # fmt: skip
    with output.refusing(as_json, "places"):
        require_certified(boot.point)
        calibration = None
        if calibrated:
            calibration = _calibration(
                runs, law, level=level, seed=seed, objective=objective, scheme=resampling.read(), cost=priced
            )
        if against is None:
            found = predict(boot, places, level=level, seed=seed, calibration=calibration, cost=priced)
            sentence = None
            shown = found.table
        else:
            compared = predict_against(
                boot, against, params=params, level=level, seed=seed, calibration=calibration, cost=priced
            )
            found, sentence, shown = compared.prediction, compared.sentence, compared.table
    if figures:
        from chinchilla_jax import plots

        figures.save({"prediction": lambda: plots.prediction(found if against is None else compared)})
    if as_json:
        output.print_json(_fields(runs, boot, found, shown, sentence, resamples, seed))
    else:
        _print(runs, boot, found, shown, sentence)


def _calibration(runs: Runs, law: Law, **options: Any) -> Calibration:
    """What a backtest over compute measures.

    Raises:
        UsageError: the runs are too few for one.
    """
    from chinchilla_jax import backtest

    try:
        found = backtest(runs, law, **options).calibration
    except UsageError as error:
        raise UsageError(f"--calibrated: the runs cannot be backtested; leave it out ({error})") from None
    if found is None:
        raise UsageError("--calibrated: a backtest leaves fewer than ten predictions; leave it out")
    return found


def _places(
    at: str | None,
    params: float | None,
    tokens: float | None,
    flops: tuple[float, ...],
    against: str | None,
) -> Any:
    """The places that the options name; None with --against."""
    from chinchilla_jax.planning.prediction_places import read_place_table

    counts = {"params": params, "tokens": tokens, "flops": flops or None}
    given = {name: value for name, value in counts.items() if value is not None}
    named = [f"--{name}" for name in given]
    if against is not None:
        if at is not None or set(given) - {"params"}:
            others = [*(["--at"] if at is not None else []), *(each for each in named if each != "--params")]
            raise UsageError(f"--against has its places in RUN; leave out {list_text(others)}")
        return None
    if at is not None:
        if given:
            raise UsageError(f"--at and {list_text(named)} both name places; give one of them")
        return read_place_table(at)
    if len(given) == 3 or (len(given) < 2 and "flops" not in given) or (len(given) == 2 and len(flops) > 1):
        raise UsageError(
            f"{list_text(named) if named else 'no option'}: no place to predict at; give --params and "
            "--tokens, --flops with one of them, --flops alone, or --at PLACES"
        )
    return given


def _fields(
    runs: Runs,
    boot: BootstrapResult,
    found: Prediction,
    shown: pd.DataFrame,
    sentence: str | None,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    return {
        "data": output.runs_fields(runs),
        "model": boot.point.model.name,
        **output.objective_fields(boot.point.objective),
        "law": boot.point.parameters,
        "goodness": boot.point.goodness and boot.point.goodness.as_dict(),
        "resamples": resamples,
        "seed": seed,
        "level": found.level,
        **scheme_fields(boot.scheme, boot.dependence),
        "cost": cost_fields(found.cost),
        "largest_run_flops": found.largest_flops,
        "new_run": found.errors.sentence,
        "calibration": found.calibration and found.calibration.sentence,
        "against": sentence,
        "places": output.doubtful_records(shown, found.doubts),
        "warnings": found.warnings,
    }


def _print(
    runs: Runs, boot: BootstrapResult, found: Prediction, shown: pd.DataFrame, sentence: str | None
) -> None:
    from chinchilla_jax.planning.prediction import loss_texts

    output.print_runs(runs)
    output.echo(f"law {boot.point.model.name}: {found.n_laws:,} fits, {kind_text(found.level)} intervals")
    print_dependence(boot.dependence)
    output.print_paragraph(f"{boot.point.goodness}")
    print_cost(found.cost)
    output.echo()
    further = [name for name in shown.columns if name in boot.point.model.columns]
    rows = []
    for row in shown.to_dict("records"):
        counts = [quantity_text(name, row[name]) if row[name] == row[name] else "-" for name in _COUNTS]
        of_law, of_runs = loss_texts(row)
        seen = [of_runs.pop(), f"{row['share']:.3f}", row["verdict"]] if sentence else []
        rows.append([*counts, *(row[name] for name in further), *of_law, *of_runs, *seen])
    header = [*_COUNTS, *further, "loss", *(name.replace("_", " ") for name in _LIMITS)]
    header += ["observed", "below it", "verdict"] if sentence else []
    output.print_table(header, rows, keys=2, doubts=found.doubts, intervals=())
    output.echo()
    output.print_paragraph(f"mean: where the law is; new run: where one run ends, {found.errors.sentence}")
    if found.calibration is not None:
        output.print_paragraph(found.calibration.sentence)
    if sentence is not None:
        output.echo()
        output.print_sentence(sentence)
        output.print_paragraph(
            "The law describes runs that have ended: a run whose learning rate has not decayed yet is above "
            "it."
        )
    output.print_warnings(found.warnings)
