"""`import chinchilla_jax` gives the public names, is light, and changes no global setting."""

import importlib
import pkgutil
import subprocess
import sys
import types

import pytest

import chinchilla_jax as cj
from chinchilla_jax import analysis

# Other people's code and checks use these; a change of one breaks them.
FIXED_NAMES = (
    "Additive",
    "Huber",
    "HuberScale",
    "LogNormalNoise",
    "Multiplicative",
    "ScalingLaw",
    "StudySpec",
    "SystematicBias",
    "bootstrap",
    "fit",
    "load_runs",
    "open_study",
    "paper_study",
    "run_study",
)
# Fits and studies work without these: they need jax, optax, numpy, pandas, pyarrow and matplotlib alone.
# (scipy is not listed, since jax itself needs it.)
OPTIONAL = ("click", "rich", "jinja2", "jaxopt", "numba", "llvmlite")

WITHOUT_OPTIONAL = f"""
import sys
for name in {OPTIONAL!r}:
    sys.modules[name] = None  # makes every import of it fail
import jax
before = dict(jax.config.values)
import chinchilla_jax as cj
runs = cj.load_runs("chinchilla", params="standard")
boot = cj.bootstrap(runs, resamples=8)
point = cj.fit(runs, starts=16)
assert point.status.name == "CONVERGED", point
assert (boot.status == "CONVERGED").all(), boot.status
boot.standard_errors(), boot.interval(), boot.tokens_per_param([1e21, 1e24])
spec = cj.StudySpec(resamples=8, flops=(1e20, 1e22))
study = cj.run_study(spec, sys.argv[1])
assert cj.open_study(sys.argv[1]).fits()["condition"].tolist() == ["identity"] * 8
assert len(study.figures) > 0
changed = {{name for name, value in jax.config.values.items() if before.get(name) != value}}
assert not changed, changed
assert jax.numpy.ones(1).dtype == "float32"
print("ok")
"""


def in_python(code, *arguments):
    return subprocess.run(
        [sys.executable, "-W", "error::ImportWarning", "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_the_fixed_names_are_there():
    assert set(FIXED_NAMES) <= set(cj.__all__)
    assert len(set(cj.__all__)) == len(cj.__all__)
    assert set(cj.__all__) == set(dir(cj))


@pytest.mark.parametrize("name", sorted(cj.__all__))
def test_every_public_name_is_what_it_is_called(name):
    value = getattr(cj, name)
    assert value is getattr(cj, name)
    if name != "__version__":
        full = "chinchilla_jax." + {"decide": "planning"}.get(name, name)  # a room is public by its full name
        assert value.__name__ in (name, full)
        assert value.__doc__


PACKAGES = ["chinchilla_jax"] + [
    found.name for found in pkgutil.walk_packages(cj.__path__, "chinchilla_jax.") if found.ispkg
]


@pytest.mark.parametrize("name", PACKAGES)
def test_no_module_hides_a_public_name(name):
    """Importing a module sets its name in the package, over any function of that name."""
    package = importlib.import_module(name)
    modules = {found.name for found in pkgutil.iter_modules(package.__path__)}
    both = modules & set(getattr(package, "__all__", ()))
    assert {public for public in both if not isinstance(getattr(package, public), types.ModuleType)} == set()


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'fits'"):
        cj.fits  # noqa: B018


def test_the_names_of_analysis_are_there():
    for name in analysis.__all__:
        value = getattr(analysis, name)
        assert value is getattr(analysis, name)
        assert getattr(value, "__name__", name) == name
    assert set(analysis.__all__) <= set(dir(analysis))
    with pytest.raises(AttributeError, match="no attribute 'trend'"):
        analysis.trend  # noqa: B018


def test_importing_is_light():
    heavy = {
        "jax",
        "jaxlib",
        "numpy",
        "pandas",
        "pyarrow",
        "matplotlib",
        "optax",
        "scipy",
        "click",
        "pydantic",
        "numba",
        "llvmlite",
    }
    code = f"import sys, chinchilla_jax; print(sorted({heavy!r} & set(sys.modules)))"
    assert in_python(code).stdout == "[]\n"


@pytest.mark.slow
def test_fits_and_studies_need_no_optional_package_and_leave_jax_as_it_was(tmp_path):
    result = in_python(WITHOUT_OPTIONAL, tmp_path / "study")
    assert result.stdout.endswith("ok\n"), result.stderr


def test_jaxopt_solvers_say_what_to_install():
    code = """
import sys
sys.modules["jaxopt"] = None
import chinchilla_jax as cj
try:
    cj.fit(cj.load_runs("chinchilla"), solver="jaxopt-bfgs", starts=1)
except cj.UsageError as error:
    print(error)
"""
    result = in_python(code)
    assert "jaxopt" in result.stdout, result.stderr
    assert "pip install" in result.stdout
