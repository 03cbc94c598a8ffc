"""A limit on a trial's wall time that also ends what hangs."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import traceback
from collections.abc import Callable
from datetime import datetime
from types import TracebackType

from distiller.search.rows import now

GRACE_SECONDS = 60.0
"""Past the limit, until a process whose threads cannot run any more is ended from outside of Python."""

TooSlow = Callable[[float, str], None]


class TimeLimit:
    """While the block runs past `minutes` since `started_at`, record it and end this process.

    Nothing in Python can interrupt a thread that is stuck in a kernel or a system call. Ray sees a worker
    that died, starts another, and that one finds the trial ended. `too_slow` is told the limit and where the
    thread stood; it is called in another thread, and is to write the trial's row. Where it cannot run,
    because native code holds the interpreter, the process ends `GRACE_SECONDS` later, without a row, and the
    trial counts as one whose worker died.
    """

    def __init__(self, minutes: float | None, started_at: datetime, too_slow: TooSlow):
        self.minutes, self.too_slow = minutes, too_slow
        self.timer: threading.Timer | None = None
        self.deadline = 0.0 if minutes is None else 60 * minutes - (now() - started_at).total_seconds()

    def __enter__(self) -> None:
        if self.minutes is None:
            return
        seconds = max(self.deadline, 0.001)
        self.timer = threading.Timer(seconds, self._end, (self.minutes, threading.get_ident()))
        self.timer.daemon = True
        self.timer.start()
        faulthandler.dump_traceback_later(seconds + GRACE_SECONDS, exit=True, file=2)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.timer is not None:
            self.timer.cancel()
            faulthandler.cancel_dump_traceback_later()

    def _end(self, minutes: float, thread: int) -> None:
        try:
            stack = traceback.format_stack(sys._current_frames()[thread])
            self.too_slow(minutes, "".join(["Stack when the time was up:\n", *stack]))
        finally:
            os._exit(1)
