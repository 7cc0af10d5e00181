"""The table of parameters that `chinchilla-jax bootstrap` prints."""

from __future__ import annotations

from typing import Any

from chinchilla_jax._util.text import list_text
from chinchilla_jax.cli import output

PARAMETER_COLUMNS = ("parameter", "estimate", "standard_error", "low", "high", "n_converged", "n_failed")
"""The columns of `BootstrapResult.parameter_columns` that are given."""


def print_parameters(params: dict[str, list[Any]], kind: str, resamples: int) -> None:
    """The table of the parameters; how many resamples it is from is in the heading where all rows agree.

    Args:
        params: the columns.
        kind: of the intervals, such as "80% percentile".
        resamples: that were drawn.
    """
    from chinchilla_jax.intervals.limits import has_standard_error

    shown, header = params.copy(), list(PARAMETER_COLUMNS)
    count = params["n_converged"][0]
    share = f"all {count:,}" if count == resamples else f"{count:,} of {resamples:,}"
    counted = f"{kind} interval over {share} resamples"
    if len(set(params["n_converged"])) == 1:
        header = header[:-2]
    else:  # "converged" would leave out the optima at E = 0, which count too
        counted, header[-2:] = f"{kind} interval", ["n_counted", "n_left_out"]
        shown |= {"n_counted": params["n_converged"], "n_left_out": params["n_failed"]}
    pairs = list(zip(params["estimate"], params["standard_error"], strict=True))
    known = [has_standard_error(*each) for each in pairs]
    shown["standard_error"] = [
        error if k else float("nan") for (_, error), k in zip(pairs, known, strict=True)
    ]
    output.echo(f"parameters, {counted}")
    output.print_table(header, output.rows(shown, header))
    if not all(known):
        names = [name for name, each in zip(params["parameter"], known, strict=True) if not each]
        output.print_paragraph(
            f"{list_text(names)}: no standard error, which single resamples decide where it is more than 100 "
            "times the estimate; see the interval"
        )
