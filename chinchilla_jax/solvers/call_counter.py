"""How often engines are called."""

from __future__ import annotations

import threading


class CallCounter:
    """How often the engines of this process were called, and with how many lanes; any thread may count.

    Where fits are many and small, what a study takes is the number of calls.

    Attributes:
        calls: so far.
        lanes: of all of them together.
    """

    def __init__(self) -> None:
        """No call yet."""
        self.calls = self.lanes = 0
        self._lock = threading.Lock()

    def add(self, lanes: int) -> None:
        """Count a call."""
        with self._lock:
            self.calls += 1
            self.lanes += lanes


ENGINE_CALLS = CallCounter()
