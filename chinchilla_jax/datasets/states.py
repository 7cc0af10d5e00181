"""Which runs of a table finished, by the words that trackers and schedulers have for it.

| written by       | column            | words for a run that did not finish                       |
|------------------|-------------------|-----------------------------------------------------------|
| Weights & Biases | State             | running, crashed, failed, killed, preempting, pending     |
| MLflow           | status            | RUNNING, FAILED, KILLED, SCHEDULED                        |
| SLURM (sacct)    | State, JobState   | TIMEOUT, CANCELLED by 1001, NODE_FAIL, OUT_OF_ME+, ...    |
| SLURM, short     | ST                | TO, CA, NF, OOM, ..., where CD says that others completed |
| people           | run_state, status | aborted, error, interrupted, queued, ...                  |

Names of columns count in any spelling, and within another's fields ("info.status").
Words that are not listed, such as "ok", say nothing, and the run stays.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from chinchilla_jax._util.errors import DataError, DataWarning, short
from chinchilla_jax._util.user_warning import warn_user
from chinchilla_jax.datasets.meaning import normalise
from chinchilla_jax.datasets.table import Table

# As `normalise` writes the last part of a name: "info.status", "config/State", "run_state".
_COLUMNS = frozenset(
    f"{of}{word}{'s' * plural}"
    for of in ("", "run", "job", "wandb", "mlflow", "slurm", "trial", "training", "train", "final", "exit")
    for word in ("state", "status")
    for plural in (False, True)
) | {"st", "jobst"}
_UNFINISHED = frozenset(
    {
        *("aborted", "canceled", "cancelled", "crashed", "crash", "deadline", "died", "error", "errored"),
        *("failed", "failure", "incomplete", "inprogress", "interrupted", "killed", "lost", "notfinished"),
        *("notstarted", "oom", "outofmemory", "unfinished", "bootfail", "nodefail", "preempted"),
        *("preempting", "preempt", "timeout", "timedout", "terminated", "stopped", "suspended", "revoked"),
        *("pending", "queued", "running", "scheduled", "starting", "started", "submitted", "waiting"),
        *("completing", "configuring", "requeued", "requeuefed", "requeuehold", "resizing", "resvdelhold"),
        *("signaling", "specialexit", "stageout", "launchfailed", "reconfigfail", "updatedb"),
    }
)  # fmt: skip
_SHORT = frozenset(
    {
        *("bf", "ca", "cf", "cg", "dl", "f", "nf", "oom", "pd", "pr", "r", "rd", "rf", "rh", "rq", "rs"),
        *("rv", "se", "si", "so", "st", "s", "to"),
    }
)  # fmt: skip
_COMPLETED = "cd"  # in the same two letters
_SHORTEST_CUT = 5  # sacct ends a word that it cuts with "+"


def finished_runs(table: Table, *, all_states: bool = False, among: Sequence[int] | None = None) -> Table:
    """The rows of runs that finished, or whose state the table does not tell.

    Args:
        table: any table.
        all_states: keep every row.
        among: positions of the only rows that may be left out; None for all.

    Raises:
        DataError: no run has finished.

    Warns:
        DataWarning: some did not finish, and were left out.
    """
    left: set[int] = set()
    names: list[str] = []
    for position in [] if all_states else _state_columns(table):
        rows = _unfinished_rows(table.column(position))
        if rows := rows if among is None else [row for row in rows if row in among]:
            left.update(rows)
            names.append(short(table.header[position]))
    if not left:
        return table
    column = f"column{'s' * (len(names) > 1)} {', '.join(names)}"
    if len(left) == len(table.rows):
        raise DataError(
            f"{table.where}: no run has finished ({column}); if they have, pass --all-states "
            "(all_states=True in Python)"
        )
    ordered = sorted(left)
    warn_user(
        f"{table.where}: left out {len(left)} of {len(table.rows)} runs that did not finish "
        f"({table.name_rows(ordered)}; {column}); --all-states keeps them",
        DataWarning,
    )
    return table.leave_out(ordered, f"did not finish ({column})")


def _state_columns(table: Table) -> list[int]:
    return [
        position
        for position, name in enumerate(table.header)
        if normalise(re.split(r"[./]", name)[-1]) in _COLUMNS
    ]


def _unfinished_rows(cells: Sequence[object]) -> list[int]:
    words = [_word(cell) for cell in cells]
    used = set(words) - {""}
    if _COMPLETED in used and used <= _SHORT | {_COMPLETED}:
        return [row for row, word in enumerate(words) if word in _SHORT]
    return [row for row, word in enumerate(words) if _is_unfinished(word)]


def _word(cell: object) -> str:
    """A state in small letters, without what may follow it: "RunStatus.FAILED", "CANCELLED by 1001"."""
    if not isinstance(cell, str):
        cell = getattr(cell, "name", "")  # of an enum
    text = re.sub(r"\s+by\s+\S+$", "", str(cell).strip()).rpartition(".")[2]
    return f"{normalise(text)}{'+' * text.endswith('+')}"


def _is_unfinished(word: str) -> bool:
    if not word.endswith("+"):
        return word in _UNFINISHED
    cut = word[:-1]  # also a state with a second one, as in "COMPLETED+"
    return cut in _UNFINISHED or (
        len(cut) >= _SHORTEST_CUT and any(each.startswith(cut) for each in _UNFINISHED)
    )
