"""What a comparison of forms found: the errors of each, their differences, and what they say."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.text import list_text
from chinchilla_jax.analysis.form_sentences import sentence
from chinchilla_jax.analysis.joint_limits import joint_limits
from chinchilla_jax.bootstrapping.schemes import Pairs
from chinchilla_jax.fitting.result import FitResult

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax.bootstrapping.dependence import Dependence
    from chinchilla_jax.bootstrapping.schemes import Scheme
    from chinchilla_jax.laws import Objective

Floats = NDArray[np.float64]

COMPARISON_METHODS = ("centred", "basic", "percentile")
LIMITS = ("low", "high", "joint_low", "joint_high")


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class FormComparison:
    """What `compare_forms` found.

    Attributes:
        table: one row per split and form: split, form, n_parameters, n_held_out, error (mean absolute log
            error out of sample), error_low, error_high, difference (from the reference form; positive is
            worse), low, high (its interval), joint_low, joint_high (intervals of all forms of the split that
            hold together), p_best (model confidence set: the form may be the best where this is at least
            1 - level), n_resamples (of both forms), of_resamples (asked for), n_failed. NaN where there is
            none: an error where some part has no optimum, an interval where fewer than `fewest` resamples are
            left.
        reference: name of the form that others are compared with.
        objective: what every fit minimised; where its delta was "auto", that of the reference form.
        level: mass of the intervals.
        method: one of `COMPARISON_METHODS`.
        scheme: how the runs were resampled, but for splits by groups.
        dependence: what was measured where "auto" chose it, or None.
        fits: the fit of every form to all runs, certified or not.
        scores: by split, then by form: the error on the runs, then on each resample, (1 + R,).
        left_out: forms, splits, and forms in a split, that were not compared, and why, one sentence each.
        warnings: of the reference's fit to all runs and of the resampling, one sentence each.
    """

    table: pd.DataFrame
    reference: str
    objective: Objective
    level: float
    method: str
    scheme: Scheme = dataclasses.field(default_factory=Pairs)
    dependence: Dependence | None = None
    fits: tuple[FitResult, ...] = ()
    scores: Mapping[str, Mapping[str, Floats]] = dataclasses.field(default_factory=dict, repr=False)
    left_out: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Which laws on which splits; the numbers are in the table."""
        laws, splits = (list_text(self.table[name].unique().tolist(), 5) for name in ("form", "split"))
        return f"<FormComparison of {laws} against {self.reference} on {splits}>"

    @property
    def pairs(self) -> pd.DataFrame:
        """Every two forms: split, form, other, difference (of errors; positive is worse than the other).

        Then low, high and, holding for all pairs of a split together, joint_low, joint_high.
        """
        import pandas as pd

        rows: list[dict[str, object]] = []
        for split, of_form in self.scores.items():
            named = list(itertools.combinations(of_form, 2))
            values = [of_form[one] - of_form[other] for one, other in named]
            if not named:
                continue
            limits = joint_limits(np.stack(values, axis=1), self.level, self.method).T
            for (one, other), value, of_pair in zip(named, values, limits, strict=True):
                numbers = dict(zip(LIMITS, of_pair, strict=True))
                rows.append({"split": split, "form": one, "other": other, "difference": value[0], **numbers})
        return pd.DataFrame(rows, columns=["split", "form", "other", "difference", *LIMITS])

    @property
    def sentences(self) -> list[str]:
        """What the table says, one sentence for each split."""
        return [
            sentence(group, self.reference, self.level)
            for _, group in self.table.groupby("split", sort=False)
        ]
