"""Results in other people's tools: arviz, and a type checker on a user's own file."""

import importlib.util
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import chinchilla_jax as cj


@pytest.fixture(scope="module")
def boot():
    return cj.bootstrap(cj.load_runs("chinchilla"), resamples=20, seed=0)


@pytest.mark.slow
def test_certified_fits_and_no_others(boot, small_study):
    pytest.importorskip("xarray", reason="no export without xarray: pip install arviz")
    dataset = cj.to_arviz(boot)
    assert dict(dataset.sizes) == {"chain": 1, "draw": int(boot.counted.sum())}
    np.testing.assert_array_equal(dataset["alpha"].to_numpy()[0], boot.laws.alpha[boot.counted])
    assert dataset["draw"].to_numpy().tolist() == boot.resample_ids[boot.counted].tolist()
    of_study = cj.to_arviz(small_study, "multiplicative=2.0")
    fits = small_study.fits("multiplicative=2.0").query("status == 'CONVERGED'")
    np.testing.assert_array_equal(of_study["A"].to_numpy()[0], fits["A"])
    invalid = cj.to_arviz(small_study, "additive=-1000000000.0")
    assert (invalid.attrs["n_converged"], invalid.attrs["n_failed"]) == (0, 20)


def test_misuse_is_named(boot, small_study):
    pytest.importorskip("xarray", reason="no export without xarray: pip install arviz")
    with pytest.raises(cj.UsageError, match="leave it out"):
        cj.to_arviz(boot, "identity")
    with pytest.raises(cj.UsageError, match="name one, such as 'identity'"):
        cj.to_arviz(small_study)
    with pytest.raises(cj.UsageError, match=r"did you mean 'multiplicative=2\.0'"):
        cj.to_arviz(small_study, "multiplicative=2")
    with pytest.raises(cj.UsageError, match="neither a bootstrap nor a study"):
        cj.to_arviz("identity")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
def test_arviz_reads_it(boot):
    arviz = pytest.importorskip("arviz", reason="no arviz here: pip install arviz")
    summary = arviz.summary(cj.to_arviz(boot), round_to="none")
    for name in ("E", "alpha"):
        expected = np.asarray(getattr(boot.laws, name))[boot.counted].mean()
        assert float(summary.loc[name, "mean"]) == pytest.approx(expected, rel=1e-9)


USER_FILE = """
import chinchilla_jax as cj

runs = cj.load_runs("runs.csv", columns={"loss": "val/loss"})
reveal_type(runs)
fit = cj.fit(runs, objective=cj.Huber(delta=1e-3))
reveal_type(fit.law)
reveal_type(fit.status)
boot = cj.bootstrap(runs, resamples=100, seed=1)
reveal_type(boot)
changed = (cj.SystematicBias(1.2) | cj.Additive(1e6)).apply(runs)
reveal_type(changed)
study = cj.run_study(cj.paper_study(resamples=10), out="results")
reveal_type(study)
reveal_type(cj.write_report(study))
reveal_type(cj.plan("runs.csv", [1e21, 1e22]))
reveal_type(cj.compare({"N": []}, fit.runs or runs, progress=None))
reveal_type(cj.load(boot.save("boot.cj")))
reveal_type(cj.decide.isoflop)
cj.backtest("runs.csv", over="tokens", where="tokens > 1e9")
cj.fit("runs.csv", delta="wide")
cj.bootstrap(runs, resample=100)
"""


@pytest.mark.slow
def test_a_type_checker_knows_the_public_names(tmp_path):
    if importlib.util.find_spec("pyright") is None:
        pytest.skip("no check of types from outside without pyright: pip install pyright")
    file = tmp_path / "mine.py"
    file.write_text(textwrap.dedent(USER_FILE), encoding="utf-8")
    root = Path(cj.__file__).parent.parent
    (tmp_path / "pyrightconfig.json").write_text(json.dumps({"extraPaths": [str(root)]}), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, str(file)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
    )
    if not done.stdout.lstrip().startswith("{"):
        pytest.skip(f"pyright cannot start here ({(done.stderr or done.stdout).strip()[:200]})")
    found = json.loads(done.stdout)["generalDiagnostics"]
    revealed = [each["message"] for each in found if each["severity"] == "information"]
    types = [message.partition(" is ")[2].strip('"') for message in revealed]
    assert types[:-1] == [
        "Runs", "Any", "Status", "BootstrapResult", "Runs", "Study", "Path | str", "Plan", "Comparison",
        "FitResult | BootstrapResult",
    ]  # fmt: skip
    assert types[-1].endswith("-> IsoflopResult")
    errors = [(each["range"]["start"]["line"], each["rule"]) for each in found if each["severity"] == "error"]
    lines = USER_FILE.splitlines()
    assert [lines[line] for line, _ in errors] == [
        'cj.fit("runs.csv", delta="wide")',
        "cj.bootstrap(runs, resample=100)",
    ]
