"""`chinchilla-jax doctor`: what is installed, where it runs, whether its numbers are right, how fast it is.

The self-check needs no reference installation: its runs are embedded, the value of their exact minimum is
known (Besiroglu et al. 2024, arXiv:2404.10102, solved to the last digit; SciPy finds the same), and a law
fitted to doubled parameters has the same exponents, whatever the data.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

import click

from chinchilla_jax._util.errors import ChinchillaError
from chinchilla_jax._util.requirements import PACKAGE, Required, required
from chinchilla_jax.cli import output
from chinchilla_jax.cli.options import output_options

# The Huber objective (delta = 1e-3) at its minimum on the 240 embedded runs, parameters as plotted.
KNOWN_MINIMUM = 0.00101827402
_MINIMUM_TOLERANCE = 1e-8  # relative; the known value has nine digits
_IDENTITY_TOLERANCE = 1e-8  # relative, between fits of the counts and of the doubled counts
_RESAMPLES = 4000
_SECONDS = 2.0
_COMPARED = 65_536  # resamples of a bootstrap by each engine: what a study hands a device at a time


@click.command("doctor")
@click.option(
    "--measure",
    is_flag=True,
    help="Compare the engines and keep the result: where there is a GPU or TPU, --engine auto follows it.",
)
@output_options
def doctor_command(measure: bool, as_json: bool) -> None:
    """Check this installation: versions, devices, numbers, speed.

    Fits embedded runs whose minimum is known, and times certified bootstrap fits for two seconds. Exits with
    1 if a number is wrong.
    """
    rates = compare_engines() if measure else None
    found = examine()
    if rates is not None:
        found["speed"] |= {
            f"engine {engine}, certified fits per second": rate for engine, rate in rates.items()
        }
    if as_json:
        output.print_json(found)
    else:
        _print(found)
    wrong = [check["name"] for check in found["checks"] if not check["passed"]]
    if wrong:
        raise ChinchillaError(f"self-check failed: {', '.join(wrong)}; the numbers above say by how much")


def examine() -> dict[str, Any]:
    """Everything that the command prints, as plain values."""
    from chinchilla_jax.solvers.engine_choice import auto_engine
    from chinchilla_jax.study.environment import device, versions

    begun = time.perf_counter()
    checks, speed = _self_check()
    return {
        "versions": versions(),
        "optional": {each.name: each.installed for each in required()},
        "device": device(),
        "engine": dict(zip(("auto", "reason"), auto_engine(), strict=True)),
        "precision": _precision(),
        "cache": os.environ.get("JAX_COMPILATION_CACHE_DIR"),
        "checks": checks,
        "speed": speed,
        "seconds": time.perf_counter() - begun,
    }


def compare_engines() -> dict[str, float]:
    """Certified fits per second by engine that can be used here; kept for later processes."""
    from chinchilla_jax import bootstrap, fit, load_runs
    from chinchilla_jax._util.errors import UsageError
    from chinchilla_jax.solvers import SolverOptions
    from chinchilla_jax.solvers.measured_engines import keep

    runs = load_runs("chinchilla")
    rates = {}
    for engine in ("lanes", "xla"):
        options = SolverOptions(engine=engine)
        try:
            point = fit(runs, starts=64, options=options)
        except UsageError:  # the kernel is refused here
            continue
        best = 0.0
        for _ in range(3):  # the first round compiles
            begun = time.perf_counter()
            result = bootstrap(runs, resamples=_COMPARED, seed=0, point=point, options=options, progress=None)
            best = max(best, float(result.counted.sum()) / (time.perf_counter() - begun))
        rates[engine] = best
    if not keep(rates):
        raise ChinchillaError(
            "the comparison of engines cannot be kept; set CHINCHILLA_JAX_CACHE to a folder to write to"
        )
    return rates


def _precision() -> dict[str, Any]:
    import jax
    import numpy as np

    from chinchilla_jax._util.float64 import float64_scope
    from chinchilla_jax.solvers import SolverOptions

    with float64_scope():
        inside = str(jax.numpy.asarray(np.float64(1.0)).dtype)
    return {
        "solver": SolverOptions().precision,
        "inside the library": inside,
        "JAX's own default": "float64" if jax.config.read("jax_enable_x64") else "float32",
    }


def _self_check() -> tuple[list[dict[str, Any]], dict[str, Any]]:
    from chinchilla_jax import Multiplicative, bootstrap, fit, load_runs

    runs = load_runs("chinchilla")
    begun = time.perf_counter()
    point = fit(runs, starts=64)
    first_fit = time.perf_counter() - begun
    doubled = fit(Multiplicative(2.0).apply(runs), starts=64)
    minimum = abs(point.objective_value / KNOWN_MINIMUM - 1.0)
    identity = max(
        abs(float(getattr(doubled.law, name)) / float(getattr(point.law, name)) - 1.0)
        for name in ("alpha", "beta", "E")
    )
    # The first round compiles and is not counted.
    first = bootstrap(runs, resamples=_RESAMPLES, seed=0, point=point, progress=None)
    fits = certified = 0
    begun = time.perf_counter()
    while True:
        result = bootstrap(runs, resamples=_RESAMPLES, seed=0, point=point, progress=None)
        fits += _RESAMPLES
        certified += int(result.counted.sum())
        if (elapsed := time.perf_counter() - begun) >= _SECONDS:
            break
    same = first.laws == result.laws
    checks = [
        _check("minimum of the embedded runs", minimum, _MINIMUM_TOLERANCE),
        _check("doubled counts, same exponents", identity, _IDENTITY_TOLERANCE),
        _check("resamples without a certificate", 1.0 - certified / fits, 1e-3),
        {"name": "same seed, same numbers", "found": 0.0 if same else 1.0, "allowed": 0.0, "passed": same},
    ]
    speed = {"certified fits per second": certified / elapsed, "first fit of this process (s)": first_fit}
    return checks, speed


def _check(name: str, found: float, allowed: float) -> dict[str, Any]:
    return {"name": name, "found": found, "allowed": allowed, "passed": bool(found <= allowed)}


def _missing_text(packages: Sequence[Required]) -> str:
    """The packages that are missing, by the extra that installs them."""
    if not packages:
        return f"not known: {PACKAGE} runs from a checkout, without the metadata that names its packages"
    missing: dict[str, list[str]] = {}
    for each in packages:
        if not each.installed:
            missing.setdefault(each.extra, []).append(each.name)
    lists = [
        f"{', '.join(names)} ({PACKAGE}[{extra}])" if extra else ", ".join(names)
        for extra, names in missing.items()
    ]
    return "; ".join(lists) or "nothing optional is missing"


def _print(found: dict[str, Any]) -> None:
    device, cache = found["device"], found["cache"]
    versions = [f"{name} {version}" for name, version in found["versions"].items()]
    output.print_field("versions", ", ".join(versions))
    output.print_field("not installed", _missing_text(required()))
    output.print_field(
        "devices", f"{device['count']} x {device['kind']} ({device['platform']}), {device['cores']} cores"
    )
    engine = found["engine"]
    output.print_field(
        "engine", f"{engine['auto']} ({engine['reason']})" if engine["reason"] else engine["auto"]
    )
    output.print_field("precision", "; ".join(f"{name}: {kind}" for name, kind in found["precision"].items()))
    output.print_field("cache", cache or "off: programs are recompiled in every run")
    output.echo()
    output.print_table(
        ("self-check", "found", "allowed", "verdict"),
        [
            (check["name"], check["found"], check["allowed"], "right" if check["passed"] else "WRONG")
            for check in found["checks"]
        ],
    )
    output.echo()
    for name, value in found["speed"].items():
        output.echo(f"{name}: {value:,.4g}" if value < 1e4 else f"{name}: {value:,.0f}")
