"""Sections that a study makes while it computes are those of its page."""

import time

import pytest

import chinchilla_jax as cj
from chinchilla_jax._util.errors import DataError
from chinchilla_jax.report.facts import Facts
from chinchilla_jax.report.own_early import OwnSectionsEarly
from chinchilla_jax.report.page import html, render
from chinchilla_jax.report.study_page import own_sections, study_page
from chinchilla_jax.study.own_fits import own_inputs

SPEC = cj.StudySpec.from_dict(
    {
        "sweeps": [{"family": "multiplicative", "values": [0.5, 2.0]}],
        "resamples": 20,
        "flops": [1e20, 1e22],
    }
)


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_the_page_that_they_are_on_is_that_of_the_directory(tmp_path, monkeypatch, executor):
    of, taken = OwnSectionsEarly.of, []

    def awaited(early, study):
        end = time.monotonic() + 60
        while not early._made.done() and time.monotonic() < end:
            time.sleep(0.01)
        taken.append(of(early, study))
        return taken[-1]

    monkeypatch.setattr(OwnSectionsEarly, "of", awaited)
    cj.run_study(SPEC, tmp_path, progress=None, figures=False, executor=executor, workers=2)
    assert [section.id for section in taken[0]][:2] == ["fitted", "quality"]
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == render(cj.open_study(tmp_path))


@pytest.mark.slow
def test_they_are_those_of_the_finished_study(small_study):
    early = OwnSectionsEarly()
    early.make(small_study)
    found, here = early.of(small_study), own_sections(Facts(small_study).subject)
    assert html(study_page(Facts(small_study), found)) == html(study_page(Facts(small_study), here))


@pytest.mark.parametrize(
    "other",
    [
        lambda info: {"notes": [{"condition": info["parts"][0]["condition"], "note": "one more"}]},
        lambda info: {"parts": [info["parts"][0] | {"checksum": "other"}, *info["parts"][1:]]},
        lambda info: {"resampling": "otherwise"},
        lambda info: {"spec": info["spec"] | {"seed": 1}},
        lambda info: {"checksums": {}},
    ],
)
def test_they_are_not_used_for_another_study(small_study, other):
    early = OwnSectionsEarly()
    early._made.set_result((own_inputs(small_study), []))
    extended = cj.open_study(small_study.location)
    assert early.of(extended) == []
    extended.info = extended.info | other(extended.info)
    assert early.of(extended) is None


def test_what_was_not_begun_or_has_failed_is_made_at_the_end(small_study, monkeypatch):
    early = OwnSectionsEarly()
    assert early.of(small_study) is None
    early.make(small_study)
    assert early.of(small_study) is None, "too late"
    failed = OwnSectionsEarly()
    monkeypatch.setattr(Facts, "subject", DataError("the table has gone"))
    with pytest.raises(DataError):
        failed.make(small_study)
        failed._made.result()
    assert failed.of(small_study) is None
