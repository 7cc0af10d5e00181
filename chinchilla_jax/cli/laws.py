"""Where a decision's laws come from: a bootstrap on the spot, a study directory, or one law that is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax.cli import options, output
from chinchilla_jax.cli.fit import require_certified

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax import Runs, ScalingLaw
    from chinchilla_jax.planning import LawSample

DataArgument: TypeAlias = Annotated[
    str | None,
    typer.Argument(
        metavar="DATA",
        help="chinchilla, llama3, or the path of a table.  [default: chinchilla]",
        show_default=False,
    ),
]
StudyOption: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="DIR", help="Take the laws of a study directory instead.", show_default=False),
]
ConditionOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="ID", help="Condition of the study.  [default: its first identity]", show_default=False
    ),
]
LawOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="LAW",
        help="One law instead, without intervals: E,A,B,alpha,beta or hoffmann2022 or besiroglu2024.",
        show_default=False,
    ),
]


def read_sample(
    data: str | None,
    interpretation: str,
    study: str | None,
    condition: str | None,
    law: str | None,
    resamples: int,
    seed: int,
    level: float,
    *,
    drop_highest_loss: int | None = None,
    column: list[str] | None = None,
    experiment: str | None = None,
) -> LawSample:
    """The laws that the options name; a bootstrap on the spot unless told otherwise."""
    from chinchilla_jax.intervals.quantiles import central_tails
    from chinchilla_jax.planning import LawSample

    central_tails(level)  # refuse now what would be refused after the fits
    if study is not None and law is not None:
        raise UsageError("--study and --law: give one of them")
    if condition is not None and study is None:
        raise UsageError("--condition names a condition of a study; give --study DIR too")
    about_data = {
        "--interpretation": interpretation != "as_plotted",
        "--drop-highest-loss": drop_highest_loss is not None,
        "--column": bool(column),
        "--experiment": experiment is not None,
    }
    if (study is not None or law is not None) and any(about_data.values()):
        named = " and ".join(option for option, given in about_data.items() if given)
        raise UsageError(f"{named}: about DATA, which --study and --law replace; leave out one or the other")
    for option, given in (("--law", law), ("--study", study)):
        if data is not None and given is not None:
            raise UsageError(
                f"DATA {short(data)} and {option}: the laws come from one of them; leave one out"
            )
    if (study is not None or law is not None) and (column or experiment is not None):
        raise UsageError("--column and --experiment are about DATA, which --study and --law replace")
    if law is not None:
        return LawSample.from_law(parse_law(law), source=f"law {law}")
    if study is not None:
        from chinchilla_jax import open_study

        return LawSample.from_study(open_study(study), condition)
    runs = options.read_runs(data or "chinchilla", interpretation, drop_highest_loss, column, experiment)
    return fit_sample(runs, resamples, seed)


def fit_sample(runs: Runs, resamples: int, seed: int) -> LawSample:
    """The laws of a bootstrap of these runs, with its progress shown."""
    from chinchilla_jax import bootstrap
    from chinchilla_jax._util.progress_bar import resolve
    from chinchilla_jax.planning import LawSample

    with resolve("auto") as reporter:
        reporter.begin("bootstrap", resamples)
        result = bootstrap(runs, resamples=resamples, seed=seed, progress=reporter.advance)
    require_certified(result.point)
    return LawSample.from_bootstrap(result, source=f"{output.runs_line(runs)}, {resamples:,} resamples")


def parse_law(text: str) -> ScalingLaw:
    """The law that --law names: five numbers E,A,B,alpha,beta, or a published one by name."""
    from chinchilla_jax.laws.scaling_law import BESIROGLU_2024, HOFFMANN_2022, PARAMETERS, ScalingLaw

    published = {"hoffmann2022": HOFFMANN_2022, "besiroglu2024": BESIROGLU_2024}
    if text in published:
        return published[text]
    try:
        values = [float(each) for each in text.split(",")]
    except ValueError:
        values = []
    if len(values) != len(PARAMETERS):
        raise UsageError(
            f"--law {short(text)}: give five numbers E,A,B,alpha,beta such as 1.69,406.4,410.7,0.34,0.28, "
            f"or {' or '.join(published)}"
        )
    return ScalingLaw(**dict(zip(PARAMETERS, values, strict=True)))


def sample_fields(sample: LawSample, level: float) -> dict[str, Any]:
    """What JSON says about the laws of a decision."""
    return {
        "source": sample.source,
        "point_law": output.law_fields(sample.point),
        "n_laws": len(sample),
        "n_failed": sample.n_failed,
        "n_without_optimum": sample.n_without_optimum,
        "level": None if sample.is_single else level,
        "method": None if sample.is_single else "percentile",
    }


def say_sample(sample: LawSample, level: float) -> None:
    """What a reader of the text is told about the laws of a decision."""
    left = [
        f"{n:,} {why}"
        for n, why in ((sample.n_failed, "not certified"), (sample.n_without_optimum, "without an optimum"))
        if n
    ]
    output.say(f"{sample.source}{'; left out: ' + ', '.join(left) if left else ''}")
    if not sample.is_single:
        output.say(f"{len(sample):,} laws, interval {level:g} percentile")
    output.say()


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A table for JSON."""
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def interval_columns(sample: LawSample) -> list[str]:
    """Columns worth showing: one law has no interval."""
    return ["point"] if sample.is_single else ["point", "low", "median", "high"]
