"""Losses are called by their unit: nats per token, or the one that could not be converted into them."""

import dataclasses

import numpy as np
import pytest
from matplotlib.text import Text

import chinchilla_jax as cj
from chinchilla_jax.datasets.provenance import Source
from chinchilla_jax.planning.recipes import comparability_warnings
from chinchilla_jax.report.content import plain_text
from chinchilla_jax.report.sections import sure
from chinchilla_jax.report.subject import subject_of
from chinchilla_jax.report.table_page import table_page

LAW = cj.ScalingLaw(E=1.7, A=400.0, B=900.0, alpha=0.34, beta=0.31)
N, D = (each.ravel() for each in np.meshgrid(np.geomspace(7e7, 3e9, 5), np.geomspace(1e9, 1e11, 5)))
L = LAW.loss(N, D) * np.exp(np.random.default_rng(0).normal(0, 0.004, N.size))
RUNS = cj.Runs(params=N, tokens=D, loss=L, name="a")


def test_losses_in_bits_per_byte_are_never_called_nats(monkeypatch):
    """A plan, a page and every figure called losses in bits per byte "nats per token"."""
    # Their table has no loss, and the other laws take programs of XLA.
    monkeypatch.setattr(sure, "_RIVALS", (("chinchilla", "squared"),))
    per_byte = dataclasses.replace(
        RUNS, source=Source(columns={"loss": "val_bpb"}, units={"loss": "bits per byte"})
    )
    assert per_byte.loss_unit == "bits per byte"
    boot = cj.bootstrap(per_byte, resamples=60, progress=None)
    found = cj.predict(boot, {"params": [1e9], "tokens": [2e10]})
    fit = boot.point
    axes = [
        cj.plots.fit(fit), boot.plot("loss"), found.plot(), *cj.plots.loss_surface(boot),
        *cj.compare(per_byte, dataclasses.replace(per_byte, loss=L * 1.02, name="b"), resamples=20).plot(),
    ]  # fmt: skip
    labels = [text.get_text() for each in axes for text in each.get_figure().findobj(Text)]
    cards = [each._repr_html_() for each in (per_byte, fit, boot, found, cj.plan(boot, 1e20))]
    page = table_page(subject_of(boot, flops=1e20))
    said = [plain_text(each) for section in page.sections for each in section.paragraphs]
    tables = [table for section in page.sections for table in section.tables]
    said += [text for table in tables for column in table.columns for text in column.texts]
    for texts in (labels, cards, said):
        assert any("bits per byte" in text for text in texts)
        assert not any("nats" in text for text in texts)


@pytest.mark.parametrize("units", ["perplexity", "bits", "bits per byte, 4.2 bytes per token"])
def test_losses_that_were_converted_are_comparable_with_nats(units):
    """Recipes in nats and in perplexity were said to be in different units although both are in nats."""
    runs = dataclasses.replace(RUNS, source=Source(units={"loss": units}))
    assert runs.loss_unit == "nats per token"
    assert not any("no law can compare" in each for each in comparability_warnings({"a": RUNS, "b": runs}))


def test_the_losses_of_a_figure_are_in_its_units():
    assert cj.load_runs("llama3").loss_unit == "units of the figure"
    assert cj.load_runs("chinchilla").loss_unit == "nats per token"
