"""Do the runs that `cj.next_runs` proposes narrow an answer as expected, and more than simple rules?

    python experiments/next_runs/run.py                       # 18 planted cells, then the real tables
    python experiments/next_runs/run.py --only planted --repeats 4
    python experiments/next_runs/run.py --smoke               # seconds

Planted: a table of 12, 24 or 60 runs with normal errors of a known law; one next_runs call; then the proposed
runs are "trained": their losses are drawn from the law, and the longer table is bootstrapped. The same for
each simple rule, for random affordable runs, and for what next_runs proposes for shares of the allowance down
to a hundredth. Real: two fifths of a table are known, the others are candidates, whose losses are
then read and not drawn.

Every line of planted.csv and real.csv is a function of its cell and repeat alone; a run that was interrupted
goes on where it ended. `summarise.py` makes the tables of the README.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import chinchilla_jax as cj
from chinchilla_jax.bootstrapping.few_groups import COUNTED_RUNS
from chinchilla_jax.laws.scaling_law import BESIROGLU_2024
from chinchilla_jax.planning.design import NextRuns
from chinchilla_jax.planning.design.rules import rule_choices

HERE = Path(__file__).parent
TRUTHS = {
    "besiroglu2024": BESIROGLU_2024,
    "hoffmann2022": cj.ScalingLaw(E=1.69, A=406.4, B=410.7, alpha=0.3392, beta=0.2849),
}
TARGETS = ("tokens_per_param@1e22", "loss@1e22", "alpha")
DESIGNS = ("isoflop", "grid")
COUNTS = (12, 24, 60)
PARTS = (0.5, 0.25, 0.1, 0.05, 0.02, 0.01)
NOISE, RUNS, RESAMPLES = 0.005, 3, 400
REAL = {
    "chinchilla": ("chinchilla", {}),
    "llama3": ("llama3", {}),
    "gadre": ("gadre.csv", {"where": ["corpus == 'c4'"]}),
    "gemstones": ("gemstones.csv", {}),
}


def design(kind: str, count: int, law: cj.ScalingLaw, generator: np.random.Generator) -> cj.Runs:
    """Runs of 1e17 to 1e20 FLOP: IsoFLOP curves, or a grid of sizes and tokens per parameter."""
    if kind == "isoflop":
        rows = {12: 3, 24: 4, 60: 6}[count]
        flops, off = np.meshgrid(np.geomspace(1e17, 1e20, rows), np.geomspace(1 / 4, 4, count // rows))
        params = np.asarray(law.optimal(flops.ravel())[0]) * off.ravel()
        tokens = flops.ravel() / 6 / params
    else:
        rows = {12: 4, 24: 6, 60: 10}[count]
        size, ratio = np.meshgrid(np.geomspace(1e7, 1e9, rows), np.geomspace(8, 100, count // rows))
        params, tokens = size.ravel(), (size * ratio).ravel()
    return trained(law, params, tokens, generator)


def trained(law: cj.ScalingLaw, params: Any, tokens: Any, generator: np.random.Generator) -> cj.Runs:
    """Runs at these places with losses of the law and normal errors."""
    losses = np.asarray(law.loss(params, tokens)) * np.exp(NOISE * generator.standard_normal(len(params)))
    return cj.Runs(params=params, tokens=tokens, loss=losses, name="runs")


def joined(first: cj.Runs, second: cj.Runs) -> cj.Runs:
    columns = {name: np.concatenate([getattr(first, name), getattr(second, name)])
               for name in ("params", "tokens", "flops", "loss")}  # fmt: skip
    return cj.Runs(**columns, name="runs")


def realised(found: NextRuns, runs: cj.Runs, truth: float | None) -> dict[str, float]:
    """Width and error of the first target from these runs, by the scheme of the proposal."""
    question, target = found.question, found.question.targets[0]
    few = "bayesian" if len(runs) < COUNTED_RUNS else "pairs"
    scheme = few if found.boot.members is None else "auto"
    boot = cj.bootstrap(runs, resamples=RESAMPLES, scheme=scheme)
    if not boot.estimated:
        return {"width": np.nan, "error": np.nan, "holds": np.nan}
    values = question.reading.values(target, boot.laws[np.flatnonzero(boot.counted)])
    low, high = np.nanquantile(values, [0.1, 0.9])
    point = question.reading.values(target, boot.point.model.fitted(boot.point.theta[None], boot.design))[0]
    return {
        "width": high - low,
        "error": np.nan if truth is None else point - truth,
        "holds": np.nan if truth is None else float(low <= truth <= high),
    }


def proposals(
    found: NextRuns, allowance: float, generator: np.random.Generator
) -> dict[str, tuple[int, ...]]:
    """What is trained: the proposal, each rule, random runs, and the best to first order for less."""
    question = found.question
    chosen: dict[str, tuple[int, ...]] = {"now": (), "chosen": found.chosen}
    chosen |= rule_choices(question, allowance, RUNS)
    share = np.flatnonzero(question.places.flops <= allowance / RUNS)
    if len(share) >= RUNS:
        chosen["random"] = tuple(generator.choice(share, RUNS, replace=False).tolist())
    for part in PARTS:
        if question.places.flops.min() <= part * allowance:
            chosen[f"{part:g} of it"] = question.plain.choose(part * allowance, RUNS)
    return chosen


def lines_of(
    found: NextRuns, chosen: dict[str, tuple[int, ...]], reveal: Any, known: cj.Runs, truth: float | None
) -> list[dict[str, Any]]:
    simulated = found.choices.set_index("choice")["after"].to_dict()
    simulated["chosen"] = float(found.widths["after"].iloc[0])
    lines = []
    for name, places in chosen.items():
        runs = joined(known, reveal(np.array(places, int))) if places else known
        lines.append(
            {"choice": name, "flops": float(found.question.places.flops[list(places)].sum()),
             "linear": float(found.question.widths(places)[0]), "expected": simulated.get(name, np.nan),
             **realised(found, runs, truth)}
        )  # fmt: skip
    return lines


def planted(cell: tuple[str, str, int, str], repeat: int, robust: bool = False) -> list[dict[str, Any]]:
    """All lines of one table of a cell: truth, design, number of runs, target."""
    name, kind, count, target = cell
    law = TRUTHS[name]
    seeds = [list(TRUTHS).index(name), DESIGNS.index(kind), count, repeat]  # the same table for every target
    generator = np.random.default_rng(seeds)
    known = design(kind, count, law, generator)
    allowance = float(known.flops.max())
    found = cj.next_runs(
        known, target=target, allowance=allowance, runs=RUNS, resamples=RESAMPLES, tables=32, refits=150,
        seed=repeat, robust=robust,
    )  # fmt: skip
    truth = float(found.question.reading.values(found.question.targets[0], law.map(np.atleast_1d))[0])
    places = found.question.places

    def reveal(chosen: Any) -> cj.Runs:
        return trained(law, places.params[chosen], places.tokens[chosen], generator)

    return lines_of(found, proposals(found, allowance, generator), reveal, known, truth)


def real(cell: tuple[str, str], repeat: int, data: Path, robust: bool = False) -> list[dict[str, Any]]:
    """All lines of one draw of known runs of a real table."""
    name, target = cell
    source, options = REAL[name]
    every = cj.load_runs(source if source == name else str(data / source), **options)
    every = cj.Runs(params=every.params, tokens=every.tokens, flops=every.flops, loss=every.loss, name="runs")
    generator = np.random.default_rng([list(REAL).index(name), repeat])
    order = generator.permutation(len(every))
    count = int(np.clip(0.4 * len(every), 15, 60))
    known, hidden = every.take(order[:count]), every.take(order[count:])
    allowance = float(np.quantile(hidden.flops, 0.9))
    found = cj.next_runs(
        known, target=target, allowance=allowance, runs=RUNS, once=True,
        candidates=hidden.to_frame().drop(columns="loss"), resamples=RESAMPLES, tables=32,
        refits=150, seed=repeat, robust=robust,
    )  # fmt: skip
    whole = cj.fit(every, starts=64).law
    truth = float(found.question.reading.values(found.question.targets[0], whole.map(np.atleast_1d))[0])
    places = found.question.places
    at = {(n, d): i for i, (n, d) in enumerate(zip(hidden.params, hidden.tokens, strict=True))}

    def reveal(chosen: Any) -> cj.Runs:
        return hidden.take([at[places.params[i], places.tokens[i]] for i in chosen])

    return lines_of(found, proposals(found, allowance, generator), reveal, known, truth)


def cells(which: str) -> list[tuple[Any, ...]]:
    if which == "real":
        return [(name, target) for name in REAL for target in TARGETS]
    return [
        (name, kind, count, target)
        for count in COUNTS
        for name, kind in zip(TRUTHS, DESIGNS, strict=True)
        for target in TARGETS
    ]


def campaign(
    which: str, repeats: range, file: Path, data: Path, wanted: list[str], robust: bool = False
) -> None:
    """Append the lines of each cell of the wanted names and each repeat that the file does not hold yet."""
    chosen = [cell for cell in cells(which) if set(wanted) <= set(map(str, cell))]
    names = ["truth", "design", "n", "target"] if which == "planted" else ["table", "target"]
    done: set[Any] = set()
    if file.exists():
        done = set(pd.read_csv(file)[[*names, "repeat"]].itertuples(index=False, name=None))
    for repeat in repeats:
        for cell in chosen:
            if (*cell, repeat) in done:
                continue
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    if which == "planted":
                        lines = planted(cell, repeat, robust)
                    else:
                        lines = real(cell, repeat, data, robust)
            except cj.ChinchillaError as error:
                lines = [{"choice": "refused", "why": str(error)}]
            keys = dict(zip(names, cell, strict=True)) | {"repeat": repeat}
            columns = [
                *names, "repeat", "choice", "flops", "linear", "expected", "width", "error", "holds", "why",
            ]  # fmt: skip
            table = pd.DataFrame([keys | line for line in lines]).reindex(columns=columns)
            table.to_csv(file, mode="a", header=not file.exists(), index=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=("planted", "real"))
    parser.add_argument("--repeats", type=int, nargs="+", default=[0, 10], help="first and last, or how many")
    parser.add_argument(
        "--data", type=Path, default=Path("data"), help="folder of gadre.csv and gemstones.csv"
    )
    parser.add_argument("--tables", type=Path, default=HERE)
    parser.add_argument("--cell", nargs="+", default=[], metavar="NAME", help="only cells of these names")
    parser.add_argument("--robust", action="store_true", help="choose as next_runs(..., robust=True)")
    parser.add_argument("--smoke", action="store_true", help="one planted table, nothing is written")
    args = parser.parse_args()
    if args.smoke:
        print(pd.DataFrame(planted(cells("planted")[0], 0)).to_string(index=False))
        return
    repeats = range(*args.repeats) if len(args.repeats) == 2 else range(args.repeats[0])
    for which in ("planted", "real"):
        if args.only in (None, which):
            campaign(which, repeats, args.tables / f"{which}.csv", args.data, args.cell, args.robust)


if __name__ == "__main__":
    main()
