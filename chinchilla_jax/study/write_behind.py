"""Chunks are written by threads of their own, while the thread that receives them goes on receiving.

Syncing a file takes milliseconds, for which the thread that hands out jobs should not wait. Each chunk
appears whole or not at all, as ever: see `ChunkStore.write`.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, TypeVar

from chinchilla_jax.study.execution.stage_clocks import StageClocks

if TYPE_CHECKING:
    from chinchilla_jax.study.chunks import Chunk

T = TypeVar("T")

_THREADS = 4  # enough for any number of cores: most of the time the disk is at work
_MOST_WAITING = 16  # chunks in memory that a slow disk may leave behind

Written = tuple[str, StageClocks]


@contextlib.contextmanager
def writing_behind(
    store: Callable[[Chunk, T], str], workers: int, written: Callable[[Chunk, T, str, StageClocks], None]
) -> Iterator[Callable[[Chunk, T], None]]:
    """A function that has a chunk written; all are when the block ends.

    After an error in the block, what it was given before is written too; after an interrupt, only what was
    being written.

    Args:
        store: writes one, and returns the name of its file.
        workers: of the study, of which no more threads write than there are.
        written: called in the thread of the block, in the order of the chunks, with the name of the file and
            what it took to write it.

    Raises:
        OSError: a chunk cannot be written.
    """
    waiting: deque[tuple[Chunk, T, Future[Written]]] = deque()
    pool = ThreadPoolExecutor(min(workers, _THREADS), thread_name_prefix="write")

    def tell(at_most: int) -> None:
        while waiting and (len(waiting) > at_most or waiting[0][2].done()):
            chunk, result, future = waiting.popleft()
            written(chunk, result, *future.result())

    def put(chunk: Chunk, result: T) -> None:
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


def _write(store: Callable[[Chunk, T], str], chunk: Chunk, result: T) -> Written:
    clocks = StageClocks()
    name = store(chunk, result)
    clocks.end("write")
    return name, clocks
