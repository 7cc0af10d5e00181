"""Specs and their conditions: meaning, round trips, and every way to get a spec wrong."""

import dataclasses
import json
import math
import re
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chinchilla_jax._util.errors import ChinchillaError, UsageError
from chinchilla_jax.datasets import load_runs
from chinchilla_jax.intervals.tokens_per_param import COMPUTE_GRID
from chinchilla_jax.laws import AsymmetricError, Huber, HuberScale
from chinchilla_jax.perturbations import LogNormalNoise, Multiplicative, parse_condition
from chinchilla_jax.study import Product, StudySpec, Sweep, paper_study, plan_conditions
from chinchilla_jax.study.chunks import plan_chunks, plan_ranges
from chinchilla_jax.study.spec.data import load_study_data
from chinchilla_jax.study.spec.reproduce import spec_toml


def message(action, *arguments, **options):
    with pytest.raises(ChinchillaError) as caught:
        action(*arguments, **options)
    text = str(caught.value)
    assert text.isprintable(), "one line"
    assert len(text) < 600
    return text


def toml(tmp_path, text):
    path = tmp_path / "spec.toml"
    path.write_text(text, encoding="utf-8")
    return StudySpec.from_toml(path)


# --- the paper's study -------------------------------------------------------------------------------------


def test_the_paper_has_221_conditions_and_three_more():
    conditions = plan_conditions(paper_study())
    assert len(conditions) == 221 + 3 == len({condition.id for condition in conditions})
    families = [condition.family for condition in conditions]
    counts = {family: families.count(family) for family in dict.fromkeys(families)}
    assert counts == {
        "identity": 4,
        "multiplicative": 11,
        "additive": 11,
        "systematic_bias": 11,
        "log_normal_noise": 11 * 17,
    }


def test_conditions_have_the_documented_ids_and_order():
    conditions = plan_conditions(paper_study())
    ids = [condition.id for condition in conditions]
    assert ids[:4] == ["identity", "identity@reported", "identity@best_fit", "identity@as_plotted"]
    assert ids[4:6] == ["multiplicative=0.001", "multiplicative=0.003981071705534973"]
    assert ids[15] == "additive=-39810717.05534969"
    assert "additive=0.0" in ids
    assert ids[37 + 17] == "log_normal_noise=0.31622776601683794#0"
    assert "log_normal_noise=0.31622776601683794#3" in ids
    assert ids[-1] == "log_normal_noise=3.1622776601683795#16"
    for family in ("multiplicative", "additive", "systematic_bias"):
        values = [condition.value for condition in conditions if condition.family == family]
        assert values == sorted(values)
    for condition in conditions[4:]:
        number, _, repeat = condition.id.partition("=")[2].partition("#")
        assert repr(condition.value) == number and type(condition.value) is float
        assert condition.repeat == int(repeat or 0)
        assert condition.params == "standard"
    assert [condition.params for condition in conditions[:4]] == [
        "standard",
        "reported",
        "best_fit",
        "as_plotted",
    ]


def test_the_papers_sweeps_are_those_of_the_reference():
    sweeps = {sweep.family: sweep for sweep in paper_study().sweeps}
    np.testing.assert_allclose(np.log10(sweeps["multiplicative"].values), np.linspace(-3, 3, 11), atol=1e-12)
    np.testing.assert_allclose(
        np.log10(sweeps["systematic_bias"].values), np.linspace(-0.5, 0.5, 11), atol=1e-12
    )
    additive = np.array(sweeps["additive"].values)
    np.testing.assert_allclose(additive, -additive[::-1])
    np.testing.assert_allclose(np.log10(additive[6:]), np.linspace(6.6, 7.6, 5))
    assert sweeps["log_normal_noise"].values[0] == 0 and sweeps["log_normal_noise"].repeats == 17
    np.testing.assert_allclose(np.log10(sweeps["log_normal_noise"].values[1:]), np.linspace(-0.5, 0.5, 10))
    assert paper_study().flops == tuple(COMPUTE_GRID)


def test_the_published_study_can_be_written_in_toml(tmp_path):
    text = """
        data = "chinchilla"
        interpretations = ["standard", "reported", "best_fit", "as_plotted"]
        resamples = 100
        seed = 7
        boundary = "drop"

        [[sweeps]]
        family = "multiplicative"
        values = [{ logspace = [-3, 3, 11] }]

        [[sweeps]]
        family = "additive"
        values = [{ logspace = [6.6, 7.6, 5], negative = true }, 0, { logspace = [6.6, 7.6, 5] }]

        [[sweeps]]
        family = "systematic_bias"
        values = { logspace = [-0.5, 0.5, 11] }

        [[sweeps]]
        family = "log_normal_noise"
        values = [0, { logspace = [-0.5, 0.5, 10] }]
        repeats = 17
    """
    assert toml(tmp_path, text) == paper_study(resamples=100, seed=7)


# --- meaning and round trips -------------------------------------------------------------------------------

FINITE = st.floats(allow_nan=False, allow_infinity=False)
POSITIVE = st.floats(1e-6, 1e6)


def some_sweep(family):
    values = {
        "multiplicative": FINITE,
        "additive": FINITE,
        "systematic_bias": POSITIVE,
        "log_normal_noise": st.floats(0, 10),
    }[family]
    repeats = st.integers(1, 50) if family == "log_normal_noise" else st.just(1)
    many = st.lists(values, min_size=1, max_size=6, unique=True)
    return st.builds(lambda v, r: Sweep(family=family, values=tuple(v), repeats=r), many, repeats)


DELTAS = st.floats(1e-8, 10)
NEWTON = {
    "precision": st.sampled_from(["mixed", "float64", "float32"]),
    "engine": st.sampled_from(["auto", "lanes", "xla"]),
}
ESTIMATORS = st.one_of(
    st.fixed_dictionaries(
        {"solver": st.sampled_from(["optax-lbfgs", "jaxopt-lbfgs", "jaxopt-bfgs"]), "delta": DELTAS}
    ),
    st.fixed_dictionaries(
        {"objective": st.sampled_from(["huber", "huber_scale"]), "delta": DELTAS, **NEWTON}
    ),
    st.fixed_dictionaries({"objective": st.just("squared"), **NEWTON}),
    st.fixed_dictionaries({"objective": st.just("asymmetric"), "penalty": st.floats(0.1, 100)}),
)
PRODUCTS = st.lists(
    st.builds(Product, first=some_sweep("multiplicative"), second=some_sweep("systematic_bias")), max_size=1
)
SPECS = st.builds(
    lambda estimator, product, sweeps, **fields: StudySpec(sweeps=(*sweeps, *product), **estimator, **fields),
    estimator=ESTIMATORS,
    product=PRODUCTS,
    data=st.just("chinchilla"),
    interpretations=st.lists(
        st.sampled_from(["standard", "reported", "best_fit", "as_plotted"]), unique=True
    ).map(tuple),
    sweeps=st.permutations(["multiplicative", "additive", "systematic_bias", "log_normal_noise"]).flatmap(
        lambda names: st.integers(0, 4).flatmap(lambda k: st.tuples(*map(some_sweep, names[:k])))
    ),
    resamples=st.integers(2, 10**5),
    seed=st.integers(0, 2**32 - 1),
    levels=st.lists(st.floats(0.01, 0.99), min_size=1, max_size=3, unique=True).map(
        lambda v: tuple(sorted(v))
    ),
    flops=st.lists(st.floats(1e10, 1e30), min_size=1, max_size=5, unique=True).map(
        lambda v: tuple(sorted(v))
    ),
    drop_highest_loss=st.none() | st.integers(0, 200),
    rounded=st.booleans(),
)


def inline(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {inline(item)}" for name, item in value.items()) + "}"
    return "[" + ", ".join(map(inline, value)) + "]" if isinstance(value, list) else json.dumps(value)


def as_toml(spec):
    """`spec.to_dict()` as TOML; JSON's numbers, strings and lists are TOML's too."""
    fields = spec.to_dict()
    sweeps = fields.pop("sweeps")
    lines = [f"{name} = {inline(value)}" for name, value in fields.items()]
    for sweep in sweeps:
        lines += ["[[sweeps]]", *(f"{name} = {inline(value)}" for name, value in sweep.items())]
    return "\n".join(lines)


@settings(deadline=None, max_examples=60)
@given(SPECS)
def test_a_spec_survives_json_and_toml(tmp_path_factory, spec):
    assert StudySpec.from_dict(json.loads(json.dumps(spec.to_dict(), allow_nan=False))) == spec
    assert toml(tmp_path_factory.mktemp("spec"), as_toml(spec)) == spec
    conditions = plan_conditions(spec)
    assert len({condition.id for condition in conditions}) == len(conditions)
    assert plan_conditions(StudySpec.from_dict(spec.to_dict())) == conditions


def test_specs_and_chunks_of_older_studies_keep_their_meaning():
    """The plain values of an older study.json, and the name of a chunk that it led to."""
    spec = paper_study()
    fields = spec.to_dict()
    assert list(fields) == [
        *("data", "interpretations", "sweeps", "objective", "delta", "solver", "precision", "scheme"),
        *("boundary", "resamples", "seed", "levels", "flops", "drop_highest_loss", "rounded"),
    ]
    assert StudySpec.from_dict(fields) == spec
    # Before there was a choice, resamples at E = 0 were left out.
    assert fields.pop("boundary") == "drop"
    assert StudySpec.from_record(fields) == spec
    assert StudySpec.from_dict(fields) == dataclasses.replace(spec, boundary="keep")
    hashes = {name: load_study_data(spec, name).hash for name in spec.interpretations}
    chunk = plan_chunks(spec, hashes, plan_ranges(4000, 240), numerics=5)[0]
    assert chunk.stem == "part-00000-0000000000-4dcb6b952b92ecb1"


def test_numbers_of_the_objective_are_filled_in():
    assert (StudySpec().delta, StudySpec().penalty) == (1e-3, None)
    assert StudySpec().estimator == Huber(1e-3)
    asymmetric = StudySpec(objective="asymmetric")
    assert (asymmetric.delta, asymmetric.penalty) == (None, 10.0)
    assert asymmetric.point_estimators == (asymmetric.estimator,) == (AsymmetricError(10.0),)
    assert StudySpec(objective="huber_scale").point_estimators == (Huber(1e-3), HuberScale(1e-3))


def test_defaults_depend_on_the_data_and_are_spelled_out():
    chinchilla, llama, mine = StudySpec(), StudySpec(data="llama3"), StudySpec(data="mine.csv")
    assert (chinchilla.interpretations, chinchilla.drop_highest_loss) == (("standard",), 5)
    assert (llama.interpretations, llama.drop_highest_loss) == (("as_plotted",), 0)
    assert (mine.interpretations, mine.drop_highest_loss) == (("as_given",), 0)
    assert StudySpec(drop_highest_loss=5) == chinchilla
    assert StudySpec(data=Path("mine.csv")) == mine
    assert StudySpec(data=Path("chinchilla")).interpretations == ("as_given",), "a file of that name"


@pytest.mark.parametrize("data", ["llama3", "mine.csv"])
def test_other_data_has_plain_ids_for_its_only_interpretation(data):
    spec = StudySpec(data=data, sweeps=(Sweep(family="additive", values=(1e6,)),))
    assert [condition.id for condition in plan_conditions(spec)] == ["identity", "additive=1000000.0"]


def test_columns_and_experiment_are_read_and_kept(tmp_path):
    text = 'data = "mine.csv"\ncolumns = { tokens = "D (B)", loss = "val/loss" }\nexperiment = "baseline"'
    spec = toml(tmp_path, text)
    assert spec.columns == (("loss", "val/loss"), ("tokens", "D (B)"))
    assert spec == StudySpec(
        data="mine.csv", columns={"loss": "val/loss", "tokens": "D (B)"}, experiment="baseline"
    )
    assert spec != StudySpec(data="mine.csv", columns={"loss": "val/loss"}, experiment="baseline")
    assert toml(tmp_path, as_toml(spec)) == toml(tmp_path, spec_toml(spec)) == spec
    assert StudySpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    assert not {"columns", "experiment"} & set(StudySpec(data="mine.csv").to_dict())


def test_sweeps_perturb_the_first_interpretation_and_say_so():
    sweep = Sweep(family="multiplicative", values=(2,))
    spec = StudySpec(interpretations=("reported", "standard"), sweeps=(sweep,))
    ids = ["identity@reported", "identity", "multiplicative=2.0@reported"]
    assert [condition.id for condition in plan_conditions(spec)] == ids


def test_numbers_from_numpy_become_plain():
    sweep = Sweep(family="additive", values=np.array([3.0, -0.0, np.float32(2)]))
    assert sweep.values == (0.0, 2.0, 3.0)
    assert all(type(value) is float and math.copysign(1, value) == 1 for value in sweep.values)
    assert StudySpec(resamples=np.int64(5), flops=np.array([1e18])).to_dict()["flops"] == [1e18]


# --- mistakes ----------------------------------------------------------------------------------------------

SWEEP = '[[sweeps]]\nfamily = "additive"\n'


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("resampels = 3", ["unknown field 'resampels'", "did you mean 'resamples'", "allowed: data,"]),
        ("level = 0.8", ["'level'", "did you mean 'levels'"]),
        ('resamples = "3"', ["resamples is '3'", "whole number"]),
        ("resamples = 0", ["resamples is 0", "at least 2"]),
        ("resamples = 1e3", ["resamples is 1000.0", "whole number"]),
        ("resamples = 99999999999999999999", ["resamples is 99999999999999999999", "whole number"]),
        ("resamples = true", ["resamples is True"]),
        ("seed = -1", ["seed is -1", "from 0"]),
        ("seed = 4294967296", ["seed is 4294967296", "to 2^32 - 1"]),
        ("levels = 0.8", ["levels is 0.8", "list"]),
        ("levels = [80]", ["levels", "is 80;", "below 1"]),
        ("levels = []", ["levels is empty"]),
        ("levels = [0.8, 0.5]", ["levels", "rising order"]),
        ('solver = "newtn"', ["solver 'newtn'", "did you mean 'newton'", "jaxopt-bfgs"]),
        ("delta = 0", ["delta is 0;", "positive"]),
        ("delta = nan", ["delta is nan"]),
        ('delta = "1e-3"', ["delta is '1e-3'"]),
        ("flops = [1e18, 1e17]", ["flops", "rising order"]),
        ("flops = [-1]", ["flops is -1;", "above 0"]),
        ("flops = { logspace = [18, 400, 3] }", ["flops is inf"]),
        ("rounded = 1", ["rounded is 1"]),
        ("drop_highest_loss = 1.5", ["drop_highest_loss is 1.5"]),
        ("drop_highest_loss = -1", ["drop_highest_loss is -1"]),
        ('interpretations = ["standart"]', ["'standart'", "did you mean 'standard'", "as_plotted"]),
        ('interpretations = ["standard", "standard"]', ["list each name once"]),
        ('data = "runs.csv"\ninterpretations = ["standard"]', ["line 1: data 'runs.csv'", "nor a file"]),
        ("data = 3", ["data is 3", "path"]),
        ('columns = { loss = "val/loss" }', ["columns is for tables of your own", "'chinchilla'"]),
        ('experiment = "one"', ["experiment is for tables of your own"]),
        ('data = "runs.csv"\nexperiment = ""', ["line 2: experiment is ''"]),
        ('data = "runs.csv"\ncolumns = { los = "x" }', ["line 2: ", "'los'", "did you mean 'loss'"]),
        ("columns = { loss = 3 }", ["columns is {'loss': 3}", "name of a column"]),
        ('data = ""', ["data is ''"]),
        ("sweeps = 3", ["sweeps is 3"]),
        ('[sweeps]\nfamily = "additive"', ["sweeps is", "list"]),
        ('[[sweeps]]\nfamily = "additiv"\nvalues = [1]', ["'additiv'", "did you mean 'additive'"]),
        (SWEEP + "value = [1]", ["field of a sweep 'value'", "did you mean 'values'"]),
        (SWEEP, ["a sweep has no values"]),
        (SWEEP + "values = []", ["additive values is empty"]),
        (SWEEP + 'values = [1, "b"]', ["additive values is 'b'"]),
        (SWEEP + "values = [1, 1.0]", ["additive values", "listed twice"]),
        (SWEEP + "values = [inf]", ["additive values is inf"]),
        (SWEEP + "values = [1]\nrepeats = 3", ["additive repeats", "log_normal_noise"]),
        (SWEEP + 'values = [1]\nrepeats = "3"', ["additive repeats is '3'"]),
        (SWEEP + "values = [{ logspce = [1, 2, 3] }]", ["did you mean 'logspace'"]),
        (SWEEP + "values = [{ logspace = [1, 2] }]", ["first, last, count"]),
        (SWEEP + "values = [{ logspace = [1, 2, 0] }]", ["count of a range is 0", "at least 1"]),
        (SWEEP + "values = [{ logspace = [1, 2, 1000000] }]", ["1,000,000 numbers", "100,000"]),
        (SWEEP + "values = [1]\n" + SWEEP + "values = [2]", ["additive is listed twice"]),
        ('[[sweeps]]\nfamily = "systematic_bias"\nvalues = [0]', ["SystematicBias", "positive"]),
        ('[[sweeps]]\nfamily = "log_normal_noise"\nvalues = [-1]', ["LogNormalNoise", "zero or more"]),
        ('objective = "hubr"', ["objective 'hubr'", "did you mean 'huber'"]),
        ('objective = "squared"\ndelta = 0.1', ["line 2: objective 'squared' has no delta"]),
        ("penalty = 3", ["line 1: objective 'huber' has no penalty"]),
        ('objective = "asymmetric"\npenalty = -1', ["line 2: ", "penalty is -1", "positive"]),
        ('objective = "asymmetric"\nprecision = "float64"', ["line 2: precision", "leave it out"]),
        ('objective = "squared"\nsolver = "optax-lbfgs"', ["line 2: ", "minimises huber", "'newton'"]),
        ('law = "mine.py:law"', ["line 1: law 'mine.py:law' names code", "from someone else"]),
        ('objective = "mine:rho"', ["line 1: objective 'mine:rho' names code", "--objective mine:rho"]),
        ('law = "repeated_data"', ["line 1: law 'repeated_data' needs unique_tokens of every run"]),
        ('law = "kaplan"\nengine = "lanes"', ["line 2: engine 'lanes' does not fit kaplan"]),
        ('law = "kaplan"\nreproducible = true', ["line 2: reproducible is for what", "not law 'kaplan'"]),
        ('law = "chinchila"', ["did you mean 'chinchilla'"]),
        ('weights = "w"', ["weights is for tables of your own"]),
        ('data = "runs.csv"\nweights = 3', ["line 2: weights is 3"]),
        ('precision = "double"', ["precision 'double'", "float64"]),
        ('engine = "lane"', ["engine 'lane'", "did you mean 'lanes'"]),
        ('engine = "xla"\nsolver = "optax-lbfgs"', ["engine 'xla' is not for solver", "use 'newton'"]),
        ('scheme = "blocks"', ["scheme 'blocks'", "pairs"]),
        ('solver = "jaxopt-bfgs"\nobjective = "huber_scale"', ["use 'newton'"]),
        ('[[sweeps]]\nproduct = [{ family = "additive", values = [1] }]', ["product", "two sweeps"]),
        (
            '[[sweeps]]\nproduct = [{ family = "additive", values = [1] },'
            ' { family = "additive", values = [2] }]',
            ["both sweeps are additive"],
        ),
        (
            '[[sweeps]]\nproduct = [{ family = "additive", value = [1] },'
            ' { family = "systematic_bias", values = [2] }]',
            ["'value'", "did you mean 'values'"],
        ),
        (SWEEP + "prodct = []", ["did you mean 'product'"]),
        (SWEEP + "product = []", ["two sweeps and nothing else"]),
        ("x =", ["not TOML", "Invalid value"]),
        ("a = " + "[" * 100_000, ["nested too deeply"]),
    ],
)
def test_a_wrong_toml_gets_one_line_with_file_field_and_remedy(tmp_path, text, parts):
    said = message(toml, tmp_path, text)
    assert said.startswith(f"{tmp_path / 'spec.toml'}: ")
    for part in parts:
        assert part in said


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('data = "chinchilla"\n\nresampels = 3', 3),
        ('# resamples = 4\nlevels = [0.8]\nresamples = "3"', 3),
        ("resamples = 5\nseed = -1\n" + SWEEP + "values = [1]", 2),
        ('data = "runs.csv"\ninterpretations = ["standard"]', 1),
        (SWEEP + "values = [1]\n\n" + SWEEP.replace("additive", "additiv") + "values = [1]", 6),
        (SWEEP + "repeats = 3\nvalues = [1]", 3),
        (SWEEP + "values = [\n  1,\n  inf]", 3),
        (SWEEP + "values = [1]\n" + SWEEP + "values = [2]", 5),
        ('[[sweeps]]\nproduct = [{family = "additive", values = [1]}]', 2),
        ('seed = 1\nsolver = "jaxopt-bfgs"\nprecision = "float64"', 3),
        ('data = "runs.csv"\ncolumns = { loss = "ce" }\nsolver = "nwton"', 3),
    ],
)
def test_a_wrong_toml_gets_its_line(tmp_path, text, line):
    assert f": line {line}: " in message(toml, tmp_path, text)


def test_a_product_is_every_pair_of_two_families(tmp_path):
    spec = toml(
        tmp_path,
        """
        [[sweeps]]
        product = [
            { family = "multiplicative", values = [{ logspace = [-1, 1, 3] }] },
            { family = "log_normal_noise", values = [0.1, 0.2], repeats = 2 },
        ]
        """,
    )
    plan = plan_conditions(spec)[1:]
    assert len(plan) == 3 * 2 * 2 and {condition.family for condition in plan} == {"composition"}
    assert [c.id for c in plan[:3]] == [
        "multiplicative=0.1|log_normal_noise=0.1#0",
        "multiplicative=0.1|log_normal_noise=0.1#1",
        "multiplicative=0.1|log_normal_noise=0.2#0",
    ]
    assert [c.repeat for c in plan[:3]] == [0, 1, 0]
    assert all(parse_condition(c.id) == c.perturbation for c in plan)
    runs = load_runs("chinchilla", params="standard")
    one = Multiplicative(0.1).apply(runs)
    np.testing.assert_array_equal(
        plan[0].apply(runs, seed=5).params, LogNormalNoise(0.1).apply(one, 5).params
    )
    assert StudySpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_the_example_means_what_its_comments_say():
    text = files("chinchilla_jax.study.spec").joinpath("example.toml").read_text(encoding="utf-8")
    # Every line that is commented out is the default.
    active = re.sub(r"^# (\w+ = )(?!\[first)", r"\1", text, flags=re.MULTILINE)
    assert active != text
    one, other = (StudySpec.from_dict(tomllib.loads(each)) for each in (text, active))
    assert one == other
    assert [len(list(sweep.perturbations())) for sweep in one.sweeps] == [9, 7, 10, 4]


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_is_not_text(tmp_path, content):
    path = tmp_path / "spec.toml"
    assert "No such file" in message(StudySpec.from_toml, path)
    if content:
        path.write_bytes(content)
        assert "UTF-8" in message(StudySpec.from_toml, path)
    assert "directory" in message(StudySpec.from_toml, tmp_path)


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"interpretations": "standard"}, "give a list"),
        ({"sweeps": [3]}, "is not a sweep"),
        ({"sweeps": "additive"}, "give a list"),
        ({"sweeps": [{"family": "additive"}]}, "has no values"),
        ({"sweeps": [{"family": "additive", "values": [1], "repeat": 2}]}, "did you mean 'repeats'"),
        ({"data": None}, "embedded name"),
        ({"rounded": 0}, "true or false"),
        ({"levels": 0.8}, "list of numbers"),
        ({"levels": ["a"]}, "'a'"),
        ({"seed": True}, "True"),
        ({"seeds": 1}, "did you mean 'seed'"),
    ],
)
def test_a_wrong_dict_gets_one_line(fields, part):
    assert part in message(StudySpec.from_dict, fields)


@settings(deadline=None, max_examples=200)
@given(
    st.dictionaries(
        st.sampled_from([*StudySpec().to_dict(), "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
            ),
            max_leaves=5,
        ),
        max_size=4,
    )
)
def test_any_dict_is_a_spec_or_one_line(fields):
    try:
        spec = StudySpec.from_dict(fields)
    except UsageError as error:
        assert str(error).isprintable()
    else:
        assert StudySpec.from_dict(spec.to_dict()) == spec


def test_a_spec_needs_numpy_alone(tmp_path):
    (tmp_path / "spec.toml").write_text("resamples = 3")
    code = f"""
import sys
for name in ("pydantic", "click", "rich", "jinja2", "jaxopt", "scipy", "pandas", "pyarrow", "jax"):
    sys.modules[name] = None
from chinchilla_jax.study import StudySpec, paper_study, plan_conditions
assert len(plan_conditions(paper_study())) == 224
assert StudySpec.from_toml({str(tmp_path / "spec.toml")!r}) == StudySpec(resamples=3)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_bias_of_a_study_turns_around_all_245_runs_as_published():
    spec = paper_study()
    bias = next(c for c in plan_conditions(spec) if c.family == "systematic_bias" and c.value > 3)
    runs = load_study_data(spec, "standard").runs
    whole = load_runs("chinchilla", params="standard", drop_highest_loss=0)
    mu = np.exp(np.log(whole.params).mean())
    assert len(runs) == 240 and len(whole) == 245
    assert np.allclose(bias.apply(runs, seed=0).params, mu * (runs.params / mu) ** bias.value, rtol=1e-13)
    # Nothing left out: the runs' own mean.
    everything = dataclasses.replace(spec, drop_highest_loss=0)
    assert load_study_data(everything, "standard").runs.centre is None
