"""What all tests share: settings of the process, and a small finished study."""

import gc
import os
import shutil
import sys
import tempfile

import pytest
from hypothesis import settings
from json_outputs import json_as_promised  # noqa: F401 - used by every test

# Figures are written to files, never shown on a screen.
os.environ.setdefault("MPLBACKEND", "Agg")
# Compiled code is kept for this run and the processes it starts, and nothing is left in the user's home.
_compiled = tempfile.TemporaryDirectory(prefix="chinchilla_jax-tests-")
os.environ.setdefault("CHINCHILLA_JAX_CACHE", _compiled.name)

# Property tests draw new examples in every run, in CI too. A failure prints the decorator that reproduces it;
# once it is mended, @example pins it. No deadline, since the time of an example depends on the machine.
settings.register_profile(
    "project", parent=settings.default, deadline=None, derandomize=False, print_blob=True
)
settings.load_profile("project")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Workers keep to files that follow each other, so that few of them make or compile the same things."""
    if config.option.dist != "load":  # that of -n alone
        return None
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish():
    """Searches for garbage need not look at what was imported and collected, and are few.

    Those of a worker's last tests took up to a second each, and five end a run.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)


@pytest.fixture(scope="session", autouse=True)
def few_programs():
    """Tables of up to 256 runs share the programs of XLA, each of which takes seconds to compile."""
    from chinchilla_jax.solvers import xla_options

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(xla_options, "_LEAST_RUNS", 256)
        yield


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    """Pyplot keeps the figures of a process, and warns of more than 20, whichever tests drew them."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


HOSTILE_NAME = '<img src=x onerror=alert(1)> & "quoted" {{ 7*7 }} </script>'.replace("/", "") + ".csv"


@pytest.fixture(scope="session")
def small_study(tmp_path_factory):
    """A finished study of a user's own table, whose name a page must not take for markup.

    One condition cannot be fitted (its counts are negative); one family is random, with repeats.
    """
    import chinchilla_jax as cj

    folder = tmp_path_factory.mktemp("small")
    table = folder / HOSTILE_NAME
    cj.load_runs("chinchilla").to_frame().to_csv(table, index=False)
    spec = cj.StudySpec.from_dict(
        {
            "data": str(table),
            "sweeps": [
                {"family": "multiplicative", "values": [0.5, 1.0, 2.0]},
                {"family": "additive", "values": [-1e9, 0.0, 1e7]},
                {"family": "log_normal_noise", "values": [0.0, 0.5], "repeats": 2},
            ],
            "resamples": 20,
            "levels": [0.5, 0.8],
            "flops": [1e20, 1e21, 1e22, 1e23, 1e24],
        }
    )
    return cj.run_study(spec, folder / "study", progress=None)


@pytest.fixture(scope="session")
def table_boot():
    """A bootstrap of 48 runs in a table with a column of groups; row 12 lies far from the law."""
    import numpy as np

    import chinchilla_jax as cj

    generator = np.random.default_rng(5)
    flops = np.repeat(np.geomspace(1e18, 1e21, 6), 8)
    params = np.sqrt(flops / 120) * np.tile(np.geomspace(0.3, 3.0, 8), 6)
    tokens = flops / (6 * params)
    law = cj.ScalingLaw(E=1.8, A=400, B=410, alpha=0.34, beta=0.28)
    loss = law.loss(params, tokens) * np.exp(0.004 * generator.standard_normal(48))
    loss[11] *= 1.06
    table = {
        "params": params,
        "tokens": tokens,
        "loss": loss,
        "optimizer": generator.choice(["adamw", "muon <b>"], 48),
    }
    return cj.bootstrap(cj.load_runs(table, groups=["optimizer"]), resamples=200)


@pytest.fixture(scope="session")
def table_page(table_boot, tmp_path_factory):
    """The file of the page of `table_boot`."""
    import chinchilla_jax as cj

    return cj.write_report(table_boot, tmp_path_factory.mktemp("page") / "table.html", flops=[3e21, 1e23])


@pytest.fixture(scope="module")
def drawn():
    """The pictures that `drawn_once` has drawn for the tests of a module, by name and caption."""
    return {}


@pytest.fixture
def drawn_once(drawn):
    """Pages of one study show the same pictures, wherever they lie: each is drawn for the first alone."""
    from chinchilla_jax.report.drawn import drawn_figure
    from chinchilla_jax.report.sections import advice, fitted, quality

    def picture(name, caption, *args, **options):
        if (name, caption) not in drawn:
            drawn[name, caption] = drawn_figure(name, caption, *args, **options)
        return drawn[name, caption]

    with pytest.MonkeyPatch.context() as patch:
        for section in (advice, fitted, quality):
            patch.setattr(section, "drawn_figure", picture)
        yield


@pytest.fixture(scope="module")
def study(request, tmp_path_factory):
    """A finished study of the module's SPEC, without figures."""
    from chinchilla_jax.report import run_study

    place = tmp_path_factory.mktemp("study") / "out"
    return run_study(request.module.SPEC, place, progress=None, figures=False)


@pytest.fixture
def copy(study, tmp_path):
    """A copy of the directory of `study`, for a test that changes it."""
    return shutil.copytree(study.path, tmp_path / "copy")


@pytest.fixture
def faulty_s3(s3, monkeypatch):
    """The same bucket behind a proxy of its own, and the proxy, which can inflict faults on the way."""
    import fsspec.config
    from faulty_proxy import FaultyProxy

    host, _, port = os.environ["AWS_ENDPOINT_URL"].removeprefix("http://").partition(":")
    proxy = FaultyProxy((host, int(port)))
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
    monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": proxy.address})
    yield s3, proxy
    proxy.close()


@pytest.fixture(scope="session")
def s3():
    """A bucket of a server on loopback (moto), as fsspec's URL of it."""
    moto = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    import boto3
    import fsspec.config

    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        endpoint = f"http://{host}:{port}"
        for name, value in {
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": endpoint,
        }.items():
            patch.setenv(name, value)
        boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket="studies")
        patch.setitem(fsspec.config.conf, "s3", {"endpoint_url": endpoint})
        yield "s3://studies"
    server.stop()
