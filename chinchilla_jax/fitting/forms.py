"""Functional forms beside the five-parameter law, objectives beside Huber, and one batched solver for all."""

from chinchilla_jax.fitting.form_fitting import bootstrap_form, fit_form
from chinchilla_jax.fitting.form_results import FormBootstrap, FormFit
from chinchilla_jax.laws.base import Form
from chinchilla_jax.laws.families import (
    FORMS,
    Broken,
    EqualExponents,
    FiveParameter,
    FixedFloor,
    Kaplan,
    read_form,
)
from chinchilla_jax.laws.form_objectives import AsymmetricError, Squared

__all__ = [
    "FORMS",
    "AsymmetricError",
    "Broken",
    "EqualExponents",
    "FiveParameter",
    "FixedFloor",
    "Form",
    "FormBootstrap",
    "FormFit",
    "Kaplan",
    "Squared",
    "bootstrap_form",
    "fit_form",
    "read_form",
]
