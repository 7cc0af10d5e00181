"""Where the time of a thread goes, stage by stage: wall time and CPU time."""

from __future__ import annotations

import time


class StageClocks:
    """Two clocks of the current thread, which must also end the stages.

    Where threads outnumber cores, wall time is mostly waiting; the CPU time says what a stage costs.

    Attributes:
        seconds: wall time by stage.
        cpu_seconds: CPU time of this thread by stage.
    """

    def __init__(self) -> None:
        """The first stage begins now."""
        self.seconds: dict[str, float] = {}
        self.cpu_seconds: dict[str, float] = {}
        self._wall, self._cpu = time.perf_counter(), time.thread_time()

    def end(self, stage: str) -> None:
        """End `stage`, and begin the next."""
        wall, cpu = time.perf_counter(), time.thread_time()
        self.seconds[stage] = wall - self._wall
        self.cpu_seconds[stage] = cpu - self._cpu
        self._wall, self._cpu = wall, cpu
