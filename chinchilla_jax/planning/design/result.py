"""What `next_runs` returns: the proposed runs, what they narrow, and what was simulated beside them."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from chinchilla_jax._util.cards import Card, ShownInNotebooks, frame_card
from chinchilla_jax._util.higher_rooms import written_in
from chinchilla_jax._util.text import flops_text, list_text, width_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes

    from chinchilla_jax.bootstrapping.result import BootstrapResult
    from chinchilla_jax.laws import Cost
    from chinchilla_jax.planning.design.question import Question


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class NextRuns(ShownInNotebooks):
    """What to train next; T targets.

    Attributes:
        table: one row per run to train, the one that brings most first: params, tokens, the law's further
            variables, flops, paid (FLOP of the whole units that it takes, see `Steps`), tokens_per_param;
            width (of the first target, to first order, after this run and those above it); without (the same
            after all the others); inside (whether in the convex hull of the runs' ln N and ln D);
            off_frontier (factor between its tokens per parameter and the optimum's at its compute).
        widths: one row per target: target, estimate, low, high, width (of the bootstrap), linear_before,
            linear_after, before (simulated, without new runs), after (with them), error (its
            Monte-Carlo error), low_after, high_after (expected), scale ("ln" or "plain", on which widths are
            measured; limits are in the target's own unit).
        choices: one row per choice that was simulated: choice ("now" for no run, "linear" for the best to
            first order, "if the law bends" for the best where it may, "for half of it" and "for a
            tenth" of the allowance the best to first order, and the rules of rules.py), runs, flops, linear,
            after, error (of the first target), weighted (mean over the targets of ln of the
            width after over that before), chosen.
        prices: what less money buys: flops, runs, linear (width of the first target; if robust, where the law
            may bend), weighted (as in `choices`, to first order), params, tokens (of each run); ever more of
            the first buy ever less of the fourth, and for one target of the third.
        by_law: one row per law: law, linear_before, linear_after, before, after, error (of the first target,
            as in `widths`), alone (after the runs that the first law alone would choose).
        rests_on_law: share of the first target's gain that is lost if the law may bend by the size of an
            error (information.py).
        level: mass of the intervals.
        allowance: FLOP.
        n_fits: simulated refits.
        boot: the bootstrap that it begins with.
        question: what was asked, with the candidates.
        chosen: positions of the runs among the candidates.
        warnings: one sentence each.
    """

    table: pd.DataFrame
    widths: pd.DataFrame
    choices: pd.DataFrame
    prices: pd.DataFrame
    by_law: pd.DataFrame
    rests_on_law: float
    level: float
    allowance: float
    n_fits: int
    boot: BootstrapResult
    question: Question
    chosen: tuple[int, ...]
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """The sentence; the numbers are in the tables."""
        return f"<NextRuns: {self.sentence}>"

    @written_in("chinchilla_jax.plots", "next_runs")
    def plot(self, *, axes: Sequence[Axes] | None = None) -> tuple[Axes, Axes]:
        """Draw the price list and the chosen runs, as `chinchilla_jax.plots.next_runs` does."""
        raise NotImplementedError

    def _card(self) -> Card:
        names = ("params", "tokens", "flops", "tokens_per_param", "width")
        return frame_card(
            "Runs to train next", self.table, {n: n for n in names}, [self.sentence, *self.warnings]
        )

    @property
    def cost(self) -> Cost:
        """What training costs."""
        return self.question.reading.sample.cost

    @property
    def law_sentence(self) -> str:
        """How much of the gain rests on the law, in words."""
        if math.isnan(self.rests_on_law):
            return "To first order nothing is gained."
        return (
            f"{self.rests_on_law:.0%} of the gain to first order rests on the law holding at the chosen "
            "sizes: it is lost where the law may be off by a smooth curve of the size of a run's error."
        )

    @property
    def flops(self) -> float:
        """What the runs cost together (FLOP)."""
        return float(self.table["paid"].sum())

    @property
    def sentence(self) -> str:
        """What it comes to, on one line."""
        first = self.widths.iloc[0]
        count = len(self.table)
        of = f"the {'log ' if first['scale'] == 'ln' else ''}width of {self.question.targets[0].label}"
        does = f"narrow {of} from" if first["after"] < first["before"] else f"do not narrow {of}:"
        return (
            f"{count} run{'s' * (count != 1)} of {flops_text(self.flops)} FLOP {does} "
            f"{width_text(first['before'])} to {width_text(first['after'])} +- {first['error']:.1g} "
            f"({width_text(first['linear_before'])} to {width_text(first['linear_after'])} to first order)"
            f"{self._others}"
        )

    @property
    def _others(self) -> str:
        """The widths of the further targets, and what was narrowed of all."""
        if len(self.widths) == 1:
            return ""
        others = [
            f"that of {target.label} goes from {width_text(before)} to {width_text(after)}"
            for target, before, after in zip(
                self.question.targets[1:], self.widths["before"][1:], self.widths["after"][1:], strict=True
            )
        ]
        weighted = "weighted " if len({target.weight for target in self.question.targets}) > 1 else ""
        return f"; {list_text(others)}; the runs are chosen for the {weighted}mean of ln(width)"
