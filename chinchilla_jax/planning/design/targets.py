"""What a design is to narrow: a quantity of a law, on the scale on which its interval is measured.

| target           | of                              | scale | where                                       |
|------------------|---------------------------------|-------|---------------------------------------------|
| tokens_per_param | D_opt / N_opt                   | ln    | a budget C (FLOP)                           |
| params, tokens   | N_opt, D_opt                    | ln    | a budget                                    |
| loss             | L(N, D), or its least for C     | ln    | a place N,D, or a budget                    |
| multiplier       | m with L_other*(m C) = L*(C)    | ln    | a budget, and another table                 |
| a, b             | exponents of N_opt and D_opt    | plain | everywhere                                  |
| E, alpha, ...    | a parameter of the law          | plain | everywhere; ln of A, B, N_c and D_c         |

As text: NAME[@WHERE][=WEIGHT], such as "tokens_per_param@1e22", "loss@7e9,1.4e11=2" or "alpha".
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.errors import UsageError, closest, short
from chinchilla_jax._util.labels import quantity_label
from chinchilla_jax._util.text import flops_text, list_text, scaled_number
from chinchilla_jax._util.validation import positive_number
from chinchilla_jax.intervals.tokens_per_param import positive_budgets
from chinchilla_jax.laws.fitted import COEFFICIENTS, FittedLaws, parameter_values
from chinchilla_jax.planning.allocation import sampled_allocation
from chinchilla_jax.planning.multipliers import AnyFrontier, Frontier, log_multiplier

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from chinchilla_jax.laws import Law
    from chinchilla_jax.planning.law_sample import LawSample

    Floats = NDArray[np.float64]

OF_BUDGET = ("tokens_per_param", "params", "tokens", "loss", "multiplier")
EXPONENTS = ("a", "b")
_STEP = 1e-5  # of standardised coordinates


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    """A quantity to narrow.

    Attributes:
        quantity: its name, see the head of this file.
        flops: the budget (FLOP), where it has one.
        place: (params, tokens), where it has one.
        weight: how much it counts beside others.
    """

    quantity: str
    flops: float | None = None
    place: tuple[float, float] | None = None
    weight: float = 1.0

    @property
    def log(self) -> bool:
        """Whether the interval is one of the logarithm."""
        return self.quantity in OF_BUDGET or self.quantity in COEFFICIENTS

    @property
    def text(self) -> str:
        """As it is written: "tokens_per_param@1e+22"."""
        if self.flops is not None:
            return f"{self.quantity}@{self.flops:g}"
        return self.quantity if self.place is None else f"{self.quantity}@{self.place[0]:g},{self.place[1]:g}"

    @property
    def label(self) -> str:
        """The same for readers: "tokens_per_param@1.97e20"."""
        where = (self.flops,) if self.flops is not None else self.place or ()
        return self.quantity + "@" * bool(where) + ",".join(map(flops_text, where))

    @property
    def words(self) -> str:
        """The same in words, for figures: "tokens per parameter at 1.97e20 FLOP"."""
        name = quantity_label(self.quantity)
        if self.flops is not None:
            return f"{name} at {flops_text(self.flops)} FLOP"
        if self.place is None:
            return name
        params, tokens = map(scaled_number, self.place)
        return f"{name} at N = {params}, D = {tokens}"

    def natural(self, value: float) -> float:
        """A value of the measured scale in its own unit."""
        return float(np.exp(np.minimum(value, 700.0))) if self.log else float(value)


def read_targets(
    given: str | Target | Sequence[str | Target], law: Law, flops: ArrayLike | None, against: bool
) -> tuple[Target, ...]:
    """The targets that a caller names.

    Args:
        given: one or several, each a `Target` or a text as at the head of this file.
        law: what has them.
        flops: the budgets of those that name none: each is a target at every one of them.
        against: whether there is another table to compare with.

    Raises:
        UsageError: the law has no such target, or it lacks a budget or place.
    """
    each = [given] if isinstance(given, str | Target) else list(given)
    if not each:
        raise UsageError("next_runs: no target; give one, such as tokens_per_param@1e22")
    budgets = [None] if flops is None else positive_budgets(flops).tolist()
    asked = (one if isinstance(one, Target) else _parsed(one, at) for one in each for at in budgets)
    found = tuple(dict.fromkeys(asked))
    for target in found:
        _require(target, law, against)
    return found


def one_target(what: str, targets: Sequence[Target]) -> Target:
    """The only one of these targets.

    Raises:
        UsageError: there are several.
    """
    if len(targets) > 1:
        labels = list_text([target.label for target in targets], most=3)
        raise UsageError(f"{what} judges by one target, not by {labels}; give one target at one budget")
    return targets[0]


def _parsed(text: object, flops: float | None) -> Target:
    if not isinstance(text, str):
        raise UsageError(f"next_runs: target is {short(text)}; give a text such as tokens_per_param@1e22")
    rest, equals, weight = text.partition("=")
    name, at, where = (part.strip() for part in rest.partition("@"))
    try:
        numbers = [float(each) for each in where.split(",")] if at else []
        factor = float(weight) if equals else 1.0
    except ValueError:
        numbers, factor = [], -1.0
    if bool(at) != bool(numbers) or len(numbers) > 2 or not all(0 < x < np.inf for x in (*numbers, factor)):
        raise UsageError(
            f"target {short(text)}: give NAME, NAME@FLOP or loss@PARAMS,TOKENS, and =WEIGHT after it, such "
            "as tokens_per_param@1e22 or loss@7e9,1.4e11=2"
        )
    place = (numbers[0], numbers[1]) if len(numbers) == 2 else None
    budget = numbers[0] if len(numbers) == 1 else flops if name in OF_BUDGET and place is None else None
    budget = None if budget is None else positive_number("flops", budget)
    return Target(quantity=name, flops=budget, place=place, weight=factor)


def _require(target: Target, law: Law, against: bool) -> None:
    name = target.quantity
    known = [*(OF_BUDGET if law.has_optimum else ("loss",)), *(EXPONENTS if law.has_optimum else ())]
    known += [each for each in law.parameters if each not in known]
    if name not in known:
        near = closest(name, known)
        hint = f"did you mean {near!r}? " if near else ""
        raise UsageError(f"target {short(name)}: law {law.name} has none; {hint}it has {list_text(known)}")
    if name in OF_BUDGET and target.flops is None and target.place is None:
        place = ", or a place (loss@7e9,1.4e11)" if name == "loss" else ""
        raise UsageError(f"target {name} has no budget; give flops, write {name}@1e22{place}")
    if target.place is not None and name != "loss":
        raise UsageError(f"target {target.text}: only a loss has a place; give {name}@FLOP")
    if target.flops is not None and name not in OF_BUDGET:
        raise UsageError(
            f"target {target.text}: {name} is the same at every budget; leave out @ and what follows"
        )
    if name == "loss" and target.flops is not None and not law.has_optimum:
        raise UsageError(f"target {target.text}: law {law.name} has no optimum; give loss@PARAMS,TOKENS")
    if (name == "multiplier") and not against:
        raise UsageError("target multiplier compares with another table; give against (--against TABLE)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
    """How targets are read off laws.

    Attributes:
        sample: the cost of training and the laws' further variables.
        other: the frontier of the other table's law, for multipliers.
    """

    sample: LawSample
    other: AnyFrontier | None = None

    def values(self, target: Target, laws: FittedLaws) -> Floats:
        """The target of laws (R,) on its scale, (R,); NaN where a law has none."""
        with np.errstate(all="ignore"):
            found = np.array(np.broadcast_to(self._plain(target, laws), (len(laws),)), np.float64)
            found = np.log(found) if target.log else found
        found[~np.isfinite(found)] = np.nan
        return found

    def gradients(
        self, targets: Sequence[Target], make: Callable[[Floats], FittedLaws], theta: Floats
    ) -> Floats:
        """Derivatives of the targets by theta (p,), by central differences; (T, p), NaN where there are none.

        Args:
            targets: T of them.
            make: the laws at theta (k, p).
            theta: (p,).
        """
        size = len(theta)
        steps = _STEP * np.eye(size)
        around = make(np.concatenate([theta + steps, theta - steps]))
        values = np.stack([self.values(target, around) for target in targets])
        return np.asarray((values[:, :size] - values[:, size:]) / (2 * _STEP))

    def _plain(self, target: Target, laws: FittedLaws) -> Floats:
        name = target.quantity
        if name == "multiplier":
            assert self.other is not None and target.flops is not None
            log_flops = np.array([math.log(target.flops)])
            return np.exp(log_multiplier(self.other, Frontier.of(laws), log_flops))[:, 0]
        if target.place is not None:
            return self.sample.loss(laws, *target.place)
        if target.flops is not None:
            return sampled_allocation(self.sample, laws, "flops", target.flops)[name]
        if name in EXPONENTS:
            exponents: Any = getattr(laws, "exponents", None)
            if exponents is None:
                raise UsageError(
                    f"target {name}: the optimum of this law is no power of compute; give another"
                )
            return np.asarray(exponents[EXPONENTS.index(name)])
        return parameter_values(laws, name)
