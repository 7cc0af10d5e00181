"""Fits that the sources of the embedded tables publish, beside ours by the same procedure.

    python experiments/atlas/published_fits/run.py
    python experiments/atlas/published_fits/run.py --only quest                # these again, the others kept
    python experiments/atlas/published_fits/run.py --ladder-runs DIR           # see `olmo_ladder`

published.csv has their figures and where each is printed; comparison.csv has ours beside them, with 80%
intervals. Each fit takes the rows, the objective, its delta and the count of parameters of the source.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import sys
import time
import types
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.optimize

import chinchilla_jax as cj
from chinchilla_jax import planning
from chinchilla_jax._util.text import counts_text
from chinchilla_jax.laws import LAWS, Squared
from chinchilla_jax.laws.compute import GOPHER_FLOPS

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from beside import (  # noqa: E402
    COLUMNS,
    FiveParameters,
    Published,
    Rows,
    descent,
    draws_of,
    five_parameters,
    of,
    row,
    verdict,
    write,
)  # fmt: skip
from stopped import stopped  # noqa: E402

EXPERIMENTS = HERE.parents[1]
TABLES = Path(cj.__file__).parent / "datasets" / "tables"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--only", nargs="*", choices=list(SECTIONS), help="sections to run again")
    parser.add_argument("--ladder-runs", type=Path, help="src/scripts/paper/data/ladder-runs of OLMo-ladder")
    parser.add_argument("--tables", type=Path, default=HERE)
    args = parser.parse_args(arguments)
    published = pd.read_csv(HERE / "published.csv")
    found: Rows = []
    for name in args.only or SECTIONS:
        started = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # which doubts a fit leaves is what the notes say
            found += SECTIONS[name](published, args)
        print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
    write(pd.DataFrame(found, columns=COLUMNS), args.tables / "comparison.csv")


def chinchilla(published: pd.DataFrame, args: argparse.Namespace) -> Rows:
    """Approach 3 of Hoffmann et al. and its replication, on the 240 runs read off their figure."""

    def runs() -> cj.Runs:
        return cj.load_runs("chinchilla", params="as_plotted")

    rows = []
    for name, objective in (("hoffmann", cj.Huber(1e-3)), ("besiroglu", cj.HuberScale(1e-3))):
        what = FiveParameters(runs, objective, "pairs", GOPHER_FLOPS)
        rows += five_parameters(name, what, of(published, name), args.resamples)
    return rows


def llama3(published: pd.DataFrame, args: argparse.Namespace) -> Rows:
    """D* = A C^a from IsoFLOP parabolas; the runs are read off their figure."""
    theirs, budget = of(published, "llama3"), 3.8e25
    found = planning.isoflop(cj.load_runs("llama3"), resamples=args.resamples)
    params, tokens = (each[:, 0] for each in found.optimal(budget))
    lower = found.optimal(budget / 10)[1][:, 0]
    powers = np.log10(tokens / lower)
    coefficients = tokens / budget**powers
    rows = []
    for quantity, values in (
        ("exponent of D", powers),
        ("coefficient of D", coefficients),
        ("tokens at 3.8e25 FLOP", tokens),
        ("params at 3.8e25 FLOP", params),
    ):
        kept = values[1:][np.isfinite(values[1:])]
        rows.append(row("llama3", quantity, theirs[quantity], float(values[0]), kept))
        precise = theirs.get(f"{quantity}, three digits")
        if precise is not None:
            rows.append(row("llama3", f"{quantity}, three digits", precise, float(values[0]), kept))
    printed = theirs["coefficient of D"] * budget ** theirs["exponent of D"]
    precise = theirs["coefficient of D, three digits"] * budget ** theirs["exponent of D, three digits"]
    rows.append(row("llama3", "tokens at 3.8e25 FLOP by 0.29 C^0.53", printed, float(tokens[0]), tokens[1:]))
    rows.append(
        row("llama3", "tokens at 3.8e25 FLOP by 0.299 C^0.537", precise, float(tokens[0]), tokens[1:])
    )
    return rows


def gadre(published: pd.DataFrame, args: argparse.Namespace) -> Rows:
    """Five runs, least squares of the loss; then all runs below a billion parameters."""
    their = _script("gadre2024")
    rows = []
    for corpus in ("c4", "redpajama", "refinedweb"):
        name = f"gadre {corpus}"
        table = pd.read_csv(TABLES / "gadre.csv").query(f"corpus == '{corpus}'")
        theirs, ratio = of(published, name), table["tokens_per_param_over_20"]
        five = table[
            (table["params"].isin(their.FITTED) & (ratio == 1))
            | ((table["params"] == their.FITTED[0]) & (ratio == 16))
        ]
        runs = cj.Runs(five["params"].to_numpy(), five["tokens"].to_numpy(), loss=five["loss"].to_numpy())
        point = cj.fit(runs, "over_training", objective="raw_squared")
        small = cj.load_runs(table[table["params"] < 1e9])
        boot = cj.bootstrap(small, "over_training", resamples=args.resamples, scheme="pairs")
        note = f"5 runs: {point.status.name}; the interval is that of {len(small)} runs"
        draws = draws_of(boot)
        rows += [row(name, key, theirs[key], point.parameters[key], draws[key], note) for key in draws]
        for quantity, params, over in (
            ("relative error, 1.4B at 640 tokens per parameter", 1439795200, 32),
            ("relative error, 6.9B at 20 tokens per parameter", 6889410560, 1),
        ):
            if quantity in theirs:
                held = table[(table["params"] == params) & (ratio == over)].iloc[0]
                error = abs(float(point.law.loss(params, held["tokens"])) / held["loss"] - 1)
                rows.append(row(name, quantity, theirs[quantity], error))
    return rows


def _gemstones(column: str, **more: Any) -> cj.Runs:
    return cj.load_runs("gemstones", columns={"params": column}, groups=["run"], **more)


def gemstones(published: pd.DataFrame, args: argparse.Namespace) -> Rows:
    """The 199 cool-downs, by two deltas and two counts of N; shapes are resampled, as rows share trunks."""
    rows = []
    counts = {"": "params", ", no input embedding": "params_without_input_embedding"}
    for delta in ("1e-4", "1e-3"):
        for ending, column in counts.items():
            name = f"gemstones, delta {delta}{ending}"
            what = FiveParameters(
                lambda column=column: _gemstones(column),  # type: ignore[misc]
                cj.Huber(float(delta)),
                cj.Cluster(by="run"),
                1e21,
            )
            rows += five_parameters(name, what, of(published, name), args.resamples)
    by_quantity = {(each["fit"], each["quantity"]): each for each in rows}
    own = by_quantity["gemstones, delta 1e-3", "exponent of N"]
    first = of(published, "gemstones, approach 1")["exponent of N"]
    inside = "yes" if float(own["low"]) <= first <= float(own["high"]) else "no"
    note = "theirs from the lower hull of the loss curves, ours from the law (delta 1e-3)"
    rows.append(
        {**own, "fit": "gemstones, approach 1", "theirs": f"{first:.5g}", "inside": inside, "note": note}
    )
    name = "gemstones, delta 1e-4"
    return [*rows, *stopped(name, of(published, name), _gemstones("params"))]


def by_shape(p: Mapping[str, Any], x: Mapping[str, Any]) -> Any:
    """Their law of width, depth, parameters and tokens."""
    shape = p["A_width"] * x["width"] ** -p["of_width"] + p["A_depth"] * x["depth"] ** -p["of_depth"]
    return p["E"] + shape + p["A"] * x["params"] ** -p["alpha"] + p["B"] * x["tokens"] ** -p["beta"]


def gemstones_by_shape(published: pd.DataFrame, args: argparse.Namespace) -> Rows:
    """The same cool-downs by a law of nine parameters; point fits only."""
    power = {"low": 0.1, "high": 1.0}
    law = cj.laws.from_function(
        by_shape,
        {
            "E": cj.non_negative(1.5),
            "A_width": cj.positive(5.0, low=1.0, high=10.0),
            "of_width": cj.positive(0.3, **power),
            "A_depth": cj.positive(1.0, low=0.3, high=2.0),
            "of_depth": cj.positive(0.4, **power),
            "A": cj.positive(1e3, low=1e2, high=1e4),
            "alpha": cj.positive(0.4, **power),
            "B": cj.positive(3e4, low=1e3, high=1e6),
            "beta": cj.positive(0.5, **power),
        },
        variables=("params", "tokens", "width", "depth"),
    )
    runs = cj.load_runs("gemstones", variables=["width", "depth"])
    rows = []
    for delta in ("1e-4", "1e-3"):
        name, objective = f"gemstones by shape, delta {delta}", cj.Huber(float(delta))
        theirs = of(published, name)
        point = cj.fit(runs, law, objective=objective)
        given = {key: value for key, value in theirs.items() if key != "objective"}
        at, near = descent(law, runs, objective, given)
        note = f"{len(runs)} runs; {verdict(at, point.objective_value, near)}; {point.status.name}"
        rows.append(row(name, "objective", at, point.objective_value, note=note))
        rows += [row(name, key, value, point.parameters[key]) for key, value in given.items()]
    return rows


def olmo_ladder(published: pd.DataFrame, args: argparse.Namespace) -> Rows:
    """Step 1 with the C4 loss: 16 ladder runs, and what the law says of the 13B model.

    They average the last five evaluations of a run, the embedded table has the last one. With --ladder-runs,
    the folder of a checkout of their repository, the means are fitted too.
    """
    where = "rerun == 0 and tokens_per_param_over_20 >= 1 and params < 2e9"
    reading = {"columns": {"params": "params_without_input_embedding", "flops": ""}, "where": where}
    runs = cj.load_runs("olmo_ladder", **reading)
    rows = _ladder("olmo ladder", runs, of(published, "olmo ladder"), args.resamples)
    if args.ladder_runs is not None:
        means = [
            _five_point_mean(args.ladder_runs, n, d) for n, d in zip(runs.params, runs.tokens, strict=True)
        ]
        same = cj.Runs(runs.params, runs.tokens, loss=means)
        name = "olmo ladder, five-point means"
        rows += _ladder(name, same, of(published, "olmo ladder"), args.resamples)
    return rows


def _ladder(name: str, runs: cj.Runs, theirs: Published, resamples: int) -> Rows:
    point = cj.fit(runs, objective=cj.Huber(1e-3))
    boot = cj.bootstrap(runs, point=point, scheme="pairs", resamples=resamples)
    place = (13202396160.0, 5000088518656.0)
    errors = np.abs(np.asarray(point.law.loss(runs.params, runs.tokens)) / runs.loss - 1)
    quantity = "C4 loss of the 13B model at 5T tokens"
    draws = np.asarray(boot.laws.loss(*place))[boot.counted]
    law = ", ".join(f"{key} {value:.4g}" for key, value in point.parameters.items())
    note = f"{len(runs)} runs; {point.status.name}: {law}; resamples: {counts_text(boot.counts())}"
    ours = float(point.law.loss(*place))
    rows = [row(name, quantity, theirs[quantity], ours, draws, note)]
    quantity = "mean relative error of the fit"
    return [*rows, row(name, quantity, theirs[quantity], float(errors.mean()))]


def _five_point_mean(folder: Path, params: float, tokens: float) -> float:
    """Mean of the last five C4 losses of the run of that size and length, from their CSV files."""
    sizes = {190354176: "190M", 371262464: "370M", 758220288: "760M", 1279395840: "1B"}
    length = round(tokens / params / 20)
    table = pd.read_csv(folder / f"{sizes[int(params)]}-{length}xC.csv")
    return float(table["eval/c4_en-validation/CrossEntropyLoss"].tail(5).mean())


def datablations(published: pd.DataFrame, args: argparse.Namespace) -> Rows:
    """The law of one epoch (their runs beside the law that they took from a figure), then R_D and R_N."""
    name, objective = "datablations, one epoch", cj.Huber(1e-3)
    runs, law = cj.load_runs("datablations"), LAWS["equal_exponents"]()
    theirs = of(published, name)
    point = cj.fit(runs, law, objective=objective)
    boot = cj.bootstrap(runs, law, point=point, scheme="pairs", resamples=args.resamples)
    draws = draws_of(boot)
    at, near = descent(law, runs, objective, theirs)
    note = f"{len(runs)} runs, not theirs; {verdict(at, point.objective_value, near)}; {point.status.name}"
    rows = [row(name, "objective", at, point.objective_value, note=note)]
    rows += [row(name, key, theirs[key], point.parameters[key], draws[key]) for key in theirs]
    both = {**theirs, "beta": theirs["alpha"]}
    ratio = float(cj.ScalingLaw(**both).tokens_per_param(1e21))
    every = np.asarray(boot.laws.tokens_per_param(1e21))[boot.counted]
    own = float(point.law.tokens_per_param(1e21))
    rows.append(row(name, "tokens per parameter at any budget", ratio, own, every))
    return [*rows, *_repeated(of(published, "datablations, repeated"), args.resamples)]


def _repeated(theirs: Published, resamples: int) -> Rows:
    name, their = "datablations, repeated", _script("muennighoff2023")
    table = pd.read_csv(TABLES / "datablations.csv").query("corpus == 'c4'")
    table = table[table["seed"].isna() & ~table["run"].isin(their.LEFT_OUT)]
    runs = cj.load_runs(table, variables=["unique_tokens"])
    limits = {"R_D": cj.positive(10.0, low=1.0, high=100.0), "R_N": cj.positive(10.0, low=0.5, high=100.0)}
    law = cj.laws.from_function(
        their.only_repetition, limits, variables=("params", "tokens", "unique_tokens")
    )
    objective = cj.Huber(1e-3)
    point = cj.fit(runs, law, objective=objective, starts=256)
    boot = cj.bootstrap(runs, law, point=point, scheme="pairs", resamples=min(resamples, 200))
    given = {key: theirs[key] for key in limits}
    at, near = descent(law, runs, objective, given)
    note = f"{len(runs)} runs; {verdict(at, point.objective_value, near)}"
    note += f"; resamples: {counts_text(boot.counts())}"
    rows = [row(name, "objective", at, point.objective_value, note=note)]
    draws = draws_of(boot)
    return [*rows, *(row(name, key, given[key], point.parameters[key], draws[key]) for key in given)]


def routing(published: pd.DataFrame, args: argparse.Namespace) -> Rows:
    """Table 3 of Clark et al.: dense runs and those of one router, squared errors of ln L."""
    their = _script("clark2022")
    table = pd.read_csv(TABLES / "routing.csv").query("seed == 42 and active_experts == 1")
    rows = []
    for router in their.PUBLISHED:
        name = f"routing {router}"
        theirs = of(published, name)
        chosen = (table["router"] == router) & (table["routing_frequency"] == 0.5)
        runs = cj.load_runs(
            table[(table["router"] == "Dense") | chosen],
            columns={"params": "params"},
            variables=["params_active", "n_experts"],
        )
        boot = cj.bootstrap(
            runs, "routed_experts", objective="squared", scheme="pairs", resamples=args.resamples
        )
        at, ours = their._squares(runs, theirs) / 2, boot.point.objective_value
        note = f"{len(runs)} runs; {at / ours - 1:.0%} above our optimum as printed; {boot.point.status.name}"
        rows.append(row(name, "objective", at, ours, note=note))
        point = their._as_printed(boot.point.parameters)
        draws = their._as_printed(boot.laws.as_dict())
        rows += [
            row(name, key, value, point[key], np.asarray(draws[key])[boot.counted])
            for key, value in theirs.items()
        ]
    return rows


def quest(published: pd.DataFrame, args: argparse.Namespace) -> Rows:
    """All 104 runs, with an efficiency of parameters for each way to quantise.

    Their 21 parameters are minimised with SciPy; the five of the law are then fitted here with the parameters
    of each run times its published efficiency.
    """
    theirs = of(published, "quest")
    table = pd.read_csv(TABLES / "quest.csv")
    ways = [f"eff {way}" for way in dict.fromkeys(_way(each) for each in table.itertuples()) if way != "16"]
    index = [(["eff 16", *ways]).index(f"eff {_way(each)}") for each in table.itertuples()]
    n, d = np.log(table["params_non_embedding"].to_numpy(float)), np.log(table["tokens"].to_numpy(float))
    y = np.log(table["loss"].to_numpy(float))

    def residuals(p: np.ndarray) -> np.ndarray:
        size = n + np.concatenate([[0.0], p[5:]])[index]
        return np.logaddexp(np.logaddexp(p[0] - p[1] * size, p[2] - p[3] * d), p[4]) - y

    log = {key: math.log(theirs[key]) for key in ("A", "B", "E", *ways)}
    start = [log["A"], theirs["alpha"], log["B"], theirs["beta"], log["E"], *(log[way] for way in ways)]
    best = scipy.optimize.least_squares(residuals, start, xtol=1e-14, ftol=1e-14, gtol=1e-14)
    # Their residuals are a thousandth of ln L: the cost is 1e-6 of ours.
    at = 1e-6 * float((residuals(np.array(start)) ** 2).sum() / 2)
    note = (
        f"{at / theirs['cost'] - 1:+.1e} from the printed cost; {at / (1e-6 * best.cost) - 1:.2%} above ours"
    )
    rows = [row("quest", "cost", at, 1e-6 * best.cost, note=f"104 runs; SciPy, 21 parameters; {note}")]
    sizes = np.exp(n + np.array([0.0, *(log[way] for way in ways)])[index])
    what = FiveParameters(lambda: cj.Runs(sizes, np.exp(d), loss=np.exp(y)), Squared(), "pairs", 1e20)
    rows += five_parameters("quest", what, theirs, args.resamples)
    own = dict(zip(ways, np.exp(best.x[5:]), strict=True))
    return [*rows, *(row("quest", way, theirs[way], own[way]) for way in ways)]


def _way(run: Any) -> str:
    """The name of a way to quantise in published.csv."""
    weights, activations = run.weight_quantizer, run.activation_quantizer
    for mark, way in (("FP4", "fp4"), ("FourEight", "2:4")):
        if mark in weights:
            return way
    if weights == "none":
        return "16"
    if "Hadamard" not in weights:
        return f"{run.weight_bits} plain"
    return f"{run.weight_bits} weights" if activations == "none" else f"{run.weight_bits}"


def _script(experiment: str) -> types.ModuleType:
    """experiments/EXPERIMENT/run.py, which is in no package."""
    spec = importlib.util.spec_from_file_location(experiment, EXPERIMENTS / experiment / "run.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SECTIONS: Mapping[str, Callable[[pd.DataFrame, argparse.Namespace], Rows]] = {
    each.__name__: each
    for each in (
        chinchilla, llama3, gadre, gemstones, gemstones_by_shape, olmo_ladder, datablations, routing, quest
    )
}  # fmt: skip


if __name__ == "__main__":
    main()
