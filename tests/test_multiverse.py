"""The multiverse of a table: enumeration, numbers against single bootstraps, resumption and shards."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cli import done, refused, strict_json

import chinchilla_jax as cj
from chinchilla_jax._util.errors import DataWarning, UsageError
from chinchilla_jax.laws import read_law
from chinchilla_jax.study.multiverse.counts import restated
from chinchilla_jax.study.multiverse.options import read_objectives
from chinchilla_jax.study.multiverse.specifications import Choices

RESAMPLES = 20
SMALL = {
    "laws": ["chinchilla"],
    "objectives": ["huber", "squared"],
    "deltas": [1e-3],
    "countings": ["as_plotted", "standard"],
    "rows": ["all", "drop_loss:5"],
    "schemes": ["pairs", "bayesian"],
    "resamples": RESAMPLES,
    "progress": None,
}


@pytest.fixture(scope="module")
def found():
    return cj.multiverse("chinchilla", flops=[1e22, 1e24], **SMALL)


def chosen(found, **options):
    rows = found.specifications
    for name, option in options.items():
        rows = rows[rows[name] == option]
    (number,) = rows["specification"]
    return int(number)


def test_shape_of_the_table(found):
    assert len(found) == 2 * 2 * 2 * 2 * 2
    assert len(found.table) == len(found) * 2 * 4
    assert found.draws("loss", 1e22).shape == (len(found), RESAMPLES)
    assert found.choices["cost"] == ("6nd", "attention")
    assert found.counting == "as_plotted"
    assert list(found.table.columns[:8]) == ["specification", *found.choices]


@pytest.mark.parametrize("scheme", ["pairs", "bayesian"])
@pytest.mark.parametrize("objective", [cj.Huber(1e-3), "squared"])
def test_a_specification_is_the_bootstrap_of_its_choices(found, objective, scheme):
    name = objective if isinstance(objective, str) else "huber"
    number = chosen(
        found, objective=name, counting="as_plotted", cost="6nd", rows="drop_loss:5", scheme=scheme
    )
    runs = cj.load_runs("chinchilla")
    boot = cj.bootstrap(runs, objective=objective, scheme=scheme, resamples=RESAMPLES, progress=None)
    params, tokens = boot.laws.optimal([1e22, 1e24])
    np.testing.assert_allclose(found.draws("params", 1e24)[number], params[:, 1], rtol=1e-6)
    np.testing.assert_allclose(found.draws("tokens", 1e22)[number], tokens[:, 0], rtol=1e-6)
    best = np.array([law.loss(n, d) for law, n, d in zip(boot.laws, params[:, 0], tokens[:, 0], strict=True)])
    np.testing.assert_allclose(found.draws("loss", 1e22)[number], best, rtol=1e-9)
    mine = found.table[
        (found.table["specification"] == number) & (found.table["quantity"] == "tokens_per_param")
    ]
    theirs = boot.tokens_per_param([1e22, 1e24])
    for column in ("estimate", "low", "median", "high"):
        np.testing.assert_allclose(mine[column], theirs[column], rtol=1e-6)


def test_another_counting_is_fitted_as_counted_and_stated_in_the_first(found):
    number = chosen(
        found, objective="huber", counting="standard", cost="6nd", rows="drop_loss:5", scheme="pairs"
    )
    plain = cj.load_runs("chinchilla")
    runs = cj.load_runs("chinchilla", params="standard")
    boot = cj.bootstrap(runs, objective=cj.Huber(1e-3), resamples=RESAMPLES, progress=None)
    params, tokens = boot.laws.optimal(1e24)
    np.testing.assert_allclose(found.draws("tokens", 1e24)[number], tokens, rtol=1e-6)
    # The reported models have 3.6% to 15.2% more parameters than the standard formula counts.
    ratio = found.draws("params", 1e24)[number] / params
    assert np.all(ratio > 1.03)
    assert np.all(ratio < 1.2)
    assert np.all(plain.params > runs.params)


def test_resamples_are_shared_and_the_default_analysis_is_named(found):
    default = found.specifications.iloc[found.default]
    assert (default["objective"], default["delta"], default["rows"]) == ("huber", "0.001", "drop_loss:5")
    assert (default["counting"], default["cost"], default["scheme"]) == ("as_plotted", "6nd", "pairs")


def same(one, other):
    pd.testing.assert_frame_equal(one.table, other.table, check_exact=True)
    for flops in one.flops:
        np.testing.assert_array_equal(one.draws("params", flops), other.draws("params", flops))


def test_numbers_do_not_depend_on_workers_directories_shards_or_interruptions(found, tmp_path):
    asked = {"flops": [1e22, 1e24], **SMALL}
    same(found, cj.multiverse("chinchilla", workers=1, **asked))
    whole = tmp_path / "whole"
    same(found, cj.multiverse("chinchilla", out=whole, **asked))
    shards = tmp_path / "shards"
    assert cj.multiverse("chinchilla", out=shards, shard="1/2", **asked) is None
    same(found, cj.multiverse("chinchilla", out=shards, shard="2/2", **asked))
    # Broken off: a part is missing, and another is damaged.
    parts = sorted(whole.glob("*.parquet"))
    assert len(parts) == 2
    parts[0].unlink()
    content = bytearray(parts[1].read_bytes())
    content[len(content) // 2] ^= 1
    parts[1].write_bytes(content)
    with pytest.warns(DataWarning, match="damaged"):
        same(found, cj.multiverse("chinchilla", out=whole, **asked))
    advanced = []
    same(found, cj.multiverse("chinchilla", out=whole, **{**asked, "progress": advanced.append}))
    assert not advanced


def test_an_order_of_options_changes_no_answer(found):
    reversed_options = {
        name: list(reversed(value)) if isinstance(value, list) and name != "countings" else value
        for name, value in SMALL.items()
    }
    other = cj.multiverse("chinchilla", flops=[1e22, 1e24], **reversed_options)
    columns = [*found.choices]
    ours, theirs = (each.specifications[columns].fillna("").apply(tuple, axis=1) for each in (found, other))
    place = {options: number for number, options in enumerate(theirs)}
    order = [place[options] for options in ours]
    np.testing.assert_array_equal(found.draws("tokens", 1e22), other.draws("tokens", 1e22)[order])


def test_what_is_not_identified_is_counted_and_named():
    runs = cj.load_runs("chinchilla")
    line = cj.Runs(params=runs.params, tokens=20 * runs.params, loss=runs.loss)
    found = cj.multiverse(
        line, flops=1e22, laws=["chinchilla"], objectives=["squared"], rows=["all"], schemes=["pairs"],
        resamples=RESAMPLES, progress=None,
    )  # fmt: skip
    assert found.n_failed == len(found) == 1
    assert not found.table["identified"].any()
    assert found.table[["estimate", "low", "high"]].isna().all(axis=None)
    assert found.table["doubt"].iloc[0]
    assert "no estimate" in found.failed_text
    assert np.isnan(found.estimates()).all()


def test_rows_that_are_the_same_runs_count_once():
    rows = ["all", "min_params:1", "min_tokens:1", "drop_loss:5", "drop_loss:2%"]
    found = cj.multiverse("chinchilla", **{**SMALL, "rows": rows})
    assert found.choices["rows"] == ("all", "drop_loss:5")
    (said,) = [note for note in found.notes if note.startswith("Rows")]
    same = "min_params:1, min_tokens:1 and drop_loss:2%"
    assert said == f"Rows: {same} are the runs of other options, and counted once."


def test_an_answer_that_rests_on_little_is_doubtful():
    found = cj.multiverse(
        "quest_2bit", flops=2e19, laws=["chinchilla"], objectives=["huber"], deltas=[1e-3], rows=["all"],
        schemes=["pairs"], resamples=RESAMPLES, progress=None,
    )  # fmt: skip
    assert found.choices["counting"] == ("params", "params_non_embedding", "params_without_input_embedding")
    assert (found.table["doubt"] != "").all()
    assert "3 have a doubtful one" in found.failed_text or found.n_failed


names = st.lists(st.sampled_from(["huber", "squared", "raw_squared", "huber_scale"]), min_size=1, unique=True)


@given(
    laws=st.lists(st.sampled_from(["chinchilla", "kaplan", "gamma"]), min_size=1, unique=True),
    objectives=names,
    deltas=st.lists(st.sampled_from([1e-4, 1e-3, 0.5, "auto"]), min_size=1, unique=True),
    sizes=st.tuples(*[st.integers(1, 3)] * 4),
)
@settings(max_examples=40, deadline=None)
def test_specifications_are_every_combination_once(laws, objectives, deltas, sizes):
    given_deltas = deltas if "huber" in objectives else None
    options = [tuple(f"{kind}{i}" for i in range(size)) for kind, size in zip("ncrs", sizes, strict=True)]
    choices = Choices(
        laws=tuple(read_law(name) for name in laws),
        objectives=read_objectives(objectives, given_deltas),
        countings=options[0], costs=options[1], rows=options[2], schemes=options[3],
    )  # fmt: skip
    frame = choices.frame()
    with_delta = len(deltas) if "huber" in objectives else 0
    count = len(laws) * (with_delta + len([name for name in objectives if name != "huber"]))
    assert len(frame) == len(choices) == count * np.prod(sizes)
    assert not frame.drop(columns="specification").fillna("").duplicated().any()
    assert (frame["delta"].notna() == (frame["objective"] == "huber")).all()
    jobs = choices.jobs()
    numbers = np.concatenate([job.specifications.ravel() for job in jobs])
    assert sorted(numbers) == list(range(len(choices)))
    for job in jobs:
        of_job = frame.loc[job.specifications.ravel()]
        assert set(of_job["law"]) == {choices.laws[job.law].name}
        assert set(of_job["rows"]) == {choices.rows[job.rows]}
    assert sum(job.n_fitted for job in jobs) == choices.n_fitted


@given(st.floats(-0.5, 3.0), st.floats(0.0, 0.9), st.booleans())
def test_a_count_is_restated_as_the_models_say(log_share, power, more):
    plain = np.geomspace(1e7, 1e10, 12)
    other = np.geomspace(2e7, 3e10, 12)
    assert restated(plain, plain).is_same
    extra = np.exp(log_share) * 1e5 * (plain / 1e7) ** power * (1 if more else -1)
    found = restated(plain, plain + extra)
    np.testing.assert_allclose(found(plain), plain + extra, rtol=1e-9)
    assert found.miss < 1e-9
    constant = restated(other, 1.5 * other)
    np.testing.assert_allclose(constant(np.array([1e5, 1e12])), [1.5e5, 1.5e12], rtol=1e-9)
    assert np.isinf(found(np.array([np.inf]))).all()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"laws": ["chinchila"]}, "chinchilla"),
        ({"laws": ["repeated_data"]}, "unique_tokens"),
        ({"laws": ["compute_only"]}, "give laws of params and tokens"),
        ({"laws": []}, "laws is empty"),
        ({"laws": ["gamma", "gamma"]}, "twice"),
        ({"objectives": ["hubber"]}, "huber"),
        ({"objectives": ["squared"], "deltas": [1e-3]}, "deltas are for"),
        ({"deltas": [0.0]}, "delta"),
        ({"countings": ["standart"]}, "standard"),
        ({"costs": ["measured"]}, "no FLOP other than 6 N D"),
        ({"costs": ["money"]}, "6nd"),
        ({"rows": ["best"]}, "no choice of runs"),
        ({"rows": ["drop_loss:x"]}, "no positive number"),
        ({"rows": ["drop_loss:500"]}, "whole number from 1 to 244"),
        ({"rows": ["min_params:1e13"]}, "leaves 0 runs"),
        ({"schemes": ["jackknife"]}, "spread of the estimate"),
        ({"schemes": ["pears"]}, "pairs"),
        ({"shard": "1/2"}, "out=DIR"),
        ({"shard": "3/2", "out": "x"}, "3/2"),
        ({"flops": [-1.0]}, "positive"),
        ({"level": 1.5}, "level"),
        ({"workers": 0}, "workers"),
        ({"drop_highest_loss": 3}, "give rows instead"),
        ({"nothing": 3}, "nothing"),
    ],
)
def test_bad_input_is_one_line(asked, said):
    with pytest.raises(UsageError, match=said) as error:
        cj.multiverse("chinchilla", **{**SMALL, **asked})
    assert "\n" not in str(error.value)


def test_too_many_specifications_are_refused_before_any_work(monkeypatch):
    monkeypatch.setenv("CHINCHILLA_JAX_MAX_SPECIFICATIONS", "10")
    with pytest.raises(UsageError, match="32 specifications, and the limit is 10; name fewer laws"):
        cj.multiverse("chinchilla", **SMALL)
    monkeypatch.delenv("CHINCHILLA_JAX_MAX_SPECIFICATIONS")
    monkeypatch.setenv("CHINCHILLA_JAX_MAX_FITS", "10")
    with pytest.raises(UsageError, match="fits, and the limit is 10"):
        cj.multiverse("chinchilla", **SMALL)


COMMAND = (
    "multiverse", "chinchilla", "--flops", "1e24", "--laws", "chinchilla", "--objectives", "huber,squared",
    "--deltas", "1e-3", "--countings", "as_plotted,standard", "--rows", "all,drop_loss:5",
    "--schemes", "pairs,bayesian", "--resamples", str(RESAMPLES),
)  # fmt: skip


def test_the_command_gives_the_same_numbers(found):
    printed = strict_json(done(*COMMAND, "--json"))
    assert printed["n_specifications"] == len(found)
    assert printed["n_fits"] == 16 * RESAMPLES
    assert printed["choices"] == {name: list(options) for name, options in found.choices.items()}
    mine = found.table[found.table["flops"] == 1e24]
    for column in ("estimate", "low", "high"):
        theirs = [row[column] for row in printed["specifications"]]
        np.testing.assert_array_equal(theirs, mine[column])


def test_the_command_says_how_many_there_are_and_fits_in_100_columns(found, tmp_path):
    text = done(*COMMAND, "--figures", str(tmp_path))
    assert "32 specifications: 1 law x 2 objectives with their delta x 2 countings x 2" in text
    assert "320 fits (a cost needs none of its own)" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 100
    assert (tmp_path / "specification_curve_1e24.png").stat().st_size > 10_000


def test_shards_on_the_command_line(tmp_path):
    out = ("--out", str(tmp_path / "out"))
    assert "shard 1/2 done" in done(*COMMAND, *out, "--shard", "1/2")
    assert "Every specification has an estimate" in done(*COMMAND, *out, "--shard", "2/2")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--laws", "chinchilla,"), "separated by commas"),
        (("--deltas", "x"), "positive number"),
        (("--shard", "1/2"), "give --out DIR"),
        (("--drop-highest-loss", "3"), "give --rows drop_loss:K"),
        (("--counting", "standard"), "give --countings standard"),
        (("--loss", "c4=loss_c4"), "--column loss=NAME"),
        (("--rows", "drop_loss:0"), "no positive number"),
    ],
)
def test_the_command_refuses_in_one_line(options, said):
    assert said in refused(*COMMAND[:4], *options)


@pytest.mark.slow
def test_laws_without_a_kernel_on_few_runs_are_as_a_bootstrap_finds_them():
    # A race of two starts against a search from nine, on 34 runs.
    found = cj.multiverse(
        "gadre_c4", flops=1e22, laws=["equal_exponents", "gamma"], objectives=["huber"], deltas=["auto"],
        countings={"params": "params"}, rows=["all"], schemes=["pairs"], resamples=50, progress=None,
    )  # fmt: skip
    for number, law in enumerate(found.choices["law"]):
        boot = cj.bootstrap("gadre_c4", law, scheme="pairs", resamples=50, progress=None)
        theirs = np.where(boot.counted, boot.laws.tokens_per_param(1e22), np.nan)
        same = np.isclose(found.draws()[number], theirs, rtol=1e-5, equal_nan=True)
        assert same.mean() >= 0.98
        np.testing.assert_allclose(
            found.estimates()[number], boot.point.law.tokens_per_param(1e22), rtol=1e-9
        )


def test_every_scheme_draws_what_a_bootstrap_draws():
    schemes = ["wild", "residual", "cluster:params"]
    found = cj.multiverse(
        "chinchilla", flops=1e24, laws=["chinchilla"], objectives=["huber"], deltas=[1e-3],
        countings=["as_plotted"], costs=["6nd"], rows=["drop_loss:5"], schemes=schemes,
        resamples=RESAMPLES, progress=None,
    )  # fmt: skip
    for number, scheme in enumerate(("wild", "residual", cj.Cluster(by="params"))):
        boot = cj.bootstrap("chinchilla", scheme=scheme, resamples=RESAMPLES, progress=None)
        np.testing.assert_allclose(found.draws()[number], boot.laws.tokens_per_param(1e24), rtol=1e-6)


def test_a_measured_cost_is_drawn_with_the_runs():
    found = cj.multiverse(
        "olmo_ladder", flops=1e22, laws=["chinchilla"], objectives=["squared"], rows=["all"],
        countings={"params": "params"}, costs=["measured"], schemes=["pairs"], resamples=RESAMPLES,
        progress=None,
    )  # fmt: skip
    boot = cj.bootstrap(
        "olmo_ladder", objective="squared", scheme="pairs", resamples=RESAMPLES, progress=None
    )
    assert not boot.point.cost.is_6nd
    mine = found.table[found.table["quantity"] == "tokens_per_param"]
    theirs = boot.tokens_per_param(1e22)
    for column in ("estimate", "low", "median", "high"):
        np.testing.assert_allclose(mine[column], theirs[column], rtol=1e-6)
