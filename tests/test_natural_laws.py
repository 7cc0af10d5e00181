"""Laws in natural parameters and further variables: built-in ones, and those from a user's function."""

import math
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import scipy.optimize
from scipy.special import chdtri

import chinchilla_jax as cj
from chinchilla_jax._util.float64 import float64_scope
from chinchilla_jax.laws import LAWS, STANDARD, Design, Gamma, NaturalLaw, from_function, read_law
from chinchilla_jax.laws.natural_fits import laws_at
from chinchilla_jax.solvers.jax_newton.law_program import LawProgram

OTHERS = [name for name in LAWS if name not in STANDARD]
RUNS = 80  # of tables that need no engine: what is compiled once serves all of these tests
# Runs that cannot determine a law, whatever their losses: what all of them have in common.
IN_COMMON = {
    "gamma": {"params": 1e9},
    "over_training": {"params": 1e9, "tokens": 1e10},
    "farseer": {"params": 1e9},
    "compute_only": {"params": 1e9, "tokens": 1e10},
    "repeated_data": {"unique_tokens": 1e15},
    "sparse_experts": {"sparsity": 0.5},
    "routed_experts": {"n_experts": 1.0},
    "joint_experts": {"n_experts": 8.0},
}
FIVE = {
    "E": cj.non_negative(1.7),
    "A": cj.positive(400.0),
    "B": cj.positive(400.0),
    "alpha": cj.positive(0.3),
    "beta": cj.positive(0.3),
}


def hoffmann(p, x):
    return p["E"] + p["A"] * x["params"] ** -p["alpha"] + p["B"] * x["tokens"] ** -p["beta"]


def frontier(p, x):
    return p["E"] + p["K"] * (x["params"] * x["tokens"]) ** -p["gamma"]


def guesses(law):
    return {name: kind.guess for name, kind in law.kinds.items()}


def simulated(law, count, noise, seed):
    """Runs of the law at its guesses, with every variable it names."""
    rng = np.random.default_rng(seed)
    n, d = np.exp(rng.uniform(17, 23, count)), np.exp(rng.uniform(20, 27, count))
    drawn = {
        "flops": 6 * n * d,
        "unique_tokens": d / np.exp(rng.uniform(0, 5, count)),
        "sparsity": rng.choice([0.0, 0.5, 0.75, 0.9, 0.95, 0.98], count),
        "params_active": n * np.exp(-rng.uniform(0, 2, count)),
        "n_experts": rng.choice([1.0, 2.0, 8.0, 32.0, 128.0, 512.0], count),
    }
    x = {"params": n, "tokens": d, **{name: drawn[name] for name in law.variables[2:]}}
    with float64_scope():
        loss = np.asarray(law.predict(guesses(law), {name: jnp.asarray(v) for name, v in x.items()}))
    variables = {name: drawn[name] for name in law.columns}
    return cj.Runs(n, d, loss=loss * np.exp(noise * rng.standard_normal(count)), variables=variables)


# --- the contract of every law -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", OTHERS)
def test_the_coordinates_of_a_law_are_its_natural_parameters(name):
    law = LAWS[name]()
    design = law.design(simulated(law, 20, 0.01, seed=0))
    theta = law.internal(guesses(law), design)
    assert law.natural(theta, design) == pytest.approx(guesses(law), rel=1e-14)
    np.testing.assert_array_equal(law.starts(design, 5)[0], theta)
    # Fewer starts are the first of more.
    np.testing.assert_array_equal(law.starts(design, 3), law.starts(design, 9)[:3])
    assert np.isfinite(law.starts(design, 64)).all()


@pytest.mark.parametrize("name", LAWS)
def test_laws_come_back_from_their_natural_parameters(name):
    """As a study stores them: without the runs, in the units of the runs."""
    law = LAWS[name]()
    counts = np.geomspace(1e7, 1e10, 12)
    runs = cj.Runs(counts, 20 * counts**1.1, loss=np.linspace(4, 2, 12))
    design = Design.from_runs(runs)
    theta = law.starts(design, 5)
    there = laws_at(law, law.natural(theta, design), Design.of_units(design.units))
    again = law.natural(theta, design) if isinstance(there, cj.ScalingLaw) else there.theta
    if isinstance(there, cj.ScalingLaw):
        np.testing.assert_allclose(list(there.as_dict().values()), list(again.values()), rtol=1e-12)
    else:
        np.testing.assert_allclose(again, theta, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", OTHERS)
def test_the_engine_sees_the_law_and_its_slopes(name):
    law = LAWS[name]()
    runs = simulated(law, RUNS, 0.0, seed=1)
    design = law.design(runs)
    theta = law.starts(design, 4)[3] * 0.1 + law.starts(design, 1)[0] * 0.9
    np.testing.assert_allclose(law.residuals(law.starts(design, 1)[0], design), 0.0, atol=1e-12)
    with float64_scope():
        program = LawProgram(type(law), 4, np.float64)
        place = tuple(jnp.float64(column[0]) for column in design.places)
        features, shared = program.prepare(place, jnp.asarray(law.constants(design)))

        def log_loss(x):
            inner = program.inner(list(x), features, shared)
            return jnp.log(inner) if program.ends_in_log else inner

        slopes = np.asarray(jax.jit(jax.jacfwd(log_loss))(jnp.asarray(theta)))
    numeric = np.empty_like(theta)
    for j in range(law.size):
        step = 1e-6 * max(abs(theta[j]), 1e-2)
        up, down = theta.copy(), theta.copy()
        up[j] += step
        down[j] -= step
        above, below = (law.residuals(each, design)[0] for each in (up, down))
        numeric[j] = (above - below) / (2 * step)
    np.testing.assert_allclose(slopes, numeric, rtol=2e-4, atol=1e-7)
    np.testing.assert_allclose(law.jacobian(theta, design)[0], slopes, rtol=1e-9, atol=1e-13)


# Far beyond its linear errors, which are wide, farseer overflows.
@pytest.mark.parametrize("name", [name for name in OTHERS if name != "farseer"])
def test_noise_moves_a_law_no_further_than_its_errors_and_to_one_place(name):
    law, sd = LAWS[name](), 1e-4
    runs = simulated(law, RUNS, sd, seed=2)
    design = law.design(runs)
    truth = law.internal(guesses(law), design)

    def fitted(start):
        return scipy.optimize.least_squares(
            lambda theta: law.residuals(theta, design) / sd,
            start,
            jac=lambda theta: law.jacobian(theta, design) / sd,
            x_scale="jac",
            max_nfev=150,
        )

    rng = np.random.default_rng(3)
    slopes = law.jacobian(truth, design) / sd
    errors = np.linalg.cholesky(np.linalg.inv(slopes.T @ slopes))
    found = [fitted(truth + away * errors @ rng.standard_normal(law.size)) for away in (0.0, 30.0, 30.0)]
    best = min(found, key=lambda each: each.cost)
    # The cost at the truth is half of chi squared, and the fit takes p degrees of freedom of it.
    at_truth = 0.5 * np.sum((law.residuals(truth, design) / sd) ** 2)
    assert 0 < at_truth - best.cost < 0.5 * chdtri(law.size, 1e-6)
    covariance = np.linalg.inv(best.jac.T @ best.jac)
    distance = (best.x - truth) @ best.jac.T @ best.jac @ (best.x - truth)
    assert np.isfinite(covariance).all() and distance < 3 * chdtri(law.size, 1e-6)
    for other in found:
        # No twin: what fits as well is the same law.
        if other.cost < best.cost * (1 + 1e-6):
            apart = np.abs(other.x - best.x) / np.sqrt(np.diag(covariance))
            assert apart.max() < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_newton_by_the_derivatives_of_the_engine_ends_certified(name):
    """Least squares on noisy runs, by full steps: the decrement falls to nothing only if both are right."""
    law = LAWS[name]()
    # Beyond its linear errors, which are wide, farseer overflows.
    design = law.design(simulated(law, RUNS, 1e-9 if name == "farseer" else 1e-6, seed=5))
    theta = law.internal(guesses(law), design)
    with float64_scope():
        program = LawProgram(type(law), len(law.constants(design)), np.float64)
        features, shared = jax.vmap(program.prepare, in_axes=(0, None), out_axes=(0, None))(
            design.places, jnp.asarray(law.constants(design))
        )

        def parts(theta, features):
            f = program.inner(list(theta), features, shared)
            first = [
                0.0 * f if each is None else each(list(theta), features, shared) for each in program.first
            ]
            second = {key: each(list(theta), features, shared) for key, each in program.second.items()}
            return (
                f,
                jnp.stack(first),
                [
                    [second.get((max(j, k), min(j, k)), 0.0 * f) for k in range(law.size)]
                    for j in range(law.size)
                ],
            )

        at = jax.jit(jax.vmap(parts, in_axes=(None, 0)))
        for _ in range(8):
            f, first, second = (np.asarray(each) for each in at(theta, features))
            second = np.moveaxis(second, -1, 0)
            if program.ends_in_log:
                first, second = first / f[:, None], second / f[:, None, None]
                second, f = second - first[:, :, None] * first[:, None, :], np.log(f)
            residuals = f - design.log_loss
            gradient = first.T @ residuals
            hessian = first.T @ first + np.einsum("i,ijk->jk", residuals, second)
            scale = 1 / np.sqrt(np.diag(hessian))
            step = scale * np.linalg.solve(hessian * np.outer(scale, scale), scale * gradient)
            decrement = 0.5 * gradient @ step / (0.5 * residuals @ residuals)
            theta = theta - step
    assert decrement <= 1e-12 and (np.linalg.eigvalsh(hessian * np.outer(scale, scale)) > 0).all()
    for key, value in guesses(law).items():
        assert law.natural(theta, design)[key] == pytest.approx(value, rel=0.1, abs=0.01), key


@pytest.mark.parametrize("name", OTHERS)
def test_what_runs_have_in_common_a_law_does_not_learn_from_them(name):
    law = LAWS[name]()

    def condition(runs):
        design = law.design(runs)
        jacobian = law.jacobian(law.internal(guesses(law), design), design)
        scale = np.linalg.norm(jacobian, axis=0)
        return np.linalg.cond(jacobian / np.where(scale > 0, scale, 1.0))

    runs, common = simulated(law, RUNS, 0.0, seed=4), IN_COMMON[name]
    counts = {key: np.full(RUNS, common.get(key, 0.0)) for key in common}
    poor = cj.Runs(
        counts.get("params", runs.params),
        counts.get("tokens", runs.tokens),
        loss=runs.loss,
        variables={key: counts.get(key, values) for key, values in runs.variables.items()},
    )
    assert condition(runs) < 1e8 < 1e12 < condition(poor)


# The others compile for ten seconds or more: benchmarks/any_law.py fits them all.
@pytest.mark.slow
def test_a_law_is_found_again():
    law = LAWS["routed_experts"]()
    runs = simulated(law, 250, 1e-4, seed=2)
    found = cj.fit(runs, law, delta=1e-3)
    assert found.status is cj.Status.CONVERGED, found.reason
    design = law.design(runs)
    truth = found.objective.value(law.residuals(law.internal(guesses(law), design), design), np.ones(250))
    assert found.objective_value < truth
    for key, value in guesses(law).items():
        assert found.parameters[key] == pytest.approx(value, rel=0.25, abs=0.02), key


# --- single laws against other sources ---------------------------------------------------------------------


def test_repeated_data_as_published():
    # The numbers of Muennighoff et al. 2023, section 6, for a model beyond U_N; they print U_N as 0.051 U.
    best = (521 / 1488) ** (1 / 0.353)
    assert best == pytest.approx(0.051, abs=5e-4)
    n, d, unique = 2.8e9, 55e9, 4e9
    excess, repeats = n / (best * unique) - 1, d / unique - 1
    params = best * unique * (1 + 5.3 * (1 - math.exp(-excess / 5.3)))
    tokens = unique * (1 + 15.4 * (1 - math.exp(-repeats / 15.4)))
    wanted = 1.87 + 521 * params**-0.353 + 1488 * tokens**-0.353
    p = {"E": 1.87, "A": 521.0, "B": 1488.0, "alpha": 0.353, "beta": 0.353, "R_D": 15.4, "R_N": 5.3}
    x = {"params": n, "tokens": d, "unique_tokens": unique}
    with float64_scope():
        assert float(LAWS["repeated_data"].predict(p, x)) == pytest.approx(wanted, rel=1e-12)
        # Tokens that are all new are worth what they are.
        new = float(LAWS["repeated_data"].predict(p, x | {"params": 1e8, "unique_tokens": math.inf}))
    assert new == pytest.approx(1.87 + 521 * 1e8**-0.353 + 1488 * d**-0.353, rel=1e-6)


def test_over_training_is_the_five_parameter_law_with_equal_exponents():
    law = LAWS["over_training"]()
    design = Design.from_runs(simulated(law, 10, 0.0, seed=3))
    fitted = law.fitted(law.internal(guesses(law), design), design)
    same = law.allocation_law(fitted.theta, design)
    n, d = np.array([1e8, 3e9]), np.array([1e11, 2e10])
    np.testing.assert_allclose(fitted.loss(n, d), same.loss(n, d), rtol=1e-12)
    np.testing.assert_allclose(fitted.tokens_per_param([1e20, 1e24]), same.tokens_per_param([1e20, 1e24]))


def test_gamma_of_one_is_the_five_parameter_law():
    law, five = LAWS["gamma"](), cj.ScalingLaw(E=1.8, A=480.0, B=2000.0, alpha=0.35, beta=0.37)
    design = Design.from_runs(simulated(law, 10, 0.0, seed=4))
    theta = law.internal(law.embedded(five.as_dict()), design)
    fitted = law.fitted(theta, design)
    np.testing.assert_allclose(fitted.loss(1e9, [1e9, 1e12]), five.loss(1e9, [1e9, 1e12]), rtol=1e-12)
    # By search, since the law has no closed form.
    flops = np.array([1e19, 1e23])
    np.testing.assert_allclose(fitted.tokens_per_param(flops), five.tokens_per_param(flops), rtol=1e-6)


def test_experts_as_published():
    """The constants and formulas as readers transcribe them; the papers themselves were not at hand."""
    # Abnar et al. 2025, eq. 6 with table 3, for 18.8B parameters, 110.2B tokens and a sparsity of 0.98.
    n, d, active = 18.8e9, 110.2e9, 0.02
    wanted = 16612.50 / n**0.5962 + 5455.67 / d**0.3954 + 0.4598 / active**-0.1666
    wanted += 17.26 / (active**0.1603 * n**0.1595) + 0.94
    law = LAWS["sparse_experts"]()
    with float64_scope():
        found = law.predict(guesses(law), {"params": n, "tokens": d, "sparsity": 0.98})
        assert float(found) == pytest.approx(wanted, rel=1e-12)
    # Ludziejewski et al. 2025; E is the saturating number of experts.
    law, p = LAWS["joint_experts"](), guesses(LAWS["joint_experts"]())
    for experts in (1.0, 8.0):
        e = 1 / (1 / (experts - 1 + 1 / (1 / 2.0 - 1 / 302.0)) + 1 / 302.0)
        wanted = 35.91 * e**0.2285 * 1e9 ** (-0.1889 - 0.0098 * math.log(e))
        wanted += 35.98 * e**-0.5529 * 2e10 ** (-0.1775 + 0.0259 * math.log(e)) + 1.3637
        x = {"params": 4e9, "tokens": 2e10, "params_active": 1e9, "n_experts": experts}
        with float64_scope():
            assert float(law.predict(p, x)) == pytest.approx(wanted, rel=1e-12)


def test_a_dense_model_has_n_start_experts():
    from chinchilla_jax.laws.experts import saturating

    assert saturating(1.0, 2.0, 150.0) == pytest.approx(2.0)
    assert saturating(1e12, 2.0, 150.0) == pytest.approx(302.0)
    most = 1.847 * 170.3
    wanted = 1 / (1 / (63 + 1 / (1 / 1.847 - 1 / most)) + 1 / most)
    assert saturating(64.0, 1.847, 169.3) == pytest.approx(wanted, rel=1e-12)


# --- a law from a function ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_function_of_the_five_parameter_law_ends_where_that_does():
    law, runs = from_function(hoffmann, FIVE), cj.load_runs("chinchilla")
    mine, reference = cj.fit(runs, law), cj.fit(runs)
    assert mine.status is cj.Status.CONVERGED
    assert mine.objective_value == pytest.approx(reference.objective_value, rel=1e-9)
    assert mine.parameters == pytest.approx(reference.parameters, rel=1e-5)
    assert mine.law.tokens_per_param(1e22) == pytest.approx(reference.law.tokens_per_param(1e22), rel=1e-4)
    ours, theirs = (cj.bootstrap(runs, each, resamples=60) for each in (law, "chinchilla"))
    assert (ours.status == "CONVERGED").all()
    np.testing.assert_allclose(ours.objective_value, theirs.objective_value, rtol=1e-9)
    assert list(ours.interval()["parameter"]) == list(FIVE)


def test_a_function_is_one_law_and_pickles():
    law = from_function(hoffmann, FIVE)
    assert from_function(hoffmann, FIVE) is law and pickle.loads(pickle.dumps(law)) == law
    assert law != from_function(hoffmann, FIVE, name="other")
    assert law.bounded == (0,) and law.amplitudes == (1, 2, 3, 4)
    assert repr(law) == "<law hoffmann: E, A, B, alpha, beta>"


@pytest.mark.slow
def test_a_law_without_twins_is_determined_on_a_line():
    rng = np.random.default_rng(5)
    n = np.exp(rng.uniform(17, 23, 30))
    x = {"params": n, "tokens": 20 * n}
    loss = frontier({"E": 1.7, "K": 1000.0, "gamma": 0.15}, x) * np.exp(0.002 * rng.standard_normal(30))
    runs = cj.Runs(n, 20 * n, loss=loss)
    assert cj.fit(runs).status is cj.Status.UNIDENTIFIED
    kinds = {"E": cj.non_negative(1.5), "K": cj.positive(500.0), "gamma": cj.positive(0.2)}
    found = cj.fit(runs, from_function(frontier, kinds))
    assert found.status is cj.Status.CONVERGED, found.reason
    assert found.parameters["gamma"] == pytest.approx(0.15, abs=0.03)
    # In N D alone every ratio is as good: none is prescribed.
    assert not math.isfinite(found.law.tokens_per_param(1e22)) or found.warnings is not None


@pytest.mark.parametrize(
    ("predict", "message"),
    [
        (lambda p, x: p["Q"], "reads 'Q', which is not given; p has E, x has params and tokens"),
        (lambda p, x: math.exp(p["E"]), "the function raised"),
        (lambda p, x: [1.0, 2.0], "not one number"),
        (lambda p: 1.0, "the function raised"),
    ],
)
def test_a_wrong_function_is_a_line(predict, message):
    with pytest.raises(cj.UsageError, match=message) as error:
        from_function(predict, {"E": cj.positive(1.0)})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: cj.positive(0.0), "above zero"),
        (lambda: cj.positive(1.0, low=2.0), "the guess is outside"),
        (lambda: cj.non_negative(1.0, low=-1.0), "zero or more"),
        (lambda: cj.between(1.0, 0.0), "not between"),
        (lambda: cj.real(math.nan), "finite"),
        (lambda: from_function(hoffmann, {}), "no parameters"),
        (lambda: from_function(hoffmann, {"E": 1.7}), "give positive"),
        (lambda: from_function(3, FIVE), "give a function"),
        (lambda: from_function(hoffmann, FIVE, variables=("tokens",)), "params and tokens first"),
    ],
)
def test_a_wrong_parameter_is_a_line(wrong, message):
    with pytest.raises(cj.UsageError, match=message):
        wrong()


# --- variables ---------------------------------------------------------------------------------------------


def test_variables_are_read_from_a_table(tmp_path):
    path = tmp_path / "runs.csv"
    rows = [f"{10**8 * k},{10**10 * k},{3 - 0.1 * k},{k}e9" for k in range(1, 8)]
    path.write_text("params,tokens,loss,Unique Tokens\n" + "\n".join(rows))
    runs = cj.load_runs(path, variables=["unique_tokens"])
    np.testing.assert_array_equal(runs.variables["unique_tokens"], 1e9 * np.arange(1, 8))
    assert runs.take([2, 0]).variables["unique_tokens"].tolist() == [3e9, 1e9]
    assert "unique_tokens" in runs.to_frame()
    assert runs.data_hash != cj.load_runs(path).data_hash
    with pytest.raises(cj.UsageError, match="no column is named 'epochs'"):
        cj.load_runs(path, variables=["epochs"])
    few = pd.DataFrame({"params": 1e8, "tokens": [2e9, 4e9], "seed": [1, 4], "loss": [3.1, 3.0]})
    with pytest.raises(cj.UsageError, match="'unique_tokens'; the table has 'params', 'tokens', 'seed'"):
        cj.load_runs(few, variables=["unique_tokens"])  # not "did you mean 'tokens'", which are all new
    path.write_text(path.read_text().replace("3e9", ""))
    with pytest.raises(cj.DataError, match="an empty cell is no number, and the law needs unique_tokens"):
        cj.load_runs(path, variables=["unique_tokens"])


def test_dense_rows_of_a_table_have_a_sparsity_of_zero(tmp_path):
    path = tmp_path / "runs.csv"
    rows = [f"{10**8 * k},{10**10 * k},{0.0 if k % 2 else 0.75},{3 - 0.1 * k}" for k in range(1, 9)]
    path.write_text("params,tokens,sparsity,loss\n" + "\n".join(rows))
    assert cj.load_runs(path, variables=["sparsity"]).variables["sparsity"].tolist() == [0.0, 0.75] * 4
    path.write_text(path.read_text().replace("sparsity", "unique_tokens"))
    with pytest.raises(cj.DataError, match="the law needs unique_tokens"):
        cj.load_runs(path, variables=["unique_tokens"])


def test_a_column_of_a_variable_is_no_candidate_for_a_quantity(tmp_path):
    path = tmp_path / "experts.csv"
    rows = [f"{10**9 * k},{10**8 * k},{10**10 * k},{3 - 0.1 * k},{2**k}" for k in range(1, 9)]
    path.write_text("params,params_active,tokens,loss,n_experts\n" + "\n".join(rows))
    with pytest.raises(cj.DataError, match="two columns may hold params"):
        cj.load_runs(path)
    runs = cj.load_runs(path, variables=["params_active", "n_experts"])
    assert runs.params[0] == 1e9 and runs.variables["params_active"][0] == 1e8
    assert not any("reads another" in line for line in runs.read_lines)


def test_a_law_of_experts_prescribes_nothing():
    from chinchilla_jax.laws.optimum import no_optimum, remedy_of

    law = LAWS["routed_experts"]()
    design = law.design(simulated(law, 10, 0.0, seed=8))
    fitted = law.fitted(law.internal(guesses(law), design), design)
    assert math.isnan(fitted.tokens_per_param(1e21)) and "says nothing of" in no_optimum(fitted)
    assert remedy_of(fitted) == "fit a law of parameters and tokens, or predict its losses"
    own = from_function(
        lambda p, x: p["E"] + x["epochs"], {"E": cj.positive(1.0)}, variables=("params", "tokens", "epochs")
    )
    assert "needs epochs to predict" in no_optimum(own.fitted(np.zeros(1), design))


def test_runs_without_a_variable_are_refused_by_a_law_that_needs_it():
    runs = cj.load_runs("chinchilla")
    with pytest.raises(cj.UsageError, match="the law needs unique_tokens of every run"):
        cj.fit(runs, "repeated_data")
    with pytest.raises(cj.DataError, match="has 3 values"):
        cj.Runs(runs.params, runs.tokens, loss=runs.loss, variables={"unique_tokens": [1, 2, 3]})


def test_a_prediction_takes_the_variables_of_its_law():
    law = LAWS["repeated_data"]()
    design = law.design(simulated(law, 10, 0.0, seed=6))
    fitted = law.fitted(law.internal(guesses(law), design), design)
    once, often = fitted.loss(1e9, 1e11), fitted.loss(1e9, 1e11, unique_tokens=1e9)
    assert often > once
    # With few tokens that are new, fewer parameters are best, and each sees more.
    assert fitted.tokens_per_param(1e23, unique_tokens=1e9) != fitted.tokens_per_param(1e23)
    with pytest.raises(cj.UsageError, match="has no variable 'epochs'"):
        fitted.loss(1e9, 1e11, epochs=3)
    joint = LAWS["joint_experts"]()
    design = joint.design(simulated(joint, 10, 0.0, seed=7))
    with pytest.raises(cj.UsageError, match="needs params_active to predict"):
        joint.fitted(joint.internal(guesses(joint), design), design).loss(1e9, 1e11)
    assert isinstance(joint, NaturalLaw)


def test_a_law_that_is_added_to_the_dictionary_is_known_by_its_name(monkeypatch):
    class Mine(Gamma):
        name = "mine"

    monkeypatch.setitem(LAWS, "mine", Mine)
    assert isinstance(read_law("mine"), Mine)
    with pytest.raises(cj.UsageError, match="mine"):
        read_law("yours")
