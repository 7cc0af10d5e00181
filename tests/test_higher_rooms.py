"""Methods whose body lies in a higher room: each is declared once, has its target, and says what it takes."""

import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest

import chinchilla_jax
from chinchilla_jax._util.higher_rooms import TARGETS

PACKAGE = Path(chinchilla_jax.__file__).parent


def declared():
    """Every method that some module of the package declares."""
    for path in sorted(PACKAGE.rglob("*.py")):
        found = len(re.findall(r"^    @written_in\(", path.read_text(encoding="utf-8"), re.MULTILINE))
        if found:
            module = ".".join(("chinchilla_jax", *path.relative_to(PACKAGE).with_suffix("").parts))
            import_module(module)
            names = [name for name in TARGETS if name.startswith(f"{module}:")]
            assert len(names) == found, f"{module} declares a method twice"
            yield from names


METHODS = list(declared())


def test_results_that_have_a_picture_draw_it():
    named = {name.partition(":")[2] for name in METHODS}
    assert {
        f"{each}.plot" for each in ("FitResult", "BootstrapResult", "Plan", "Comparison", "NextRuns")
    } <= named
    assert {"FitResult.plot_residuals", "Prediction.plot", "IsoflopResult.plot"} <= named


@pytest.mark.parametrize("name", METHODS)
def test_a_declared_method_and_its_target_agree(name):
    module, _, qualified = name.partition(":")
    owner, _, method = qualified.partition(".")
    declared = getattr(getattr(import_module(module), owner), method)
    room, target = TARGETS[name]
    assert target in import_module(room).__all__
    body = inspect.signature(getattr(import_module(room), target))
    own = list(inspect.signature(declared).parameters.values())[1:]
    for each in own:
        taken = body.parameters[each.name]
        assert (each.kind, each.default) == (taken.kind, taken.default)
    needed = list(body.parameters.values())[1:]
    assert {each.name for each in needed if each.default is each.empty} <= {each.name for each in own}
    assert f"{room}.{target}" in inspect.getdoc(declared)
