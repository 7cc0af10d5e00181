"""The atlas: its studies, and its directory interrupted, damaged and extended."""

import dataclasses
import functools

import numpy as np
import pytest

import chinchilla_jax as cj
from chinchilla_jax import report
from chinchilla_jax._util.errors import DataError, UsageError
from chinchilla_jax.analysis.breakdown_points import breakdown
from chinchilla_jax.cli import main
from chinchilla_jax.cli import study as study_command
from chinchilla_jax.fitting.width import decided_objective
from chinchilla_jax.perturbations import PARAMS_FAMILIES
from chinchilla_jax.report import atlas as atlas_report
from chinchilla_jax.report import finish_atlas, run_atlas_shard
from chinchilla_jax.study import Shard, paper_study
from chinchilla_jax.study.atlas import TABLES, AtlasSpec, atlas_status, compute
from chinchilla_jax.study.atlas import spec as atlas_spec
from chinchilla_jax.study.atlas.spec import plain_runs, swept_sizes
from chinchilla_jax.study.atlas.tables import KINDS
from chinchilla_jax.study.derived import PAGE
from chinchilla_jax.study.spec.data import load_study_data

SMALL = AtlasSpec(tables=("olmo_ladder", "datablations"), resamples=20)


def test_the_sizes_of_chinchilla_are_those_of_the_paper_and_all_tables_stay_positive():
    studies = AtlasSpec().studies()
    assert tuple(each.family for each in paper_study().sweeps) == PARAMS_FAMILIES
    for sweep in paper_study().sweeps:
        assert swept_sizes(studies["chinchilla"], sweep.family) == sweep.values
    for name, spec in studies.items():
        runs = plain_runs(spec)
        least = min(swept_sizes(spec, "additive"))
        assert runs.params.min() + least > 0, name
        # In units of the table: the smallest model, the spread of ln N.
        assert least / runs.params.min() == pytest.approx(-(10**7.6) / 54e6, rel=1e-3)
        sigma = max(swept_sizes(spec, "log_normal_noise"))
        assert sigma / np.log(runs.params).std() == pytest.approx(10**0.5 / 1.198930805726365, rel=1e-3)


def test_prescriptions_end_at_ten_times_the_compute_of_the_largest_run():
    for name, spec in AtlasSpec().studies().items():
        runs = plain_runs(spec)
        largest = float((6 * runs.params * runs.tokens).max())
        assert max(spec.flops) == pytest.approx(10 * largest, rel=1e-3), name


def test_delta_is_what_fit_decides():
    for name, table in TABLES.items():
        runs = plain_runs(AtlasSpec(tables=(name,)).studies()[name])
        assert float(f"{decided_objective(runs).delta:.3g}") == table.delta, name


def test_the_caveats_of_the_tables_are_in_their_resampling():
    studies = AtlasSpec().studies()
    groups = {
        "gemstones": 20,
        "olmo_ladder": 25,
        "datablations": 33,
        "chinchilla": 41,
        "llama3": 10,
        "gadre_c4": 6,
    }
    for name, count in groups.items():
        spec = studies[name]
        for interpretation in spec.interpretations:
            data = load_study_data(spec, interpretation)
            members = data.scheme.members(data.runs)
            assert members.max() + 1 == count, (name, interpretation)
    assert len(plain_runs(studies["olmo_ladder"])) == 30  # without the targets
    assert len(plain_runs(studies["datablations"])) == 41  # one epoch


def test_every_count_is_resampled_alike():
    spec = AtlasSpec(tables=("chinchilla",)).studies()["chinchilla"]
    ids = np.arange(5)
    weights = [
        each.scheme.weights(each.runs, ids, 0)
        for each in (load_study_data(spec, name) for name in spec.interpretations)
    ]
    for other in weights[1:]:
        np.testing.assert_array_equal(other, weights[0])


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"tables": ("gadre",)}, "table of the atlas"),
        ({"tables": ()}, "give names out of"),
        ({"tables": ("llama3", "llama3")}, "list each name once"),
        ({"resamples": 1}, "resamples"),
        ({"seed": -1}, "seed"),
    ],
)
def test_specs_that_cannot_be_used(fields, text):
    with pytest.raises(UsageError, match=text):
        AtlasSpec(**fields)


def test_what_is_no_atlas_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"holds notes\.txt but no atlas\.json"):
        cj.run_atlas(SMALL, tmp_path, progress=None)
    with pytest.raises(UsageError, match="is not an AtlasSpec"):
        cj.run_atlas(paper_study(), tmp_path / "new", progress=None)
    for where in (tmp_path, tmp_path / "notes.txt", tmp_path / "nowhere"):
        for opened in (cj.open_atlas, atlas_status):
            with pytest.raises(UsageError, match="no atlas"):
                opened(where)


def test_finish_hands_its_workers_on_to_an_atlas(tmp_path, monkeypatch):
    (tmp_path / "atlas.json").touch()
    asked = []
    monkeypatch.setattr(report, "finish_atlas", lambda out, **options: asked.append(options))
    monkeypatch.setattr(study_command, "print_atlas", lambda atlas: None)
    assert main(["study", "finish", str(tmp_path), "--workers", "1", "--no-figures"]) == 0
    assert asked == [{"figures": False, "workers": 1}]


def contents(path):
    return {kind: (path / "summary" / f"{kind}.csv").read_bytes() for kind in KINDS}


def ends(sweep, runs):
    """A sweep with its ends and the sizes of the documented miscount alone: the paper's have sixty."""
    own = {min(sweep.values), max(sweep.values), *atlas_spec.documented(runs, sweep.family)}
    return dataclasses.replace(sweep, values=tuple(sorted(own & set(sweep.values))))


@pytest.fixture(scope="module")
def fast():
    """Few sizes, and of the searches only those for a factor."""
    scaled = atlas_spec.scaled_sweeps
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            atlas_spec, "scaled_sweeps", lambda runs: tuple(ends(each, runs) for each in scaled(runs))
        )
        atlas_spec._table_study.cache_clear()
        patch.setattr(compute, "PARAMS_FAMILIES", ("multiplicative",))
        patch.setattr(compute, "breakdown", functools.partial(breakdown, families=("multiplicative",)))
        yield
    atlas_spec._table_study.cache_clear()


@pytest.fixture(scope="module")
def small(tmp_path_factory, fast):
    path = tmp_path_factory.mktemp("atlas") / "whole"
    return cj.run_atlas(SMALL, path, progress=None, figures=False), path


@pytest.mark.slow
def test_an_atlas_has_a_study_for_each_table_and_tables_over_all(small):
    atlas, path = small
    assert atlas.study("datablations").info["n_fits"] == len(atlas.study("datablations").conditions) * 20
    assert list(atlas.overview["table"]) == list(SMALL.tables)
    assert len(atlas.slopes) == 4 and set(atlas.ratios["beyond"]) == {1.0, 10.0}
    # The slope is that of the exponents, as the study's own fits have it.
    fits = atlas.study("olmo_ladder").fits("identity")
    slope = (fits["alpha"] - fits["beta"]) / (fits["alpha"] + fits["beta"])
    own = atlas.slopes.query("table == 'olmo_ladder' and params == 'total'").iloc[0]
    assert own["median"] == pytest.approx(np.median(slope[fits["status"].isin(["CONVERGED", "BOUNDARY"])]))
    assert (path / "report.html").read_text().count("<section") >= 7
    assert atlas_status(path).complete
    assert "2 tables" in repr(atlas)


@pytest.mark.slow
def test_shards_damage_and_interruption_give_the_same_tables(small, tmp_path, fast, monkeypatch):
    _, whole = small
    # The page of an atlas is made in the other test.
    monkeypatch.setattr(atlas_report, "write_atlas_page", lambda atlas, **_: atlas.directory.write(PAGE, b""))
    for number in (1, 2):
        status = run_atlas_shard(SMALL, tmp_path, Shard(number, 2), progress=None, figures=False)
        assert status.complete == (number == 2)
    assert contents(tmp_path) == contents(whole)
    # As after a process that was killed: chunks, a search, a table and the record's state are lost.
    next((tmp_path / "olmo_ladder" / "fits").glob("*.parquet")).unlink()
    next((tmp_path / "breakdown" / "olmo_ladder").glob("*.parquet")).unlink()
    (tmp_path / "summary" / "claims.csv").write_text("torn")
    assert not atlas_status(tmp_path).complete
    again = cj.run_atlas(SMALL, tmp_path, progress=None, figures=False)
    assert contents(tmp_path) == contents(whole) and not again.reused
    assert cj.run_atlas(SMALL, tmp_path, progress=None, figures=False).reused
    (tmp_path / "summary" / "slopes.parquet").write_bytes(b"torn")
    with pytest.raises(DataError, match="run the study again"):
        cj.open_atlas(tmp_path).slopes  # noqa: B018
    finish_atlas(tmp_path, progress=None, figures=False)
    assert contents(tmp_path) == contents(whole)
    with pytest.raises(UsageError, match="atlas with seed 0"):
        cj.run_atlas(dataclasses.replace(SMALL, seed=1), tmp_path, progress=None)
    with pytest.raises(UsageError, match="already has 20 resamples"):
        cj.run_atlas(dataclasses.replace(SMALL, resamples=10), tmp_path, progress=None)
