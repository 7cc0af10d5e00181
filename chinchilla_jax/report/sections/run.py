"""What a study ran, how its fits ended, and how to run it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chinchilla_jax._util.labels import COUNTING_NAMES
from chinchilla_jax._util.text import duration_text, size_text
from chinchilla_jax.report import tables
from chinchilla_jax.report.content import Listing, Section
from chinchilla_jax.study.spec.reproduce import spec_toml, study_command

if TYPE_CHECKING:
    from chinchilla_jax.report.facts import Facts
    from chinchilla_jax.study import StudySpec


def run(facts: Facts) -> Section:
    """What was run."""
    failures = tables.failures(facts)
    return Section(
        id="run",
        title="What was run",
        paragraphs=[] if failures else [["Every fit of every condition was certified."]],
        terms=[(name, text) for name, text in _terms(facts) if text],
        tables=[tables.statuses(facts), *([failures] if failures else [])],
    )


def _terms(facts: Facts) -> list[tuple[str, str]]:
    """Names with their values, "" where the study has none."""
    info, spec = facts.study.info, facts.study.spec
    drop = f" (without the {spec.drop_highest_loss} of highest loss)" if spec.drop_highest_loss else ""
    data = f"{facts.data_name}, {int(facts.conditions['n_runs'].max()):,} runs{drop}"
    resampling = f"{spec.resamples:,}, the same ones in every condition; seed {info['seed']}"
    countings = [COUNTING_NAMES.get(name, name) for name in spec.interpretations]
    good, device = info.get("goodness"), info["device"]
    memory = info.get("peak_memory")
    return [
        ("Data", "; ".join([data, *info.get("read", ())])),
        ("Hash of the data", info["data_hash"]),
        ("Counting of parameters", ", ".join(countings)),
        ("Weights of the runs", f"column {spec.weights}" if spec.weights else ""),
        ("Law", facts.law),
        ("Goodness of fit", f"{good} ({countings[0]})" if good else ""),
        ("Objective", f"{_objective(spec)}; solver {spec.solver}"),
        ("Resamples per condition", "; ".join([resampling, *filter(None, [info.get("resampling")])])),
        ("Intervals", f"{', '.join(map(str, spec.levels))}; this page shows the {facts.interval}"),
        ("Versions", ", ".join(f"{name} {version}" for name, version in info["versions"].items())),
        (
            "Device",
            f"{device['count']} \u00d7 {device['kind']} ({device['platform']}), {device['machine']}, "
            f"{device['cores']} cores",
        ),
        ("Processor", "; ".join(info.get("made_on") or ())),
        *(("Note", note["note"]) for note in info["notes"] if note["condition"] == "all"),
        ("Started", info["started"]),
        ("Time", duration_text(float(info["wall_time"] or 0.0))),
        ("Peak memory", size_text(memory) if memory else ""),
    ]


def _objective(spec: StudySpec) -> str:
    """The objective with its numbers, and the other objectives of the point fits."""
    numbers = [
        f"{name} {value:g}" for name in ("delta", "penalty") if (value := getattr(spec, name)) is not None
    ]
    others = [each.name for each in spec.point_estimators if each.name != spec.objective]
    return ", ".join([spec.objective, *numbers, *(f"point fits also by {name}" for name in others)])


def reproduce(facts: Facts) -> Section:
    """The command and the spec."""
    spec = facts.study.spec
    where = " of any x86-64 machine" if spec.reproducible else "; another processor changes their last digits"
    same = "The same spec, data and versions give the same numbers, on any number of cores"
    return Section(
        id="reproduce",
        title="Reproduce",
        listings=[
            Listing(
                id="command",
                label="Command to reproduce this study",
                lead=f"{same}{where}:",
                text=study_command(spec),
            ),
            Listing(
                id="spec",
                label="spec.toml",
                lead="The spec with every default spelled out (spec.toml):",
                text=spec_toml(spec),
                file="spec.toml",
                folded=True,
            ),
        ],
    )
