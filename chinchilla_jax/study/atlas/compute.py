"""What an atlas computes beside its studies: the breakdowns, and the tables over all of them."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from chinchilla_jax._util.devices import available_cores
from chinchilla_jax._util.directories import Directory
from chinchilla_jax._util.errors import NoEstimateError
from chinchilla_jax._util.progress_bar import Progress
from chinchilla_jax.analysis.breakdown_points import breakdown, n_searches
from chinchilla_jax.analysis.claim_rules import LEVEL
from chinchilla_jax.perturbations import PARAMS_FAMILIES
from chinchilla_jax.solvers import SolverOptions
from chinchilla_jax.study.atlas.spec import AtlasSpec, largest_compute
from chinchilla_jax.study.atlas.store import BREAKDOWN, place
from chinchilla_jax.study.atlas.tables import KINDS, evidence, table_rows, with_holm
from chinchilla_jax.study.spec.data import load_study_data

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax.study.result import Study

_MOST_RESAMPLES, _REPEATS = 400, 5
# The third criterion of `breakdown` is about budgets far beyond most tables.
_CRITERIA = ("ratio_leaves_interval", "slope_excludes_zero")


def breakdown_settings(spec: AtlasSpec) -> dict[str, Any]:
    """How the thresholds are searched; no more resamples than settle them to a few percent."""
    return {
        "resamples": min(spec.resamples, _MOST_RESAMPLES),
        "repeats": _REPEATS,
        "level": LEVEL,
        "seed": spec.seed,
    }


def breakdowns(
    spec: AtlasSpec,
    directory: Directory,
    names: Sequence[str],
    reporter: Progress,
    workers: int | None = None,
) -> dict[str, pd.DataFrame]:
    """The breakdown of each of these tables; searches that the directory holds are not made again.

    A table whose unperturbed runs have no certified fit has none. The tables are searched side by side, since
    each search is many small fits, which have no use for several threads.
    """
    settings, studies = breakdown_settings(spec), spec.studies()
    data = {name: load_study_data(studies[name], studies[name].interpretations[0]) for name in names}
    total = sum(n_searches(each.runs, PARAMS_FAMILIES, settings["repeats"]) for each in data.values())
    reporter.begin("breakdown", total, "searches")
    lock = threading.Lock()

    def advance(done: int) -> None:
        with lock:
            reporter.advance(done)

    def search(name: str) -> pd.DataFrame | None:
        runs = data[name].runs
        try:
            return breakdown(
                runs,
                **settings,
                flops=largest_compute(runs),
                scheme=data[name].scheme,
                objective=studies[name].estimator,  # type: ignore[arg-type]
                options=SolverOptions(workers=1),
                out=place(directory, BREAKDOWN, name),
                progress=advance,
            )
        except NoEstimateError as error:
            with lock:
                reporter.note(f"{name}: no breakdown ({error})")
            return None

    with ThreadPoolExecutor(workers or available_cores()) as pool:
        found = dict(zip(names, pool.map(search, names), strict=True))
    return {
        name: table[table["criterion"].isin(_CRITERIA)].reset_index(drop=True)
        for name, table in found.items()
        if table is not None
    }


def _named(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """With the name of the table first."""
    found = table.copy()
    found.insert(0, "table", name)
    found.attrs = {}
    return found


def atlas_tables(
    studies: Mapping[str, Study], breakdowns_found: Mapping[str, pd.DataFrame]
) -> dict[str, pd.DataFrame]:
    """The tables of an atlas by kind, see `tables.py`."""
    import pandas as pd

    rows: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS if kind != "breakdown"}
    for name, study in studies.items():
        for kind, more in table_rows(name, study, evidence(study)).items():
            rows[kind] += more
    tables = {kind: pd.DataFrame(each) for kind, each in rows.items()}
    tables["claims"] = with_holm(tables["claims"])
    searched = [_named(name, table) for name, table in breakdowns_found.items()]
    tables["breakdown"] = (
        pd.concat(searched, ignore_index=True) if searched else pd.DataFrame(columns=["table"])
    )
    return tables
