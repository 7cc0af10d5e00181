"""Chunks are written by threads of their own, while the thread that receives them goes on receiving.

Syncing a file takes milliseconds, and encoding one waits for the GIL; the thread that hands out jobs should
do neither. Each chunk appears whole or not at all, as ever: see `ChunkStore.write`.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

from chinchilla_jax.study.execution.stage_clocks import StageClocks

if TYPE_CHECKING:
    from chinchilla_jax.study.chunks import Chunk
    from chinchilla_jax.study.execution.jobs import ChunkResult
    from chinchilla_jax.study.storage.chunk_files import ChunkStore

_THREADS = 4  # enough for any number of cores: most of the time the disk is at work
_MOST_WAITING = 16  # chunks in memory that a slow disk may leave behind

Written = tuple[str, StageClocks]


@contextlib.contextmanager
def writing_behind(
    store: ChunkStore, workers: int, written: Callable[[Chunk, ChunkResult, str, StageClocks], None]
) -> Iterator[Callable[[Chunk, ChunkResult], None]]:
    """A function that has a chunk written; all are when the block ends.

    After an error in the block, what it was given before is written too; after an interrupt, only what was
    being written.

    Args:
        store: where to.
        workers: of the study, of which no more threads write than there are.
        written: called in the thread of the block, in the order of the chunks, with the name of the file and
            what it took to write it.

    Raises:
        OSError: a chunk cannot be written.
    """
    waiting: deque[tuple[Chunk, ChunkResult, Future[Written]]] = deque()
    pool = ThreadPoolExecutor(min(workers, _THREADS), thread_name_prefix="write")

    def tell(at_most: int) -> None:
        while waiting and (len(waiting) > at_most or waiting[0][2].done()):
            chunk, result, future = waiting.popleft()
            written(chunk, result, *future.result())

    def put(chunk: Chunk, result: ChunkResult) -> None:
        waiting.append((chunk, result, pool.submit(_write, store, chunk, result)))
        tell(_MOST_WAITING)

    try:
        yield put
        tell(0)
    except Exception:
        wait([future for *_, future in waiting])
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _write(store: ChunkStore, chunk: Chunk, result: ChunkResult) -> Written:
    clocks = StageClocks()
    name = store.write(chunk, result)
    clocks.end("write")
    return name, clocks
