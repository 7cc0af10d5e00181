"""One process at work on one study directory: what is missing, computing it, and declaring it complete."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

from chinchilla_jax._util.errors import ChinchillaError, UsageError, short
from chinchilla_jax._util.progress_bar import Progress
from chinchilla_jax.study.at_work import at_work
from chinchilla_jax.study.claim import claim, record_blocks, write_record
from chinchilla_jax.study.environment import device, peak_memory, versions
from chinchilla_jax.study.executors import complete, open_executor
from chinchilla_jax.study.files import Directory, open_directory
from chinchilla_jax.study.finish import Finisher
from chinchilla_jax.study.pieces import DamagedPieceError, PieceStore, checksum, named_checksum
from chinchilla_jax.study.plan import Piece, plan_pieces
from chinchilla_jax.study.spec import StudySpec
from chinchilla_jax.study.stage_clocks import StageClocks
from chinchilla_jax.study.store import load_spec_runs, read_record
from chinchilla_jax.study.work import Job, PieceResult

_ROUNDS = 3  # of computing and summarising, where pieces go bad in between
_LOOK_AGAIN = 5.0  # seconds between looks at what other writers have done


class Session:
    """One process at work on one study directory, which it claims.

    Args:
        spec: the study.
        out: where.
        reporter: told what is found and done.

    Raises:
        UsageError: the directory holds something else.
        DataError: the data cannot be read or used.
    """

    def __init__(self, spec: StudySpec, out: str | os.PathLike[str], reporter: Progress) -> None:
        """Read the data, claim the directory, plan."""
        if not isinstance(spec, StudySpec):
            raise UsageError(
                f"run_study: {short(spec)} is no StudySpec; see paper_study() and StudySpec.from_toml"
            )
        self.started = time.perf_counter()
        self.spec, self.reporter = spec, reporter
        self.device: dict[str, Any] | None = None
        self.directory = open_directory(out)
        self.runs = {name: load_spec_runs(spec, name) for name in spec.interpretations}
        self.hashes = {name: runs.data_hash for name, runs in self.runs.items()}
        with self.explaining():
            self.directory.tidy()
            self.record = claim(self.directory, spec, self.hashes, len(self.runs[spec.interpretations[0]]))
        self.store = PieceStore(self.directory, plan_pieces(spec, self.hashes, record_blocks(self.record)))

    def explaining(self) -> Explaining:
        """Errors of the file system as one line that says what to do."""
        return Explaining(self.directory)

    def missing(self) -> list[Piece]:
        """Pieces that are not there, or damaged; the latter are named and removed."""
        names = self.store.names()
        for piece, name in list(names.items()):
            try:
                self.store.check(name)
            except DamagedPieceError:
                self.reporter.note(f"{self.directory.at(name)}: damaged, will be computed anew")
                self.directory.remove(name)
                del names[piece]
        return [piece for piece in self.store.pieces if piece not in names]

    def is_complete(self) -> bool:
        """Whether the record says so, and every table is what was written."""
        if self.record["state"] != "complete":
            return False
        for name, expected in self.record["checksums"].items():
            try:
                if checksum(self.directory.read(name)) == expected:
                    continue
            except FileNotFoundError:
                pass
            self.reporter.note(f"{self.directory.at(name)}: missing or damaged, will be written anew")
            return False
        return True

    def run(
        self,
        missing: Sequence[Piece],
        *,
        executor: Executor | str | None,
        scheduler: str | None,
        workers: int,
        finish: bool,
    ) -> None:
        """Compute what is `missing` and, if asked to, summarise the whole study."""
        try:
            with self.explaining(), at_work(self.directory):
                for _ in range(_ROUNDS):
                    finisher = Finisher(self.spec, self.store, workers) if finish else None
                    try:
                        if self._round(missing, finisher, executor, scheduler, workers):
                            return
                    finally:
                        if finisher is not None:
                            finisher.close()
                    missing = self.missing()
                raise ChinchillaError(
                    f"{self.directory}: pieces are damaged again and again; look at the disk, or give "
                    "another directory"
                )
        except BaseException as error:
            if finish:
                self._leave(error)
            raise

    def _round(
        self,
        missing: Sequence[Piece],
        finisher: Finisher | None,
        executor: Executor | str | None,
        scheduler: str | None,
        workers: int,
    ) -> bool:
        """Compute and summarise once; returns whether all went well."""
        begun = time.perf_counter()
        names = self.store.names()
        if finisher is not None:
            finisher.start(names)
        seconds: Counter[str] = Counter()
        cpu_seconds: Counter[str] = Counter()
        remarks: list[dict[str, str]] = []
        if missing:
            with open_executor(executor, scheduler=scheduler, workers=workers) as (pool, in_flight):
                self._compute(missing, names, pool, in_flight, finisher, (seconds, cpu_seconds), remarks)
        if finisher is None:
            return True
        computed = time.perf_counter()
        names = self.store.names()
        if len(names) < len(self.store.pieces):
            return False
        finisher.start(names)
        try:
            fields = finisher.write()
        except DamagedPieceError:
            return False
        fields["notes"] += remarks
        self._finish(
            names,
            fields
            | {
                "device": self.device or self.record.get("device") or device(),
                "workers": workers,
                "timing": {
                    "conditions": computed - begun,
                    "tables": time.perf_counter() - computed,
                    # What passes in a thread is mostly waiting, where threads outnumber cores.
                    "thread_seconds": dict(seconds),
                    "cpu_seconds": dict(cpu_seconds) | {"summaries": finisher.cpu_seconds()},
                },
            },
        )
        return True

    def _compute(
        self,
        missing: Sequence[Piece],
        names: dict[Piece, str],
        pool: Executor,
        in_flight: int,
        finisher: Finisher | None,
        totals: tuple[Counter[str], Counter[str]],
        remarks: list[dict[str, str]],
    ) -> None:
        """Have the missing pieces computed and write each as it comes."""
        self.reporter.begin("study", sum(len(piece.block) for piece in missing))

        def jobs() -> Iterator[Job]:
            looked = time.monotonic()
            for piece in missing:
                if time.monotonic() - looked > _LOOK_AGAIN:
                    looked = time.monotonic()
                    names.update(self.store.names())
                if piece in names:  # another writer was faster
                    self.reporter.advance(len(piece.block))
                else:
                    yield Job(self.spec, piece, self.runs[piece.condition.params])

        def receive(job: Job, result: PieceResult) -> None:
            clocks = StageClocks()
            names[job.piece] = self.store.put(job.piece, result)
            clocks.end("write")
            self.device = dict(result.device)
            totals[0].update({**result.seconds, **clocks.seconds})
            totals[1].update({**result.cpu_seconds, **clocks.cpu_seconds})
            for remark in result.remarks:
                remarks.append({"condition": job.piece.condition.id, "note": remark})
                self.reporter.note(f"{job.piece.condition.id}: {remark}")
            self.reporter.advance(len(job.piece.block))
            if finisher is not None:
                finisher.start(names, job.piece.index)

        complete(pool, jobs(), in_flight=in_flight, receive=receive)

    def _finish(self, names: Mapping[Piece, str], fields: dict[str, Any]) -> None:
        """Declare the study complete, unless somebody has given it more resamples meanwhile."""
        record = read_record(self.directory)
        if len(record_blocks(record)) < len(record_blocks(self.record)):
            # Another process, with fewer resamples, was about to end when this one claimed the study.
            record = self.record
        if record_blocks(record) != record_blocks(self.record):
            raise UsageError(
                f"{self.directory}: another process has made this study larger meanwhile; all pieces are "
                "kept, and that process summarises them"
            )
        for name in self.store.others():
            self.directory.remove(name)
        entries = {name: entry for name, entry in self.store.entries().values()}
        parts = [
            {
                "file": names[piece],
                "condition": piece.condition.id,
                "first": piece.block.first,
                "stop": piece.block.stop,
                "bytes": entries[names[piece]].size,
                "checksum": named_checksum(names[piece]),
            }
            for piece in self.store.pieces
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

    def _leave(self, error: BaseException) -> None:
        """Write down how the session ended, if that is still possible."""
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
            pass  # the disk may be what has failed; nothing depends on this


class Explaining:
    """A context in which an error of the file system becomes one line that says what to do."""

    def __init__(self, directory: Directory) -> None:
        """Remember where."""
        self._directory = directory

    def __enter__(self) -> None:
        """Nothing to set up."""

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Replace an OSError."""
        if isinstance(error, OSError) and not isinstance(error, ChinchillaError | ConnectionError):
            reason = error.strerror or " ".join(str(error).split())[:160]
            raise ChinchillaError(
                f"{self._directory}: cannot be written ({reason}); what is written stays: put that right and "
                "run the same command again to go on"
            ) from error


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())[:300]
    return text if isinstance(error, ChinchillaError) else f"{type(error).__name__}: {text}".rstrip(": ")
