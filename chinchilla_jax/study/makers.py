"""Which machines and versions computed the chunks of a study, and what that means for its digits."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping

from chinchilla_jax._util.text import list_text
from chinchilla_jax.study.environment import PACKAGE
from chinchilla_jax.study.storage.chunk_files import ChunkRecord

ALL = "all"  # the condition of a note about the study as a whole


@dataclasses.dataclass
class Makers:
    """Who computed the chunks that were added.

    Attributes:
        processors: chunks by instruction set; those of earlier versions, which do not say, are left out.
        versions: every set of versions that occurs.
    """

    processors: Counter[str] = dataclasses.field(default_factory=Counter)
    versions: list[Mapping[str, str]] = dataclasses.field(default_factory=list)

    def add(self, record: ChunkRecord) -> None:
        """Count one chunk."""
        if record.made_on:
            self.processors[record.made_on] += 1
        if record.versions not in self.versions:
            self.versions.append(record.versions)

    def notes(self) -> list[str]:
        """Sentences for the user; none if all chunks were computed alike."""
        found = []
        values: dict[str, set[str]] = {}
        for each in self.versions:
            for name, version in each.items():
                values.setdefault(name, set()).add(version)
        values.pop(PACKAGE, None)  # its versions share a study only where their digits are the same
        if differing := sorted(name for name, versions in values.items() if len(versions) > 1):
            found.append(
                f"chunks were computed by different versions of {list_text(differing)}; their last digits "
                "may differ from those of a study computed by one version"
            )
        if len(self.processors) > 1:
            kinds = "; ".join(f"{count:,} on {name}" for name, count in self.processors.most_common())
            found.append(
                f"chunks were computed on different machines ({kinds}); most fits agree with those of one "
                "processor to a relative 1e-8, and where noise leaves a fit several minima, rounding can "
                "choose another"
            )
        return found
