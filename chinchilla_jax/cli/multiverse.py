"""`chinchilla-jax multiverse`: the answer of every defensible analysis of a table."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.labels import percent_text, quantity_label, quantity_text
from chinchilla_jax._util.text import count_text, flops_text, list_text
from chinchilla_jax.cli import choices, output
from chinchilla_jax.cli.figures import Figures, figures_option
from chinchilla_jax.cli.options import (
    Decorator,
    bundle,
    comma_names,
    flops_option,
    level_option,
    out_option,
    output_options,
    resamples_option,
    seed_option,
)
from chinchilla_jax.cli.table_options import Table, table_options

if TYPE_CHECKING:
    from chinchilla_jax.analysis import MultiverseAnswer
    from chinchilla_jax.study.multiverse.multiverse import Plan
    from chinchilla_jax.study.multiverse.result import MultiverseResult

_ALL_COUNTINGS = "as_plotted,standard,best_fit for chinchilla; all columns of counts of other embedded tables"


def _names(
    context: click.Context, parameter: click.Parameter, given: tuple[str, ...]
) -> tuple[str, ...] | None:
    """The names in texts such as "pairs,wild"; None without any."""
    return comma_names(parameter, given, "give names, separated by commas") or None


def _names_option(flag: str, what: str, default: str) -> Decorator[Any]:
    return click.option(
        flag,
        metavar="NAMES",
        multiple=True,
        callback=_names,
        show_default=default,
        help=f"{what}, by commas.",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """The options of each dimension as they were asked for; None for the usual ones."""

    laws: tuple[str, ...] | None
    objectives: tuple[str, ...] | None
    deltas: tuple[str, ...] | None
    countings: tuple[str, ...] | None
    costs: tuple[str, ...] | None
    rows: tuple[str, ...] | None
    schemes: tuple[str, ...] | None

    @property
    def widths(self) -> list[float | str] | None:
        """The deltas, numbers or "auto"."""
        if self.deltas is None:
            return None
        return [choices.WIDTH.convert(text, None, None) for text in self.deltas]


_dimensions = bundle(
    "asked",
    lambda **values: Asked(**values),
    {
        "laws": _names_option("--laws", "Laws", "chinchilla,equal_exponents,gamma"),
        "objectives": _names_option("--objectives", "What fits minimise", "huber,squared,raw_squared"),
        "deltas": _names_option(
            "--deltas", "Half-widths of the zone of huber and raw_huber", "1e-3,1e-2,auto"
        ),
        "countings": _names_option(
            "--countings", "Ways to count the parameters of an embedded table", _ALL_COUNTINGS
        ),
        "costs": _names_option(
            "--costs", "What training costs: 6nd, measured or attention", "all that DATA has"
        ),
        "rows": _names_option(
            "--rows",
            "Which runs count: all, unflagged, drop_loss:K, drop_residual:K, min_params:X, min_tokens:X or "
            "min_flops:X",
            "all, without the worst by loss and by residual, without the smallest",
        ),
        "schemes": _names_option(
            "--schemes",
            "How runs are resampled: pairs, bayesian, cluster:COLUMN, wild or residual",
            "pairs,bayesian, and groups that err together",
        ),
    },
)


@click.command("multiverse")
@table_options(together=True)
@_dimensions
@flops_option("Training compute (FLOP) to answer for")
@resamples_option(400, "Bootstrap resamples of each specification.")
@seed_option()
@level_option
@out_option("the answers of every law and choice of rows")
@click.option("--shard", metavar="I/N", help="Do only part I of N into DIR, such as 3/40.")
@click.option(
    "--workers", type=choices.WholeNumber(1), metavar="N", show_default="one per core", help="Threads."
)
@click.option("--page", metavar="FILE", help="Write the answers as one HTML page: a path or URL.")
@figures_option
@output_options
def multiverse_command(
    table: Table,
    asked: Asked,
    flops: tuple[float, ...] | None,
    resamples: int,
    seed: int,
    level: float,
    out: str | None,
    shard: str | None,
    workers: int | None,
    page: str | None,
    figures: Figures,
    as_json: bool,
) -> None:
    """Answer by every defensible analysis.

    Fits and bootstraps the table under every combination of law, objective, delta, counting of parameters,
    cost of training, rows and resampling scheme, and says which choice moves the compute-optimal point most.
    """
    from chinchilla_jax.study.chunks import Shard
    from chinchilla_jax.study.multiverse.multiverse import plan_multiverse

    part = None if shard is None else Shard.parse(shard)
    if part is not None and out is None:
        raise UsageError(f"--shard {shard}: all shards share a directory; give --out DIR")
    if table.losses:
        raise UsageError("--loss: a multiverse is of one loss; choose its column with --column loss=NAME")
    if table.drop_highest_loss is not None:
        raise UsageError("--drop-highest-loss: rows are a choice here; give --rows drop_loss:K")
    plan = plan_multiverse(
        table.data,
        flops=flops or None,
        laws=asked.laws,
        objectives=asked.objectives,
        deltas=asked.widths,
        countings=_countings(table, asked),
        costs=asked.costs,
        rows=asked.rows,
        schemes=asked.schemes,
        resamples=resamples,
        seed=seed,
        options=None,
        **{name: value for name, value in table.reading.items() if name != "countings"},
    )
    if not as_json:
        output.print_runs(plan.table.plain)
        output.print_paragraph(_count_line(plan))
    with output.progress(
        "multiverse", plan.n_fits, laws=plan.choices.laws, n_runs=len(plan.table.plain)
    ) as advance:
        found = plan.run(level=level, out=out, shard=part, workers=workers, progress=advance)
    if found is None:
        if as_json:
            output.print_json({"data": plan.table.plain.name, "shard": str(part), "multiverse": None})
        else:
            output.echo(f"shard {part} done; the answers follow once all shards are")
        return
    if figures:
        figures.save(_drawings(found))
    if page is not None:
        from chinchilla_jax.report import write_report

        write_report(found, page)
    if as_json:
        output.print_json(_fields(plan, found))
    else:
        _print(found)


def _countings(table: Table, asked: Asked) -> Any:
    """Names for chinchilla, columns by name for other tables, None for all."""
    if table.countings:
        if asked.countings is not None:
            raise UsageError("--countings and --counting NAME=COLUMN cannot be combined; give one of them")
        return dict(table.countings)
    if table.counting != "as_plotted":
        raise UsageError(f"--counting {table.counting}: give --countings {table.counting}")
    if asked.countings is None or table.data in choices.FIGURES:
        return asked.countings
    return {name: name for name in asked.countings}


def _count_line(plan: Plan) -> str:
    """How many specifications there are, and why."""
    names = plan.choices.names()
    objectives = len(plan.choices.objectives)
    factors = [
        count_text(len(names["law"]), "law"),
        f"{count_text(objectives, 'objective')} with {'its' if objectives == 1 else 'their'} delta",
        count_text(len(names["counting"]), "counting"),
        count_text(len(names["cost"]), "cost"),
        count_text(len(names["rows"]), "choice of rows", "choices of rows"),
        count_text(len(names["scheme"]), "scheme"),
    ]
    return (
        f"{len(plan.choices):,} specifications: {' x '.join(factors)}; {plan.work.resamples:,} resamples of "
        f"each, {plan.n_fits:,} fits (a cost needs none of its own)"
    )


def _print(found: MultiverseResult) -> None:
    output.echo()
    output.print_table(
        ["choice", "options"],
        [[name, list_text(list(options), 12)] for name, options in found.choices.items() if options],
        keys=2,
    )
    for flops in found.flops:
        output.echo()
        output.echo(
            f"the compute-optimal point at {flops_text(flops)} FLOP, N counted as {found.counting}: all "
            "specifications"
        )
        output.print_table(
            ["quantity", "lowest", "low", "median", "high", "highest"], _spans(found, float(flops))
        )
        if found.has_answer(float(flops)):
            output.echo()
            _print_answer(found.answer(flops=float(flops)))
    output.echo()
    output.print_paragraph(
        f"low to high: {percent_text(found.level)} of the specifications. {found.failed_text}"
    )
    for note in found.notes:
        output.print_paragraph(note)


def _print_answer(answer: MultiverseAnswer) -> None:
    """What the specifications say of tokens per parameter, and which choice moves it."""
    output.print_paragraph(answer.sentence)
    output.echo()
    output.print_table(
        ["choice", "share", "alone", "total", "largest move", "from", "to"],
        [
            [
                row.choice,
                *(f"{100 * each:.1f}%" for each in (row.share, row.alone, row.total)),
                f"x{row.move:.3g}" if row.move == row.move else "-",
                *("-" if each is None else str(each) for each in (row.lowest, row.highest)),
            ]
            for row in answer.effects.itertuples()
            if row.n_options > 1
        ],
    )


def _spans(found: MultiverseResult, flops: float) -> list[Sequence[object]]:
    """Where the answers of all specifications lie, by quantity."""
    import numpy as np

    from chinchilla_jax.analysis import curve_facts
    from chinchilla_jax.study.multiverse.quantities import QUANTITIES

    rows: list[Sequence[object]] = []
    for name in QUANTITIES:
        estimates, ends = found.estimates(name, flops), [math.nan] * 5
        if np.isfinite(estimates).any():
            facts = curve_facts(estimates, level=found.level)
            ends = [facts.lowest, facts.low, facts.median, facts.high, facts.highest]
        rows.append([quantity_label(name, found.loss_unit), *(quantity_text(name, each) for each in ends)])
    return rows


def _drawings(found: MultiverseResult) -> dict[str, Callable[[], Any]]:
    """The specification curve of each budget."""
    from chinchilla_jax import plots

    def draw(flops: float) -> Any:
        if not found.has_answer(flops):
            raise UsageError("no specification has an estimate")
        return plots.specification_curve(found.answer(flops=flops))[0]

    return {
        f"specification_curve_{flops:g}".replace("+", ""): functools.partial(draw, float(flops))
        for flops in found.flops
    }


def _fields(plan: Plan, found: MultiverseResult) -> dict[str, Any]:
    return {
        "data": output.runs_fields(plan.table.plain),
        "choices": {name: list(options) for name, options in found.choices.items()},
        "n_specifications": len(found),
        "n_fits": plan.n_fits,
        "resamples": found.resamples,
        "seed": found.seed,
        "level": found.level,
        "counting": found.counting,
        "default": found.default,
        "n_failed": found.n_failed,
        "answers": [
            _answer_fields(found, float(flops)) for flops in found.flops if found.has_answer(float(flops))
        ],
        "specifications": output.records(found.table),
        "notes": list(found.notes),
    }


def _answer_fields(found: MultiverseResult, flops: float) -> dict[str, Any]:
    """What moves tokens per parameter at a budget, and its interval over choices and resampling."""
    answer = found.answer(flops=flops)
    return {
        "flops": flops,
        "quantity": "tokens_per_param",
        "sentence": answer.sentence,
        "effects": output.records(answer.effects),
        "interactions": output.records(answer.interactions),
        "interval": dataclasses.asdict(answer.interval) if answer.is_resampled else None,
        "share_of_choices": answer.variance.share_of_choices if answer.is_resampled else None,
    }
