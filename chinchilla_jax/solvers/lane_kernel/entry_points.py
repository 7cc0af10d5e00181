"""The functions of the kernel that Python calls: their names, and their parameters in order.

| type   | C type       | as an argument                                         |
|--------|--------------|--------------------------------------------------------|
| i64    | int64_t      | int                                                    |
| f64    | double       | float                                                  |
| u32    | uint32_t     | int                                                    |
| f64*   | double *     | array of float64, contiguous; i64*, f32*, u32*, u8* so |

lowering.py has a Python function of each name with the same parameters.
"""

from __future__ import annotations

from typing import NamedTuple


class EntryPoint(NamedTuple):
    """A compiled function without a result."""

    name: str
    parameters: dict[str, str]


FIT_LANES = EntryPoint(
    "fit_lanes",
    {
        "n_runs": "i64",
        "lanes": "i64",
        "ranks": "i64",
        "n_weights": "i64",
        "n_counts": "i64",
        "tries": "i64",
        "float32_steps": "i64",
        "float64_steps": "i64",
        "search_after": "i64",
        "room": "i64",
        "tolerance": "f64",
        # Inputs.
        "columns": "f64*",  # (3, n_runs)
        "weights": "f64*",  # (n_weights, n_runs)
        "counts": "u8*",  # (n_counts, n_runs)
        "starts": "f64*",  # (ranks, lanes, SIZE)
        "target_width": "f64*",  # (lanes,)
        "first_width": "f64*",  # (lanes,)
        # Scratch.
        "row": "f64*",  # (n_runs,)
        "index": "i64*",  # (n_runs,)
        "runs": "f64*",  # (room,)
        "runs32": "f32*",  # (room,)
        "vectors": "f64*",  # (N_VECTORS, SIZE)
        "matrix": "f64*",  # (SIZE, SIZE)
        "systems": "f64*",  # (N_SYSTEMS, WIDE)
        "sums": "f64*",  # (N_SUMS,)
        # Results.
        "theta": "f64*",  # (lanes, SIZE)
        "anchor": "f64*",  # (lanes, SIZE)
        "anchor_value": "f64*",  # (lanes,)
        "decrement": "f64*",  # (lanes,)
        "width": "f64*",  # (lanes,)
        "status": "i64*",  # (lanes,)
        "steps": "i64*",  # (lanes,)
    },
)
_DRAW = {
    "n_ids": "i64",
    "n_runs": "i64",
    "seed": "u32",
    "stream": "u32",
    "ids": "u32*",  # (n_ids,)
}
DRAW_BITS = EntryPoint(
    "random_bits",
    _DRAW
    | {
        "scratch": "u32*",  # (n_runs,)
        "bits": "u32*",  # (n_ids, n_runs)
    },
)
DRAW_COUNTS = EntryPoint(
    "random_counts",
    _DRAW
    | {
        "scratch": "u32*",  # (2, n_runs)
        "counts": "u8*",  # (n_ids, n_runs)
    },
)
ORDER_LINES = EntryPoint(
    "order_lines",
    {
        "n_lines": "i64",
        "n_places": "i64",
        "n_ranks": "i64",
        "room": "i64",
        "slope": "f64*",  # (room,), of which the first n_lines are input and the rest is scratch
        "intercept": "f64*",  # (room,), likewise
        "places": "f64*",  # (n_places,)
        "ranks": "i64*",  # (n_ranks,)
        # Scratch.
        "values": "f64*",  # (2, n_lines)
        "apart": "f64*",  # (n_places,)
        "chords": "f64*",  # (DEPTH, 7)
        "sets": "i64*",  # (DEPTH, 5)
        "stack": "i64*",  # (2 * DEPTH, 3)
        # Results.
        "found": "f64*",  # (n_ranks, n_places)
    },
)
ENTRY_POINTS = (FIT_LANES, DRAW_BITS, DRAW_COUNTS, ORDER_LINES)
