"""What `chinchilla-jax study` prints about a study: its progress, or its results."""

from __future__ import annotations

import math
import shlex
from typing import TYPE_CHECKING, Any

from chinchilla_jax._util.text import count_text, duration_text, list_text, speed_text, time_left_text
from chinchilla_jax.cli import output

if TYPE_CHECKING:
    from chinchilla_jax import Study
    from chinchilla_jax.study import StudyStatus

_MOST_NOTES = 5
_MOST_LACKING = 5
_MOST_FAILURES = 10


def print_status(status: StudyStatus, opening: str | None) -> None:
    """The progress of a study, and how to resume it.

    Args:
        status: of the study.
        opening: printed first, if a shard has just been done.
    """
    import time

    from chinchilla_jax.study.spec.reproduce import study_command
    from chinchilla_jax.study.storage.tables import FILES

    why = {"stopped": "no process is working on it", "failed": status.error}.get(status.state)
    if opening:
        output.echo(f"{status.location}: {opening}")
    output.echo(f"{status.location}: {status.state}{f' ({why})' if why else ''}")
    share = 100.0 * status.fits_done / max(status.fits, 1)
    output.echo(
        f"{status.chunks_done:,} of {status.chunks:,} chunks, {status.fits_done:,} of {status.fits:,} fits "
        f"({share:.0f}%): {output.status_line(status.status_counts)}"
    )
    if status.state == "running":
        if status.chunks_done == status.chunks:
            output.echo("all fits are done; tables, figures and page are being written")
        elif status.rate is not None and status.last is not None:
            left = time_left_text(status.fits - status.fits_done, status.rate)
            ago = max(0.0, time.time() - status.last)
            output.echo(f"{speed_text(status.rate, 'fits')}, {left}; last chunk {duration_text(ago)} ago")
    elif status.state != "complete":
        if status.chunks_done == status.chunks:
            are = "is" if len(status.lacking) == 1 else "are"
            what = list_text(status.lacking, _MOST_LACKING)
            output.echo(f"all chunks are done; {what} {are} missing, damaged or not of these fits; to write:")
            tables = any(name in FILES.values() for name in status.lacking)
            command = "study finish" if tables else "report"
            output.echo(f"  chinchilla-jax {command} {shlex.quote(status.location)}")
        else:
            output.echo(_to_resume(status, opening))
            command = study_command(status.spec, out=status.location, file="SPEC.toml")
            output.echo(f"  {command}")
    for note in status.notes:
        output.print_paragraph(f"note: {note}")
    for name in status.damaged:
        output.echo(f"damaged: {name}; rerun the study to recompute it")
    worst = sorted(status.failures.items(), key=lambda item: -item[1])
    if worst:
        output.echo()
        output.print_table(("condition", "not converged"), worst[:_MOST_FAILURES])
        if len(worst) > _MOST_FAILURES:
            output.echo(f"and {len(worst) - _MOST_FAILURES} more conditions")


def print_study(study: Study) -> None:
    """A finished study: what was fitted, failures, the unperturbed fits, the page."""
    from chinchilla_jax.study.derived import PAGE

    info = study.info
    conditions = count_text(info["n_conditions"], "condition")
    fits = f"{info['n_fits']:,} fits in {duration_text(float(info['wall_time']))}"
    found = "already complete, nothing computed" if study.reused else "complete"
    output.echo(f"{study.directory}: {found}")
    output.echo(f"{conditions}, {fits}: {output.status_line(info['status_counts'])}")
    for line in info.get("read", ()):  # older studies do not say
        output.print_paragraph(line)
    if info.get("resampling"):
        output.print_paragraph(f"resampling: {info['resampling']}")
    _print_failures(study)
    output.echo()
    output.echo("unperturbed, by counting of the parameters (standard errors in brackets)")
    output.print_table(
        ("condition", *study.spec.model.parameters, "tokens/param per decade", "of medians"),
        _interpretations(study),
    )
    output.print_paragraph(
        "tokens/param per decade: change of the estimate's compute-optimal tokens per parameter for ten "
        "times the compute, by a straight line through the budgets of the study; of medians: that of the "
        "medians over the resamples, as in the tables, the figures and the paper"
    )
    if study.directory.exists(PAGE):
        output.echo()
        output.echo(f"page: {study.directory.at(PAGE)}")
    for note in info["notes"][:_MOST_NOTES]:
        output.echo(f"note: {note['condition']}: {note['note']}")
    if len(info["notes"]) > _MOST_NOTES:
        output.echo(f"note: and {len(info['notes']) - _MOST_NOTES} more, in study.json")


def _print_failures(study: Study) -> None:
    """One line on where fits failed, if any did."""
    table = study.params.drop_duplicates("condition").set_index("condition")["n_failed"]
    families = study.conditions.set_index("condition")["family"]
    failed = table.groupby(families.reindex(table.index)).sum()
    worst = failed[failed > 0].sort_values(ascending=False, kind="stable")
    if len(worst):
        places = ", ".join(f"{int(count):,} under {family}" for family, count in worst.items())
        share = 100.0 * worst.sum() / table.size / study.spec.resamples
        why = "are not certified" if study.spec.boundary == "keep" else "are not certified or have E = 0,"
        output.echo(f"note: {int(worst.sum()):,} fits ({share:.2g}%) {why} and left out: {places}")


def _interpretations(study: Study) -> list[tuple[Any, ...]]:
    """One row per unperturbed condition: estimates, and both slopes of the tokens per parameter."""
    from chinchilla_jax._util.labels import HEADLINE
    from chinchilla_jax.intervals import slope_per_decade

    conditions = study.conditions
    names = conditions.loc[conditions["family"] == "identity", "condition"].tolist()
    level, method = study.spec.levels[0], "percentile"
    params, bands = (
        frame[frame["condition"].isin(names) & (frame["method"] == method) & (frame["level"] == level)]
        for frame in (study.params, study.tokens_per_param)
    )
    fitted = {
        (condition, parameter): f"{estimate:.4g} ({float(format(error, '.2g')):g})"
        for condition, parameter, estimate, error in zip(
            *(params[name].tolist() for name in ("condition", "parameter", "estimate", "standard_error")),
            strict=True,
        )
    }
    rows = []
    for name in names:
        # As the tables have them: the law of a study may be a function that is not here.
        own = bands[bands["condition"] == name]
        flops = own["flops"].to_numpy()
        slopes = (
            slope_per_decade(flops, own[column].to_numpy()) if flops.size > 1 else math.nan
            for column in (HEADLINE, "median")
        )
        cells = [fitted[name, parameter] for parameter in study.spec.model.parameters]
        rows.append((name, *cells, *(f"{float(slope):.3g}" for slope in slopes)))
    return rows


def _to_resume(status: StudyStatus, opening: str | None) -> str:
    if status.other_version is not None:
        return f"to resume, with chinchilla_jax {status.other_version} only, which wrote it:"
    return "to resume (or with the other shards):" if opening else "to resume:"
