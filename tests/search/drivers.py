"""Processes of tests, each forked from one that has imported what they need: an import takes seconds."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["distiller.search.launch", "tests.search.quick", "tests.search.lone_worker"])


class Driver:
    """A launch of quick trials, in a session of its own; `said` is what it printed."""

    def __init__(
        self,
        sweep: Path,
        store: str,
        address: str | None = None,
        nodes: int = 1,
        environment: Mapping[str, str] | None = None,
    ):
        self.out = sweep.with_name(f"launch-{time.monotonic_ns()}.log")
        arguments, self.started_at = (str(sweep), store, address, nodes), datetime.now(UTC)
        told = (arguments, str(self.out), dict(environment or {}))
        self.process = FORKS.Process(target=_launched, args=told, daemon=True)
        self.process.start()
        assert self.process.pid is not None
        self.pid = self.process.pid

    @property
    def said(self) -> str:
        return self.out.read_text() if self.out.exists() else ""

    @property
    def returncode(self) -> int | None:
        """None while it runs; negative where a signal ended it."""
        return self.process.exitcode

    def wait(self, seconds: float = 600) -> int:
        """Its exit status; fails where it does not end."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.kill()
            raise AssertionError(f"not done after {seconds:g} s: {self.said}")
        return self.process.exitcode

    def succeed(self) -> None:
        """Wait for it; fails where it does."""
        assert self.wait() == 0, self.said

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        os.kill(self.pid, signal.SIGKILL)
        self.process.join()

    def wait_until(self, ready: Callable[[], Any], seconds: float = 240) -> Any:
        """What `ready()` says once it is true; fails where the launch ends before."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if found := ready():
                return found
            assert self.returncode is None, self.said
            time.sleep(0.02)
        raise AssertionError(f"waited in vain: {self.said}")


def _launched(arguments: tuple[str, str, str | None, int], out: str, environment: Mapping[str, str]) -> None:
    from tests.search.quick import launch

    os.setsid()
    os.chdir(Path(out).parent)
    os.environ.update(environment)
    with open(out, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    launch(*arguments)
