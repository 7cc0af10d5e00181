"""`chinchilla-jax study atlas`: run an atlas, and ask about one; `cli/study.py` calls these."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.text import count_text, duration_text, size_text
from chinchilla_jax.cli import output

if TYPE_CHECKING:
    from chinchilla_jax.study import StudyStatus
    from chinchilla_jax.study.atlas import Atlas, AtlasSpec, AtlasStatus

NAME = "atlas"


def read_atlas(resamples: int | None, seed: int | None, tables: tuple[str, ...], **refused: Any) -> AtlasSpec:
    """The atlas that the options ask for.

    Raises:
        UsageError: an option is for single studies.
    """
    from chinchilla_jax.study.atlas import atlas_study

    for option, value in refused.items():
        if value:
            raise UsageError(f"--{option}: the atlas has its own; leave it out, or run a study of one table")
    given: dict[str, Any] = {"resamples": resamples, "seed": seed, "tables": tables or None}
    return atlas_study(**{name: value for name, value in given.items() if value is not None})


def holds_atlas(directory: str) -> bool:
    """Whether a directory holds an atlas and not a study."""
    from chinchilla_jax._util.directories import open_directory
    from chinchilla_jax.study.atlas.store import is_atlas

    return is_atlas(open_directory(directory))


def atlas_line(spec: AtlasSpec) -> str:
    """One line on what will be computed."""
    studies = spec.studies()
    conditions = sum(each.n_conditions for each in studies.values())
    fits = sum(each.n_conditions * each.resamples for each in studies.values())
    return f"{NAME}: {count_text(len(studies), 'table')}, {conditions:,} conditions, {fits:,} fits"


def print_check(spec: AtlasSpec, workers: int | None) -> None:
    """What an atlas would do: tables, conditions, fits, time, size."""
    from chinchilla_jax.study.estimate import estimate

    found = {name: estimate(each, workers=workers) for name, each in spec.studies().items()}
    rows = [
        (name, each.n_runs, sum(each.conditions.values()), each.fits, duration_text(each.seconds))
        for name, each in found.items()
    ]
    output.print_table(("table", "runs", "conditions", "fits", "time"), rows)
    output.echo()
    output.echo(atlas_line(spec))
    seconds = sum(each.seconds for each in found.values())
    several = count_text(next(iter(found.values())).workers, "worker")
    output.print_paragraph(
        f"about {duration_text(seconds)} for the fits with {several}, as on the machine of "
        "benchmarks/RESULTS.md; breakdowns, figures and pages take about 20 s more per table; about "
        f"{size_text(sum(each.size for each in found.values()))}"
    )


def print_atlas(atlas: Atlas) -> None:
    """A finished atlas: what holds where, and the page."""
    from chinchilla_jax.analysis.claim_rules import FAILS, HOLDS, UNDETERMINED
    from chinchilla_jax.analysis.claims import CLAIMS
    from chinchilla_jax.study.derived import PAGE

    overview, claims, counts = atlas.overview, atlas.claims, atlas.multiplicity
    found = "already complete, nothing computed" if atlas.reused else "complete"
    output.echo(f"{atlas.directory}: {found}")
    output.echo(
        f"{count_text(len(overview), 'table')}, {int(overview['fits'].sum()):,} fits, "
        f"{int(overview['certified'].sum()):,} certified, in {duration_text(float(atlas.info['wall_time']))}"
    )
    output.echo()
    rows = []
    for claim in CLAIMS:
        own = claims[claims["claim"] == claim.name]
        tally = [int((own["verdict"] == verdict).sum()) for verdict in (HOLDS, FAILS, UNDETERMINED)]
        rows.append((claim.sentence, *tally, ", ".join(own.loc[own["verdict"] == FAILS, "table"])))
    output.print_table(("claim", HOLDS, FAILS, UNDETERMINED, "fails on"), rows)
    output.echo()
    output.print_paragraph(
        f"chance alone would decide at most {counts['by_chance']:g} of the {counts['judged']} cells wrongly, "
        f"theorems apart; of the {counts['holds'] + counts['fails']} that are decided, {counts['survive']} "
        "stand when all are judged together"
    )
    output.echo(f"page: {atlas.directory.at(PAGE)}")


def print_atlas_status(status: AtlasStatus, opening: str | None = None) -> None:
    """How far every study of an atlas has come, and how to resume.

    Args:
        status: of the atlas.
        opening: printed first, if a shard has just been done.
    """
    if opening:
        output.echo(f"{status.location}: {opening}")
    output.echo(f"{status.location}: {'complete' if status.complete else 'not complete'}")
    output.print_table(
        ("table", "state", "chunks", "of", "fits"),
        [(name, *_progress(each)) for name, each in status.studies.items()],
    )
    if status.complete:
        return
    if status.lacking:
        output.echo(f"all fits are done; {', '.join(status.lacking)} missing; to write:")
        output.echo(f"  chinchilla-jax study finish {shlex.quote(status.location)}")
        return
    output.echo("to resume:")
    tables = "".join(f" --table {name}" for name in status.spec.tables)
    output.echo(
        f"  chinchilla-jax study atlas --out {shlex.quote(status.location)} --resamples "
        f"{status.spec.resamples} --seed {status.spec.seed}{'' if _all_tables(status) else tables}"
    )


def _all_tables(status: AtlasStatus) -> bool:
    from chinchilla_jax.study.atlas import TABLES

    return status.spec.tables == tuple(TABLES)


def _progress(status: StudyStatus | None) -> tuple[Any, ...]:
    if status is None:
        return ("not begun", 0, "", 0)
    return (status.state, status.chunks_done, status.chunks, status.fits_done)
