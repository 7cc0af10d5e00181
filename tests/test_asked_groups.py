"""Groups that are asked for: refused or weighted where few, and pointed out where they repeat each other."""

import dataclasses

import numpy as np
import pytest
from test_cli import done
from test_small_tables import grid

import chinchilla_jax as cj
from chinchilla_jax.bootstrapping.auto_scheme import choose_scheme, resolve_scheme


def with_seeds(sizes, budgets, seeds):
    """A grid with several seeds of each configuration, which the column `seed` numbers."""
    runs = grid(sizes, budgets)
    again = np.repeat(np.arange(len(runs)), seeds)
    noise = np.random.default_rng(1).normal(0, 0.001, len(again))
    seed = np.tile([f"s{i}" for i in range(seeds)], len(runs))
    repeated = dataclasses.replace(runs.take(again), loss=runs.loss[again] * np.exp(noise))
    return dataclasses.replace(repeated, groups={"seed": seed})


@pytest.mark.parametrize("by", ["params", "flops"])
def test_too_few_groups_are_refused(by):
    runs = grid(3, 6) if by == "params" else grid(6, 3)
    scheme = cj.Cluster(by) if by == "params" else cj.Cluster(labels=runs.tokens)
    for call in (
        lambda: cj.bootstrap(runs, resamples=4, scheme=scheme),
        lambda: resolve_scheme(scheme, runs),
    ):
        with pytest.raises(cj.UsageError, match=r"only 3 .* can be resampled.*finer grouping"):
            call()
    weights = np.where(grid(4, 6).params == grid(4, 6).params.max(), 0.0, 1.0)
    with pytest.raises(cj.UsageError, match="only 3 sizes"):  # a group without weight is none
        cj.bootstrap(grid(4, 6), resamples=4, scheme="cluster", weights=weights)


def test_few_groups_have_the_weights_that_auto_would_give_them_and_its_warning():
    runs = grid(5, 6)
    boot = cj.bootstrap(runs, resamples=20, scheme="cluster")
    assert boot.scheme.concentration is not None
    assert any("only 5 sizes can be resampled" in warning for warning in boot.warnings)
    resolved, dependence = resolve_scheme("cluster", runs, objective=boot.point.objective)
    assert resolved.concentration == pytest.approx(boot.scheme.concentration) and dependence is None
    more = cj.bootstrap(grid(7, 4), resamples=20, scheme="cluster")
    assert more.scheme.concentration is not None and not any("only 7" in each for each in more.warnings)
    # Resamples of resamples are of counts.
    nested = cj.bootstrap(runs, resamples=4, inner=4, scheme="cluster")
    assert nested.scheme.concentration is None and any("only 5 sizes" in each for each in nested.warnings)


def test_isoflop_warns_of_few_groups(tmp_path):  # the others: test_cli_own_tables
    runs = grid(5, 6)
    rows = zip(runs.params, runs.tokens, runs.loss, runs.params.astype(str), strict=True)
    path = tmp_path / "few.csv"
    path.write_text("params,tokens,loss,family\n" + "".join(f"{n},{d},{y},m{m}\n" for n, d, y, m in rows))
    quick = ("--tolerance", "0.9", "--budget", "1e19", "--budget", "1e20", "--resamples", "10")
    text = done("isoflop", str(path), *quick, "--cluster", "family")
    assert "only 5 groups by family can be resampled" in " ".join(text.split())


def test_seeds_repeat_each_other_and_are_no_groups_to_resample():
    with pytest.raises(cj.UsageError, match=r"only 3 groups by seed.*same configurations.*replicates"):
        cj.bootstrap(with_seeds(4, 4, 3), resamples=4, scheme=cj.Cluster("seed"))
    runs = with_seeds(4, 4, 8)
    boot = cj.bootstrap(runs, resamples=10, scheme=cj.Cluster("seed"))
    assert any("the 8 groups by seed hold the same configurations" in each for each in boot.warnings)
    for by in ("replicates", "params"):
        other = cj.bootstrap(runs, resamples=10, scheme=cj.Cluster(by), point=boot.point)
        assert not any("same configurations" in each for each in other.warnings)


def test_checkpoints_are_losses_before_the_end_of_a_schedule():
    tokens = np.arange(1, 11) * 2e9
    params = np.repeat(np.geomspace(1e8, 3e9, 8), len(tokens))
    tokens = np.tile(tokens, 8)
    loss = 1.8 + 450 / params**0.345 + 2100 / tokens**0.367
    loss *= np.exp(np.random.default_rng(0).normal(0, 0.002, len(loss)))
    runs = cj.Runs(params, tokens, 6 * params * tokens, loss, name="mine.csv")
    found = choose_scheme(runs, cj.fit(runs, starts=16))
    assert any(
        "checkpoints of 8 training runs" in each and "last checkpoint" in each for each in found.warnings
    )
    whole = grid(8, 5)
    assert not any("checkpoints" in each for each in choose_scheme(whole, cj.fit(whole, starts=16)).warnings)
