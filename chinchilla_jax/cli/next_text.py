"""What `chinchilla-jax next` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chinchilla_jax._util.labels import kind_text, quantity_text
from chinchilla_jax._util.text import width_text
from chinchilla_jax.cli import output
from chinchilla_jax.cli.costs import print_cost
from chinchilla_jax.cli.resampling import print_dependence

if TYPE_CHECKING:
    from chinchilla_jax import Runs
    from chinchilla_jax.cli.next_options import RunSteps
    from chinchilla_jax.planning.design import NewDesign, NextRuns, TableDiagnosis

_SHOWN = 10  # runs of a diagnosis


def print_next(runs: Runs, found: NextRuns, steps: RunSteps) -> None:
    """The proposal, what it narrows, what was simulated beside it, and the price list."""
    boot = found.boot
    output.print_runs(runs)
    output.echo(
        f"law {boot.point.model.name}: {found.n_fits:,} simulated fits, {kind_text(found.level)} intervals"
    )
    print_dependence(boot.dependence)
    print_cost(found.cost)
    output.print_paragraph(steps.sentence)
    output.print_paragraph(found.question.spread.sentence)
    output.echo()
    output.print_sentence(found.sentence)
    output.echo()
    labels = [target.label for target in found.question.targets]
    paid = ["paid"] * ("unit" in steps.read())
    counts = ["params", "tokens", "flops", *paid, "tokens_per_param"]
    rows = [
        [
            *(quantity_text(name, row[name]) for name in counts),
            width_text(row["width"]),
            width_text(row["without"]),
            "inside" if row["inside"] else "outside",
            f"{row['off_frontier']:.3g}x",
        ]
        for row in output.records(found.table)
    ]
    header = [*counts, "width after it", "without it", "the runs", "off frontier"]
    output.print_table(header, rows)
    output.echo()
    output.echo("targets: intervals now and expected")
    rows = [
        [label, row["estimate"], row["low"], row["high"], row["low_after"], row["high_after"],
         width_text(row["before"]), width_text(row["after"]), f"{row['error']:.1g}", row["scale"]]
        for label, row in zip(labels, output.records(found.widths), strict=True)
    ]  # fmt: skip
    names = ["target", "estimate", "low", "high", "low after", "high after", "before", "after", "+-", "scale"]
    of = [row[0].partition("@")[0] for row in rows]
    output.print_table(names, rows, quantities=of)
    output.echo()
    output.echo(f"choices that were simulated (* chosen): width of {labels[0]}")
    rows = [
        [f"{row['choice']}{' *' * row['chosen']}", row["runs"], row["flops"], width_text(row["linear"]),
         width_text(row["after"]), f"{row['error']:.1g}"]
        for row in output.records(found.choices)
    ]  # fmt: skip
    output.print_table(["choice", "runs", "flops", "to first order", "simulated", "+-"], rows)
    output.echo()
    if len(found.by_law) > 1:
        output.echo(f"width of {labels[0]} under each law")
        rows = [
            [row["law"], width_text(row["before"]), width_text(row["after"]), f"{row['error']:.1g}",
             width_text(row["alone"])]
            for row in output.records(found.by_law)
        ]  # fmt: skip
        output.print_table(["law", "before", "after", "+-", f"chosen by {rows[0][0]} alone"], rows)
        output.echo()
    output.echo("what less money buys, to first order")
    several = len(found.widths) > 1
    rows = [
        [row["flops"], row["runs"], width_text(row["linear"]), *[f"{row['weighted']:+.3f}"] * several,
         ", ".join(f"{quantity_text('params', n, 3)} on {quantity_text('tokens', d, 3)}"
                   for n, d in zip(row["params"], row["tokens"], strict=True))]
        for row in output.records(found.prices)
    ]  # fmt: skip
    output.print_table(["flops", "runs", "width", *["ln of all widths"] * several, "which"], rows)
    output.echo()
    output.print_paragraph(found.law_sentence)
    output.print_warnings(found.warnings)


def print_diagnosis(runs: Runs, found: TableDiagnosis) -> None:
    """How a table is laid out, and the runs that its answer needs most."""
    output.print_runs(runs)
    output.echo()
    output.print_sentence(found.sentence)
    output.echo()
    output.echo(
        f"runs without which the interval of {found.question.targets[0].label} is widest, as expected"
    )
    names = ["row", "params", "tokens", "flops", "leverage", "without"]
    most = found.runs.sort_values("without", ascending=False, kind="stable").head(_SHOWN)
    rows = [
        [row["row"], *(quantity_text(name, row[name]) for name in names[1:4]), f"{row['leverage']:.3f}",
         f"{row['without'] - 1:+.1%}"]
        for row in output.records(most)
    ]  # fmt: skip
    output.print_table([*names[:-1], "wider without it"], rows)
    output.echo()
    output.print_sentence(found.left_out_sentence)
    output.print_warnings(found.question.boot.warnings)


def print_new(found: NewDesign, saved: str | None) -> None:
    """Designs beside each other at several costs."""
    output.print_sentence(found.sentence)
    output.echo()
    rows = [
        [row["design"], row["runs"], row["flops"], width_text(row["linear"]), width_text(row["simulated"]),
         f"{row['error']:.2g}", f"{row['determined']:.0%}"]
        for row in output.records(found.table)
    ]  # fmt: skip
    output.print_table(["design", "runs", "flops", "to first order", "simulated", "+-", "determined"], rows)
    output.echo()
    output.print_paragraph(
        "simulated: width of the estimates of tables drawn from the priors; determined: share of these "
        "tables whose fit is certified and has the target"
    )
    if saved is not None:
        output.echo(f"{saved}: {len(found.runs):,} runs written")
