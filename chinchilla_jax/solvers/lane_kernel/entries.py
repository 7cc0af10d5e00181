"""The ways into the compiled code: names, and parameters as letters.

| letter | C type     | | letter | C type      |
|--------|------------|-|--------|-------------|
| i      | int64_t    | | I      | int64_t *   |
| d      | double     | | D      | double *    |
| u      | uint32_t   | | U      | uint32_t *  |
|        |            | | F      | float *     |
|        |            | | B      | uint8_t *   |
"""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """A compiled function without a result; its Python source has the same name in generate.py."""

    name: str
    parameters: str


# Sizes and limits, tolerance; columns, weights, counts, starts, widths; scratch; results.
FIT_LANES = Entry("fit_lanes_of", "iiiiiiiiidDDBDDDDIDFDDDDDDDDDII")
# Ids, width; seed, stream; ids, one row of scratch, bits.
DRAW_BITS = Entry("bits_of", "iiuuUUU")
# Ids, width; seed, stream; ids, two rows of scratch, counts.
DRAW_COUNTS = Entry("counts_of", "iiuuUUB")
ENTRIES = (FIT_LANES, DRAW_BITS, DRAW_COUNTS)
