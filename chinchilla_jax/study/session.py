"""One process working on one study directory: finds what is missing, computes it, declares it complete."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from chinchilla_jax._util import reproducible
from chinchilla_jax._util.directories import LocalDirectory, one_line_disk_errors, open_directory
from chinchilla_jax._util.errors import ChinchillaError, UsageError, short
from chinchilla_jax._util.part_files import DamagedPartError, checksum
from chinchilla_jax._util.progress_bar import Progress
from chinchilla_jax._util.remote import hurried
from chinchilla_jax._util.system import peak_memory
from chinchilla_jax.laws import OwnLaw
from chinchilla_jax.study.chunks import Chunk, plan_chunks
from chinchilla_jax.study.derived import FIGURES
from chinchilla_jax.study.environment import device, versions
from chinchilla_jax.study.execution.executors import ExecutorChoice, run_jobs
from chinchilla_jax.study.execution.jobs import Job
from chinchilla_jax.study.execution.planning import plan_jobs
from chinchilla_jax.study.execution.stage_clocks import StageClocks
from chinchilla_jax.study.finished import FinishedChunk, finish_job
from chinchilla_jax.study.spec.conditions import plan_conditions
from chinchilla_jax.study.spec.data import (
    goodness_sentence,
    load_study_data,
    resampling_sentence,
    unlike_rows_sentence,
)
from chinchilla_jax.study.spec.study_spec import StudySpec
from chinchilla_jax.study.storage.chunk_files import ChunkStore
from chinchilla_jax.study.storage.heartbeat import heartbeat
from chinchilla_jax.study.storage.ownership import claim
from chinchilla_jax.study.storage.record import changed_tables, read_record, record_ranges, write_record
from chinchilla_jax.study.storage.runs_file import runs_bytes
from chinchilla_jax.study.storage.tables import RUNS, require_parameters
from chinchilla_jax.study.summarise import Summariser
from chinchilla_jax.study.write_behind import writing_behind

if TYPE_CHECKING:
    import pyarrow as pa

_ROUNDS = 3  # of computing and summarising, in case chunks are damaged in between
_LOOK_SECONDS = 5.0  # between looks at what other writers have done
_LAST_WORDS_SECONDS = 0.8  # for a server to record how a session ended: after Ctrl-C a user waits


@dataclasses.dataclass
class _Work:
    """What the record says about the chunks that this session computed.

    Attributes:
        device: that computed the last of them; None before the first.
        seconds: wall time of threads by stage.
        cpu_seconds: CPU time of threads by stage.
        remarks: condition and note of whatever the user should know.
    """

    device: dict[str, Any] | None = None
    seconds: Counter[str] = dataclasses.field(default_factory=Counter)
    cpu_seconds: Counter[str] = dataclasses.field(default_factory=Counter)
    remarks: list[dict[str, str]] = dataclasses.field(default_factory=list)


class Session:
    """One process working on one study directory, which it claims.

    Args:
        spec: the study.
        out: the directory.
        reporter: shows progress and notes.

    Attributes:
        written: the small tables by kind that it has summarised; empty before.

    Raises:
        UsageError: the directory holds something else.
        DataError: the data cannot be read or used.
    """

    def __init__(self, spec: StudySpec, out: str | os.PathLike[str], reporter: Progress) -> None:
        """Read the data, claim the directory, plan the chunks."""
        if not isinstance(spec, StudySpec):
            raise UsageError(
                f"run_study: {short(spec)} is not a StudySpec; see paper_study() and StudySpec.from_toml"
            )
        if spec.reproducible:
            reproducible.require("a reproducible study")
        require_parameters(spec.model)
        self.started = time.perf_counter()
        self.spec, self.reporter = spec, reporter
        self._meanwhile: list[Callable[[], object]] = []
        self.written: Mapping[str, pa.Table] = {}
        self.directory = open_directory(out)
        self.data = {name: load_study_data(spec, name) for name in spec.interpretations}
        hashes = {name: data.hash for name, data in self.data.items()}
        with one_line_disk_errors(self.directory):
            self.directory.clean_up(("fits", "summary", FIGURES))
            self.record = claim(self.directory, spec, hashes, len(self.data[spec.interpretations[0]].runs))
        chunks = plan_chunks(spec, hashes, record_ranges(self.record), self.record["numerics"])
        self.store = ChunkStore(self.directory, chunks, spec.model.parameters)

    def missing(self) -> list[Chunk]:
        """Chunks that are missing or damaged; damaged ones are reported and removed."""
        names = self.store.names()
        found = list(names.items())
        wholes = self.directory.each(self.store.is_whole, [name for _, name in found])
        for (chunk, name), whole in zip(found, wholes, strict=True):
            if not whole:
                self.reporter.note(f"{self.directory.at(name)}: damaged, will be recomputed")
                self.directory.remove(name)
                del names[chunk]
        return [chunk for chunk in self.store.chunks if chunk not in names]

    def is_complete(self) -> bool:
        """Whether the record says so, the tables are of the chunks that are there, and each is as written."""
        if self.record["state"] != "complete":
            return False
        wrong = changed_tables(self.directory, self.record)
        for name in wrong:
            self.reporter.note(f"{self.directory.at(name)}: missing or damaged, will be rewritten")
        return not wrong and {part["file"] for part in self.record["parts"]} == set(
            self.store.names().values()
        )

    def run(
        self,
        missing: Sequence[Chunk],
        choice: ExecutorChoice,
        *,
        finish: bool,
        meanwhile: Callable[[], object] | None = None,
    ) -> None:
        """Compute what is `missing` and, if `finish`, summarise the whole study.

        `meanwhile` is as for `compute_study`.

        Raises:
            UsageError: the law is a function that only the record of the study names.
        """
        if isinstance(self.spec.law, OwnLaw):
            self.spec.law.require_function()
        self._meanwhile = [lambda: self._of_runs] if finish else []
        self._meanwhile += [meanwhile] if meanwhile else []
        try:
            with one_line_disk_errors(self.directory), heartbeat(self.directory):
                for _ in range(_ROUNDS):
                    summariser = Summariser(self.spec, self.store, choice.n_workers) if finish else None
                    try:
                        if self._round(missing, summariser, choice):
                            return
                    finally:
                        if summariser is not None:
                            summariser.close()
                    missing = self.missing()
                raise ChinchillaError(
                    f"{self.directory}: chunks keep getting damaged; check the disk, or give another "
                    "directory"
                )
        except BaseException as error:
            if finish:
                with hurried(_LAST_WORDS_SECONDS):
                    self._record_end(error)
            raise

    def _round(
        self,
        missing: Sequence[Chunk],
        summariser: Summariser | None,
        choice: ExecutorChoice,
    ) -> bool:
        """Compute and summarise once; returns False if chunks are missing or damaged afterwards."""
        begun = time.perf_counter()
        names = self.store.names()
        if summariser is not None:
            summariser.start(names)
        work = _Work()
        if missing:
            with choice.open() as (pool, in_flight, place):
                jobs = plan_jobs(self.spec, missing, self.data, place)
                self._compute(jobs, names, pool, in_flight, choice.n_workers, summariser, work)
        if summariser is None:
            return True
        computed = time.perf_counter()
        names = self.store.names()
        if len(names) < len(self.store.chunks):
            return False
        summariser.start(names)
        try:
            fields = summariser.write()
            self._write_runs(fields)
            self.written = summariser.written
        except DamagedPartError:
            return False
        fields["notes"] += [*self._of_runs["notes"], *work.remarks]
        self._finish(
            names,
            fields
            | {
                "device": work.device or self.record.get("device") or device(),
                "workers": choice.n_workers,
                **{name: self._of_runs[name] for name in ("read", "resampling", "goodness")},
                "timing": {
                    "conditions": computed - begun,
                    "tables": time.perf_counter() - computed,
                    # Where threads outnumber cores, their wall time is mostly waiting.
                    "thread_seconds": dict(work.seconds),
                    "cpu_seconds": dict(work.cpu_seconds) | {"summaries": summariser.cpu_seconds()},
                },
            },
        )
        return True

    def _write_runs(self, fields: dict[str, Any]) -> None:
        """Write the unperturbed runs, and record them among the tables."""
        data = self.data[self.spec.interpretations[0]]
        content = runs_bytes(data.runs, data.weights)
        self.directory.write(RUNS, content)
        fields["tables"][RUNS] = len(content)
        fields["checksums"][RUNS] = checksum(content)

    @functools.cached_property
    def _of_runs(self) -> dict[str, Any]:
        """What the record says of the unperturbed runs, which asks for fits: "notes" of a condition each."""
        unperturbed = plan_conditions(self.spec)[: len(self.spec.interpretations)]
        said = {each.id: unlike_rows_sentence(self.spec, self.data[each.params]) for each in unperturbed}
        first = self.data[self.spec.interpretations[0]]
        return {
            "read": list(first.runs.read_lines),
            "resampling": resampling_sentence(self.spec, first),
            "goodness": goodness_sentence(self.spec, first),
            "notes": [{"condition": name, "note": note} for name, note in said.items() if note],
        }

    def _compute(
        self,
        planned: Sequence[Job],
        names: dict[Chunk, str],
        pool: Executor,
        in_flight: int,
        workers: int,
        summariser: Summariser | None,
        work: _Work,
    ) -> None:
        """Compute the chunks of these jobs and write each as it arrives."""
        self.reporter.read(len(self.data[self.spec.interpretations[0]].runs))
        self.reporter.begin("study", sum(len(chunk.resamples) for job in planned for chunk in job.chunks))

        def jobs() -> Iterator[Job]:
            looked = time.monotonic()
            for job in planned:
                if time.monotonic() - looked > _LOOK_SECONDS:
                    looked = time.monotonic()
                    names.update(self.store.names())
                left = tuple(chunk for chunk in job.chunks if chunk not in names)
                # Another writer was faster.
                self.reporter.advance(sum(len(each.resamples) for each in job.chunks if each in names))
                if left:
                    yield dataclasses.replace(job, chunks=left)

        def written(chunk: Chunk, result: FinishedChunk, name: str, clocks: StageClocks) -> None:
            names[chunk] = name
            work.device = dict(result.device)
            for seconds in (result, clocks):
                work.seconds.update(seconds.seconds)
                work.cpu_seconds.update(seconds.cpu_seconds)
            for remark in result.remarks:
                work.remarks.append({"condition": chunk.condition.id, "note": remark})
                self.reporter.note(f"{chunk.condition.id}: {remark}")
            self.reporter.advance(len(chunk.resamples))
            if summariser is not None:
                summariser.start_written(names, chunk, result.summary)

        def write_one(chunk: Chunk, result: FinishedChunk) -> str:
            return self.store.write(chunk, result.content)

        # What went to a server is read back: it may have arrived as something else.
        local = isinstance(self.directory, LocalDirectory)
        function = functools.partial(finish_job, summarised=local and summariser is not None)
        with writing_behind(write_one, workers, written) as write:

            def receive(job: Job, results: tuple[FinishedChunk, ...]) -> None:
                if self._meanwhile:
                    task, name = functools.partial(_quietly, tuple(self._meanwhile)), "meanwhile"
                    threading.Thread(target=task, name=name, daemon=True).start()
                    self._meanwhile.clear()
                for chunk, result in zip(job.chunks, results, strict=True):
                    write(chunk, result)

            run_jobs(pool, jobs(), in_flight=in_flight, receive=receive, function=function)

    def _finish(self, names: Mapping[Chunk, str], fields: dict[str, Any]) -> None:
        """Declare the study complete, unless another process has extended it in the meantime."""
        record = read_record(self.directory)
        if len(record_ranges(record)) < len(record_ranges(self.record)):
            # A process with fewer resamples was about to finish when this one claimed the study.
            record = self.record
        if record_ranges(record) != record_ranges(self.record):
            raise UsageError(
                f"{self.directory}: another process has extended this study; all chunks are kept, "
                "and that process summarises them"
            )
        sizes = {name: info.size for name, info in self.store.files().values()}
        for name in self.store.superfluous(sizes):
            self.directory.remove(name)
        parts = [
            {
                "file": names[chunk],
                "condition": chunk.condition.id,
                "first": chunk.resamples.first,
                "stop": chunk.resamples.stop,
                "bytes": sizes[names[chunk]],
                "checksum": self.store.named_checksum(names[chunk]),
            }
            for chunk in self.store.chunks
        ]
        write_record(
            self.directory,
            record
            | fields
            | {
                "versions": versions(),
                "peak_memory": peak_memory(),
                "wall_time": (record.get("wall_time") or 0.0) + time.perf_counter() - self.started,
                "error": None,
                "state": "complete",
                "parts": parts,
            },
        )

    def _record_end(self, error: BaseException) -> None:
        """Write into study.json how the session ended, if that is still possible."""
        stopped = isinstance(error, KeyboardInterrupt)
        try:
            record = read_record(self.directory)
            if record["state"] == "complete":
                return
            record |= {
                "state": "interrupted" if stopped else "failed",
                "error": None if stopped else _one_line(error),
                "wall_time": (record.get("wall_time") or 0.0) + time.perf_counter() - self.started,
            }
            write_record(self.directory, record)
        except (OSError, ChinchillaError):
            pass  # the disk may be what failed; nothing depends on this


def _quietly(calls: Sequence[Callable[[], object]]) -> None:
    """Call each; whoever needs its effects meets its errors again."""
    for call in calls:
        with contextlib.suppress(Exception):
            call()


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())[:300]
    return text if isinstance(error, ChinchillaError) else f"{type(error).__name__}: {text}".rstrip(": ")
