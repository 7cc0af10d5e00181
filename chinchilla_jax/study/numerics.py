"""Which versions compute the same digits, by law: what tells whether a directory can be extended.

A number counts the changes of solvers, starts, resampling or perturbations that changed a number in a study.
A change under one law leaves studies of the others extendable.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from chinchilla_jax.laws import Law, OwnLaw


@dataclasses.dataclass(frozen=True)
class Numerics:
    """Numbers of the last changes.

    Attributes:
        every_law: of the last one that concerned every law.
        laws: of later ones, by the name of the built-in law that they concerned.
    """

    every_law: int
    laws: Mapping[str, int]

    @property
    def newest(self) -> int:
        """The largest number: one more is that of the next change."""
        return max((self.every_law, *self.laws.values()))

    def since(self, law: str | Law | Mapping[str, Any]) -> int:
        """The number since which the digits under a law, as it is or as a record has it, are those of now."""
        if isinstance(law, (OwnLaw, Mapping)):  # a law of one's own, whatever its name
            return self.every_law
        return self.laws.get(law if isinstance(law, str) else law.name, self.every_law)

    def accepted(self, law: str | Law | Mapping[str, Any]) -> range:
        """The numbers of the versions whose digits under a law are those of now."""
        return range(self.since(law), self.newest + 1)


STUDIES = Numerics(9, {})
MULTIVERSES = Numerics(5, {})
