"""The laws behind a decision: a bootstrap of DATA, a study directory, or one law that is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from chinchilla_jax._util.errors import NoEstimateError, UsageError, short
from chinchilla_jax._util.labels import HEADLINE, INTERVAL_COLUMNS, kind_text, quantity_label
from chinchilla_jax.cli import choices, output
from chinchilla_jax.cli.costs import cost_fields, cost_option, print_cost, read_cost
from chinchilla_jax.cli.fit_options import Solver, engine_option, read_laws, read_solver
from chinchilla_jax.cli.for_each import for_each
from chinchilla_jax.cli.options import (
    Decorator,
    boundary_option,
    bundle,
    level_option,
    resamples_option,
    seed_option,
)
from chinchilla_jax.cli.own_code import names_code
from chinchilla_jax.cli.resampling import (
    AUTO,
    WEIGHT_SCHEMES,
    Resampling,
    read_resampling,
    resampling_option_pair,
)
from chinchilla_jax.cli.table_options import (
    COLUMN_OPTIONS,
    DATA_HELP,
    ROW_OPTIONS,
    Table,
    data_argument,
    make_table,
)

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax import Runs, ScalingLaw
    from chinchilla_jax.laws import Cost, Law
    from chinchilla_jax.planning import InferencePlan, LawSample, Plan

_DEFAULT_DATA = "chinchilla"


@dataclass(frozen=True, kw_only=True)
class LawSource:
    """The laws that the options of `law_source_options` name, and the level of their intervals."""

    table: Table
    data_given: bool
    study: str | None
    condition: str | None
    law: str | None
    resamples: int
    seed: int
    level: float
    boundary: str
    solver: Solver
    resampling: Resampling
    cost: str | None = None

    def read(self, answer: str | None = None) -> LawSample:
        """The laws.

        Args:
            answer: with --json, the field of the command's answer, which is null where there is no estimate;
                None without.

        Raises:
            UsageError: the options contradict each other.
            NoEstimateError: the point fit is not certified.
        """
        try:
            return self._read()
        except NoEstimateError as error:
            if answer is not None:
                output.print_json({"point_law": None, answer: None, "warnings": [str(error)]})
            raise

    def _read(self) -> LawSample:
        from chinchilla_jax.planning import LawSample

        self._check()
        cost = read_cost(self.cost)
        if self._given:
            return LawSample.from_law(parse_law(str(self.law)), source=f"law {self.law}").at(cost)
        if self.study is not None:
            from chinchilla_jax import open_study

            own: Any = None if self.law is None else read_laws([self.law], None)[0]
            return LawSample.from_study(open_study(self.study, law=own), self.condition).at(cost)
        law = read_laws([self.law or "chinchilla"], None)[0]
        runs = self.resampling.read_runs(self.table.for_laws(law))
        return fit_sample(
            runs, self.resamples, self.seed, self.solver, self.resampling, self.boundary, law=law, cost=cost
        )

    @property
    def _given(self) -> bool:
        """Whether --law gives a law itself and not the name of one to fit."""
        return self.law is not None and (self.law in PUBLISHED or "," in self.law)

    def _check(self) -> None:
        if self.study is not None and self.law is not None and not names_code(self.law):
            raise UsageError(
                "--study and --law cannot be combined, but for a study of your own FILE.py:NAME; give one of "
                "them"
            )
        if self.condition is not None and self.study is None:
            raise UsageError("--condition names a condition of a study; give --study DIR too")
        other = "--law" if self._given else "--study" if self.study is not None else None
        if other is None:
            return
        about_data = {
            f"DATA {short(self.table.data)}": self.data_given,
            "--counting": self.table.counting != "as_plotted" or bool(self.table.countings),
            "--drop-highest-loss": self.table.drop_highest_loss is not None,
            "--column": bool(self.table.column),
            "--law": self.law is not None and self.study is None and not self._given,
            **{f"--{name.replace('_', '-')}": bool(getattr(self.table, name)) for name in ROW_OPTIONS},
            "--scheme": self.resampling.name != AUTO,
            "--cluster": self.resampling.cluster is not None,
        }
        named = [option for option, given in about_data.items() if given]
        if named:
            raise UsageError(f"{other} replaces a fit to DATA; leave out {' and '.join(named)}, or {other}")


PUBLISHED = ("hoffmann2022", "besiroglu2024")


def given_law_option(help: str, also: str = "", **settings: Any) -> Decorator[Any]:
    """The option --law, for `parse_law`."""
    return click.option(
        "--law",
        metavar="LAW",
        help=f"{help}: five numbers E,A,B,alpha,beta, or {choices.or_text(PUBLISHED)}{also}.",
        **settings,
    )


def _law_source(
    *,
    data: str | None,
    study: str | None,
    condition: str | None,
    law: str | None,
    resamples: int,
    seed: int,
    level: float,
    boundary: str,
    engine: str,
    scheme: str,
    cluster: str | None,
    cost: str | None,
    **about_data: Any,
) -> LawSource:
    return LawSource(
        table=make_table(data=data or _DEFAULT_DATA, **about_data),
        data_given=data is not None,
        study=study,
        condition=condition,
        law=law,
        resamples=resamples,
        seed=seed,
        level=level,
        boundary=boundary,
        solver=read_solver(engine=engine),
        resampling=read_resampling(scheme, cluster),
        cost=cost,
    )


_law_source_options = bundle(
    "laws",
    _law_source,
    {
        "data": data_argument(f"{DATA_HELP}  [default: {_DEFAULT_DATA}]", required=False),
        **COLUMN_OPTIONS,
        "study": click.option(
            "--study",
            metavar="DIR",
            help="Take the fitted laws from a study directory (or its URL) instead of DATA.",
        ),
        "condition": click.option(
            "--condition",
            metavar="ID",
            show_default="the first identity",
            help="Condition of the study to take them from.",
        ),
        "law": given_law_option(
            "Take one law, without intervals, instead of DATA", "; or the law to fit to DATA, as for `fit`"
        ),
        "cost": cost_option,
        "resamples": resamples_option(),
        "seed": seed_option(),
        "level": level_option,
        **resampling_option_pair(WEIGHT_SCHEMES),
        "boundary": boundary_option,
        "engine": engine_option,
    },
)


def law_source_options(command: Any) -> Any:
    """DATA, or the laws that replace it, as `laws`; the command is run for each counting of DATA in turn."""
    return _law_source_options(
        for_each(
            command,
            "laws",
            lambda laws: laws.table.interpretations,
            lambda laws, table: replace(laws, table=table),
        )
    )


def fit_sample(
    runs: Runs,
    resamples: int,
    seed: int,
    solver: Solver,
    resampling: Resampling,
    boundary: str = "keep",
    *,
    law: Law | str = "chinchilla",
    cost: Cost | str | None = None,
) -> LawSample:
    """The laws of a bootstrap of these runs, with its progress shown.

    Raises:
        NoEstimateError: the point fit is not certified.
    """
    from chinchilla_jax.laws import read_law
    from chinchilla_jax.planning import LawSample

    result = resampling.bootstrap(
        runs, read_law(law), resamples=resamples, seed=seed, boundary=boundary, options=solver.options()
    )
    name = result.point.model.name
    named = "" if name == "chinchilla" else f", law {name}"
    source = f"{output.runs_line(runs)}{named}, {resamples:,} resamples"
    return LawSample.from_bootstrap(result, source=source).at(cost)


def parse_law(text: str) -> ScalingLaw:
    """The law that --law gives: five numbers E,A,B,alpha,beta, or a published one by name.

    Raises:
        UsageError: it is neither.
    """
    from chinchilla_jax.laws.scaling_law import BESIROGLU_2024, HOFFMANN_2022, PARAMETERS, ScalingLaw

    published = dict(zip(PUBLISHED, (HOFFMANN_2022, BESIROGLU_2024), strict=True))
    if text in published:
        return published[text]
    try:
        values = [float(each) for each in text.split(",")]
    except ValueError:
        values = []
    if len(values) != len(PARAMETERS):
        fitted = " is a law to fit, and this command takes one with its numbers" if _is_fitted(text) else ""
        raise UsageError(
            f"--law {short(text)}{fitted}: give five numbers E,A,B,alpha,beta such as "
            f"1.69,406.4,410.7,0.34,0.28, or {' or '.join(published)}"
        )
    return ScalingLaw(**dict(zip(PARAMETERS, values, strict=True)))


def _is_fitted(text: str) -> bool:
    return text in choices.LAWS or names_code(text)


def sample_fields(sample: LawSample, level: float) -> dict[str, Any]:
    """The laws of a decision for JSON."""
    return {
        "source": sample.source,
        "data": output.runs_fields(sample.runs) if sample.runs is not None else None,
        "law": sample.laws_name,
        "point_law": sample.point.as_dict(),
        "variables": dict(sample.variables) or None,
        "cost": cost_fields(sample.cost),
        "largest_run_flops": sample.largest_flops,
        "n_laws": len(sample),
        "n_failed": sample.n_failed,
        "n_without_optimum": sample.n_without_optimum,
        "boundary": sample.boundary,
        "level": None if sample.is_single else level,
        "method": None if sample.is_single else "percentile",
        "resampling": sample.resampling or None,
        "goodness": sample.goodness and sample.goodness.as_dict(),
        "warnings": sample.warnings,
    }


def print_sample(sample: LawSample, level: float) -> None:
    """The laws of a decision in a line or two."""
    left_out = [
        f"{n:,} {why}"
        for n, why in ((sample.n_failed, _left_out(sample)), (sample.n_without_optimum, "without an optimum"))
        if n
    ]
    output.echo(f"{sample.source}{'; left out: ' + ', '.join(left_out) if left_out else ''}")
    for line in sample.runs.read_lines if sample.runs is not None else ():
        output.print_paragraph(line)
    if not sample.is_single:
        output.echo(f"{len(sample):,} laws, {kind_text(level)} intervals")
    print_resampling(sample)
    if sample.goodness is not None:
        output.print_paragraph(f"{sample.goodness}")
    print_cost(sample.cost)
    output.print_warnings(sample.warnings)
    output.echo()


def print_resampling(sample: LawSample) -> None:
    """What --scheme auto chose and why, in a line."""
    if sample.resampling:
        output.print_paragraph(f"scheme auto: {sample.resampling}")


def row_doubts(made: Plan | InferencePlan) -> list[str]:
    """What makes each row of a plan hard to believe; "" for most."""
    return [made.doubts.get(quantity, "") for quantity in made.table["quantity"]]


def print_quantities(
    title: str, table: pd.DataFrame, sample: LawSample, doubts: Sequence[str] = (), *, rule: str = ""
) -> None:
    """A table with a quantity in each row and its estimate and interval beside it.

    Args:
        title: over the quantities.
        table: with the columns "quantity", "estimate", "low" and "high".
        sample: the laws; a single one has no interval.
        doubts: about each row, as from `row_doubts`.
        rule: before the overhead of a rule, such as "20:1 ".
    """
    columns = [HEADLINE] if sample.is_single else list(INTERVAL_COLUMNS)
    rows = [
        (
            f"{rule if quantity == 'rule_overhead' else ''}{quantity_label(quantity, sample.loss_unit)}",
            *values,
        )
        for quantity, *values in output.rows(table, ["quantity", *columns])
    ]
    output.print_table((title, *columns), rows, digits=4, quantities=list(table["quantity"]), doubts=doubts)


def print_unreachable(made: Plan | InferencePlan, infinite: str, left_out: str) -> None:
    """How many laws cannot reach the loss that is asked for, and what this means for the rows."""
    if made.n_unreachable:
        output.echo(
            f"{made.n_unreachable:,} of {len(made.sample):,} laws cannot reach this loss with any amount of "
            f"compute (their E is above it): they count as infinite in {infinite}, and are left out of "
            f"{left_out}"
        )


def _left_out(sample: LawSample) -> str:
    return "not certified" if sample.boundary == "keep" else "not certified or with E = 0"
