"""Writes the tables that the documentation uses, beside this file: `python examples/make_tables.py`.

The runs are simulated, so that every page can say what the true answer is: the losses follow a published law
with errors of 0.4%, and the sizes are those of plain transformers with 32,768 tokens in the vocabulary.
"""

from pathlib import Path

import numpy as np
import pandas as pd

import chinchilla_jax as cj

HERE = Path(__file__).parent
TRUE = cj.laws.BESIROGLU_2024
NOISE = 0.004  # standard deviation of ln loss


def non_embedding(layers: np.ndarray) -> np.ndarray:
    """Parameters of a transformer of width 64 x layers: 12 x layers x width^2."""
    return 12 * layers * (64 * layers) ** 2


def total(layers: np.ndarray) -> np.ndarray:
    """The same with the embedding."""
    return non_embedding(layers) + 32_768 * 64 * layers


def rounded(tokens: np.ndarray) -> np.ndarray:
    """Tokens in whole batches of 2^18."""
    return np.maximum(np.round(tokens / 2**18), 1).astype(int) * 2**18


def layers_around(flops: float, count: int = 10) -> np.ndarray:
    """Depths whose sizes lie within a factor of three of the optimum at a budget."""
    sizes = np.sqrt(flops / 120) * np.geomspace(1 / 3.6, 3.6, count)
    depths = np.arange(3, 80)
    return np.unique([depths[np.argmin(np.abs(np.log(total(depths) / size)))] for size in sizes])


def sweep(budgets: list[float], count: int = 10) -> pd.DataFrame:
    """IsoFLOP slices: sizes around the optimum of each budget, trained until it is spent."""
    slices = [(flops, layers) for flops in budgets for layers in layers_around(flops, count)]
    layers = np.array([layers for _, layers in slices])
    flops = np.array([flops for flops, _ in slices])
    table = pd.DataFrame({"model": [f"d{depth}" for depth in layers], "params": total(layers)})
    table["params_non_embedding"] = non_embedding(layers)
    table["tokens"] = rounded(flops / (6 * table["params"].to_numpy()))
    return table


def write(name: str, table: pd.DataFrame, loss: np.ndarray, digits: int = 5, column: str = "loss") -> None:
    """The table with its losses as the last column."""
    table.assign(**{column: np.round(loss, digits)}).to_csv(HERE / name, index=False)


def main() -> None:
    """Write them all."""
    rng = np.random.default_rng(1)

    def errors(count: int, size: float = NOISE) -> np.ndarray:
        return np.exp(size * rng.standard_normal(count))

    def loss(table: pd.DataFrame, law: cj.ScalingLaw = TRUE) -> np.ndarray:
        return np.asarray(law.loss(table["params"].to_numpy(float), table["tokens"].to_numpy(float)))

    runs = sweep([1e18, 3e18, 1e19, 3e19, 1e20, 3e20])
    losses = loss(runs) * errors(len(runs))
    write("runs.csv", runs, losses)
    # The same runs, evaluated in bits per byte of a text with 4.2 bytes per token.
    write("bits.csv", runs[["params", "tokens"]], losses / np.log(2) / 4.2, column="val_bpb")

    seeds = sweep([1e18, 1e19, 1e20], 5)[["model", "params", "tokens"]]
    own = errors(len(seeds))  # a configuration's own error, which its seeds share
    seeds = seeds.assign(own=own).loc[seeds.index.repeat(3)].assign(seed=np.tile([1, 2, 3], len(seeds)))
    write(
        "seeds.csv",
        seeds.drop(columns="own"),
        loss(seeds) * seeds["own"].to_numpy() * errors(len(seeds), 0.001),
    )

    ended = sweep([1e19, 1e20], 5)[["model", "params", "tokens"]]
    ended.insert(0, "run", [f"{model}-{row}" for row, model in enumerate(ended["model"])])
    part = np.tile(np.arange(1, 9) / 8, len(ended))
    own = np.repeat(errors(len(ended)), 8)
    checkpoints = ended.loc[ended.index.repeat(8)].reset_index(drop=True)
    checkpoints["tokens"] = rounded(checkpoints["tokens"].to_numpy() * part)
    undecayed = 1 + 0.03 * (1 - part)  # before the learning rate has decayed
    write("checkpoints.csv", checkpoints, loss(checkpoints) * own * undecayed)

    epochs = sweep([1e19, 3e19, 1e20], 7)[["params", "tokens"]]
    epochs = epochs.loc[epochs.index.repeat(4)].assign(share=np.tile([1, 1 / 4, 1 / 12, 1 / 40], len(epochs)))
    epochs["unique_tokens"] = rounded((epochs["tokens"] * epochs["share"]).to_numpy())
    numbers = {name: getattr(TRUE, name) for name in ("E", "A", "B", "alpha", "beta")} | {"R_D": 15, "R_N": 5}
    values = cj.laws.RepeatedData.predict(
        numbers, {name: epochs[name].to_numpy(float) for name in ("params", "tokens", "unique_tokens")}
    )
    write("epochs.csv", epochs.drop(columns="share"), np.asarray(values) * errors(len(epochs)))

    experts = sweep([1e19, 3e19, 1e20, 3e20], 6)[["params", "tokens"]].rename(
        columns={"params": "params_active"}
    )
    experts = experts.loc[experts.index.repeat(3)].assign(sparsity=np.tile([0.0, 0.75, 0.9375], len(experts)))
    experts.insert(0, "params", np.round(experts["params_active"] / (1 - experts["sparsity"])).astype(int))
    published = {name: kind.guess for name, kind in cj.laws.SparseExperts.kinds.items()}
    values = cj.laws.SparseExperts.predict(
        published, {name: experts[name].to_numpy(float) for name in ("params", "tokens", "sparsity")}
    )
    write("experts.csv", experts, np.asarray(values) * errors(len(experts)))

    recipes = sweep([3e18, 3e19, 3e20], 10)[["params", "tokens"]]
    new = recipes.assign(tokens=recipes["tokens"] * 1.8)  # as good as 1.8 times the tokens
    both = pd.concat([recipes.assign(recipe="old"), recipes.assign(recipe="new")], ignore_index=True)
    write(
        "recipes.csv",
        both[["recipe", "params", "tokens"]],
        np.concatenate([loss(recipes), loss(new)]) * errors(len(both)),
    )

    layers = np.array([5, 7, 9, 12, 15, 18, 22, 26, 30, 36])
    ladder = pd.DataFrame({"params": total(layers), "tokens": rounded(20 * total(layers))})
    write("ladder.csv", ladder, loss(ladder) * errors(len(ladder)))


if __name__ == "__main__":
    main()
