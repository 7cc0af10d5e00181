"""The gallery: every figure, drawn by the line that is shown beside it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

PREPARED = """\
import numpy as np
import pandas as pd
import chinchilla_jax as cj
from chinchilla_jax.analysis import (
    CoverageSpec, breakdown, coverage, influence, joint_map, objective_sensitivity, wald_test
)
from chinchilla_jax.planning import design

runs = cj.load_runs("examples/runs.csv")
fit = cj.fit(runs)
boot = cj.bootstrap(runs, resamples=400, seed=0)
old, new = (cj.load_runs("examples/recipes.csv", where=[f"recipe == '{name}'"]) for name in ("old", "new"))
"""
"""What the lines of the figures of one's own table start from."""

OWN = {
    "fit": ("What was fitted", "cj.plots.fit(fit)"),
    "fit_params": ("Loss against size", 'cj.plots.fit(fit, against="params")'),
    "residuals": ("Does it fit", "cj.plots.residuals(fit)"),
    "bootstrap": ("Tokens per parameter, and how sure", "cj.plots.bootstrap(boot, flops=[1e22])"),
    "bootstrap_params": ("Sizes, and how sure", 'cj.plots.bootstrap(boot, "params", flops=[1e22])'),
    "plan": ("What to train", "cj.plots.plan(cj.plan(boot, flops=[1e21, 1e22]))"),
    "loss_surface": ("The surface of the loss", "cj.plots.loss_surface(boot)"),
    "prediction": (
        "What loss to expect",
        'cj.plots.prediction(cj.predict(boot, {"params": [1e9, 3e9], "tokens": [3e10, 9e10]}))',
    ),
    "comparison": (
        "Is the other recipe better",
        "cj.plots.comparison(cj.compare(old, new, resamples=200, flops=[1e21]))",
    ),
    "next_runs": ("Which runs next", "cj.plots.next_runs(cj.next_runs(runs, flops=1e22, allowance=1e20))"),
    "information_map": (
        "What one more run would tell",
        "cj.plots.information_map(design.diagnose_bootstrap(boot))",
    ),
    "influence": ("Which runs the answer hangs on", "cj.plots.influence(influence(runs, delta=0.01))"),
    "objectives": (
        "What another objective would say",
        "cj.plots.objectives(objective_sensitivity(runs, flops=[1e21, 1e23], resamples=40))",
    ),
    "wald": (
        "Whether a published law agrees",
        "cj.plots.wald(wald_test(boot, cj.laws.HOFFMANN_2022, runs))",
    ),
    "breakdown": (
        "Which miscounts would change the conclusion",
        'cj.plots.breakdown(breakdown(runs, families=["multiplicative", "systematic_bias"], resamples=50))',
    ),
    "coverage": (
        "Whether intervals hold what they promise",
        "cj.plots.coverage(coverage(runs, CoverageSpec(datasets=40, resamples=100)), flops=1e22)",
    ),
    "backtest": (
        "Would it have predicted its own largest runs",
        "cj.plots.backtest(cj.backtest(runs, resamples=200))",
    ),
    "isoflop": (
        "IsoFLOP minima",
        'cj.plots.isoflop(cj.decide.isoflop(cj.load_runs("llama3"), resamples=100))',
    ),
}

PUBLISHED = {
    "relative_error": (
        "Counts of the same models",
        "cj.plots.relative_error(cj.plots.relative_error_table())",
    ),
    "perturbations": (
        "What a study does to counts",
        "cj.plots.perturbations(cj.plots.perturbation_table(study))",
    ),
    "parameters_by_counting": (
        "The law by the counting of parameters",
        "cj.plots.parameters_by_counting(cj.plots.parameters_by_counting_table(study), "
        "cj.plots.published_parameters())",
    ),
    "tokens_per_param_by_counting": (
        "Tokens per parameter by the counting of parameters",
        "cj.plots.tokens_per_param_by_counting(cj.plots.tokens_per_param_by_counting_table(study))",
    ),
    "parameters_by_family": (
        "The law under one kind of error",
        'cj.plots.parameters_by_family(cj.plots.parameters_by_family_table(study, "multiplicative"))',
    ),
    "tokens_per_param_by_family": (
        "Tokens per parameter under one kind of error",
        "cj.plots.tokens_per_param_by_family("
        'cj.plots.tokens_per_param_by_family_table(study, "multiplicative"))',
    ),
    "joint_map": ("Two kinds of error at once", "cj.plots.joint_map(joint_map(study))"),
}

DECIDED = {
    "model_ratios": (
        "Published models against the law",
        "cj.plots.model_ratios(cj.decide.place_models(laws, cj.decide.known_models()))",
    ),
    "ratio_maps": (
        "Inference included",
        "cj.plots.ratio_maps(cj.decide.ratio_map(cj.decide.SARDANA_2023, np.linspace(1.8, 2.6, 40), "
        "np.geomspace(1e9, 1e14, 30)))",
    ),
    "flop_ratio": (
        "FLOP of a model against 6 N D",
        "cj.plots.flop_ratio(cj.decide.flop_ratio_table(), cj.plots.context_cost_table())",
    ),
    "parabola_bias": ("The bias of parabolas", "cj.plots.parabola_bias(cj.plots.parabola_bias_table())"),
    "simulation_errors": (
        "Scaling up step by step, simulated",
        'cj.plots.simulation_errors(pd.read_csv("experiments/progressive_scaling/scenarios.csv"))',
    ),
    "design_costs": (
        "What a new sweep costs",
        "cj.plots.design_costs(design.new_design(largest=1e20, allowance=1e21, tables=20))",
    ),
}

STUDY = """\
sizes = {"family": "multiplicative", "values": [0.5, 0.7, 1.0, 1.4, 2.0]}
tokens = {"family": "tokens_multiplicative", "values": [0.5, 1.0, 2.0]}
spec = cj.StudySpec(
    interpretations=["standard", "reported", "best_fit"],
    sweeps=[sizes, {"product": [sizes, tokens]}],
    resamples=40,
)
study = cj.run_study(spec, out="results/small", figures=False)
"""
"""What the lines of the figures of a study start from."""

ANALYSES = """\
found = cj.multiverse("examples/runs.csv", flops=1e22, laws=["chinchilla", "equal_exponents"], resamples=100)
"""
"""What the lines of the figures of many analyses start from."""

COMPARED = {
    "specification_curve": (
        "How much the analyst's choices move the answer",
        "cj.plots.specification_curve(found.answer(reference=20.0))",
    ),
}

ATLAS_PREPARED = """\
read = lambda kind: pd.read_csv(f"experiments/atlas/{kind}.csv")  # or atlas.claims, ...
"""
"""What the lines of the figures of an atlas start from."""

ATLAS = {
    "atlas_claims": ("What holds on which table", 'cj.plots.atlas_claims(read("claims"))'),
    "atlas_slopes": ("Slopes of tokens per parameter, by table", 'cj.plots.atlas_slopes(read("slopes"))'),
    "atlas_ratios": ("Tokens per parameter, by table", 'cj.plots.atlas_ratios(read("ratios"))'),
    "atlas_breakdown": (
        "How wrong the counts may be, by table",
        'cj.plots.atlas_breakdown(read("breakdown"), "ratio_leaves_interval")',
    ),
    "atlas_table": (
        "One table under every error",
        'cj.plots.atlas_table(read("sensitivity"), "olmo_ladder")',
    ),
}

SECTIONS = (
    ("Your own table", PREPARED, OWN),
    ("Many analyses of one table", ANALYSES, COMPARED),
    ("A robustness study", STUDY, PUBLISHED),
    ("The atlas", ATLAS_PREPARED, ATLAS),
    ("Decisions", "laws = cj.decide.LawSample.from_bootstrap(boot)", DECIDED),
)


def files() -> Iterator[tuple[str, str | bytes]]:
    """The page and its figures, as names and contents."""
    lines = [
        "# Gallery",
        "",
        "Every figure with the line that makes it. One panel takes `ax=` and returns that Axes. The two",
        "panels of a result (a plan, a comparison, ...) take `axes=` and return both. Several panels of a",
        "table take `ax=`, one for each, and return the Figure.",
        "",
    ]
    for title, prepared, figures in SECTIONS:
        lines += [f"## {title}", ""]
        lines += ["```python", prepared.rstrip(), "```", ""]
        for name, (caption, line) in figures.items():
            lines += [f"### {caption}", "", "```python", line, "```", "", f"![{caption}]({name}.png)", ""]
    yield "index.md", "\n".join(lines)
    yield from drawn().items()


@cache
def drawn() -> dict[str, bytes]:
    """The figures as PNG files, drawn in a folder of their own beside the example tables."""
    import matplotlib

    matplotlib.use("Agg")
    from chinchilla_jax.plots.panels import unshown
    from chinchilla_jax.plots.save import figure_files

    found: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), unshown():
        for given in ("examples", "experiments"):
            Path(given).symlink_to(ROOT / given)
        names: dict[str, object] = {}
        for _, prepared, figures in SECTIONS:
            exec(prepared, names)
            for name, (_, line) in figures.items():
                found.update(figure_files([(name, eval(line, names))], dpi=110, formats=("png",)))
    return found
