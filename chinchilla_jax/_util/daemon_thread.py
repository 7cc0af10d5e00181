"""Calls that may never return: each in a thread of its own, which ends with the process at the latest."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any


def in_daemon_thread(function: Callable[[], Any], name: str) -> Future[Any]:
    """Call a function in a thread of this name, which nobody waits for."""
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            result = function()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future
