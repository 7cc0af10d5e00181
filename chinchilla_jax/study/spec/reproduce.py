"""How to run a study again: its spec as a TOML file, and the command line."""

from __future__ import annotations

import dataclasses
import shlex

from chinchilla_jax.laws import OwnLaw
from chinchilla_jax.study.spec.paper import paper_study
from chinchilla_jax.study.spec.study_spec import StudySpec
from chinchilla_jax.study.spec.toml_file import toml_assignments


def study_command(spec: StudySpec, *, out: str | None = None, file: str = "spec.toml") -> str:
    """The command line that runs or resumes `spec`.

    Args:
        spec: the study; the published one goes by its name.
        out: the directory; None for one in results/.
        file: the TOML file of any other study.
    """
    paper = paper_study(seed=spec.seed)
    # At its own number of resamples: so many of all its conditions may be more fits than a spec can have.
    asked = dataclasses.replace(spec, engine="auto", reproducible=False, resamples=paper.resamples)
    published = asked == paper
    source = "paper" if published else shlex.quote(file)
    out = out or f"results/{'paper' if published else 'study'}"
    return (
        f"chinchilla-jax study {source} --out {shlex.quote(out)} "
        f"--resamples {spec.resamples} --seed {spec.seed}"
        f"{' --law FILE.py:NAME' if isinstance(spec.law, OwnLaw) else ''}"
        f"{'' if spec.engine == 'auto' else f' --engine {spec.engine}'}"
        f"{' --reproducible' if spec.reproducible else ''}"
    )


def spec_toml(spec: StudySpec) -> str:
    """`spec` as TOML that `StudySpec.from_toml` reads back as an equal spec; every default is spelled out.

    A law of the user's own is left out: he names it on the command line.
    """
    fields = spec.to_dict()
    if isinstance(spec.law, OwnLaw):
        del fields["law"]
    sweeps = fields.pop("sweeps")
    lines = toml_assignments(fields)
    for sweep in sweeps:
        lines += ["", "[[sweeps]]", *toml_assignments(sweep)]
    return "\n".join(lines) + "\n"
