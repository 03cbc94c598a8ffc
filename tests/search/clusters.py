"""Real Ray clusters on this machine: `ray start` processes, each in a session of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
START_SECONDS = 180.0


@dataclass
class Nodes:
    """Ray nodes on this machine; the first is the head. `carriers` of them carry trials."""

    address: str
    processes: list[subprocess.Popen[bytes]]
    carriers: int

    @property
    def sessions(self) -> set[int]:
        """Sessions that its workers belong to."""
        return {process.pid for process in self.processes}

    def of(self, pid: int) -> subprocess.Popen[bytes]:
        """The node that a worker belongs to."""
        (node,) = [process for process in self.processes if os.getsid(pid) == process.pid]
        return node


def environment() -> dict[str, str]:
    """That of this process, for Ray and those who join it; imports find this repository."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    # No token: those who join would read it where Ray keeps the user's own.
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "RAY_AUTH_MODE": "disabled"}


@contextmanager
def ray_cluster(nodes: int, head_cpus: int = 0, settings: Mapping[str, str] | None = None) -> Iterator[Nodes]:
    """A cluster of several nodes, one cpu each.

    The head carries no trial unless given cpus: a cluster does not survive its head. `settings` are
    variables of Ray's own.
    """
    port = _free_port()
    address, scratch = f"127.0.0.1:{port}", Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    common = ["--block", "--disable-usage-stats"]
    head = ["--head", f"--port={port}", f"--num-cpus={head_cpus}"]
    lean = ["--include-dashboard=false", "--no-monitor", f"--temp-dir={scratch}"]
    commands = [
        [*head, *lean, *common],
        *([f"--address={address}", "--num-cpus=1", *common] for _ in range(nodes - 1)),
    ]
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            with (scratch / f"node-{len(processes)}.log").open("w") as log:
                processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "ray.scripts.scripts", "start", *command],
                        env={**environment(), **(settings or {})},
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                )
            # One after another: nodes of one machine choose their ports by what is free.
            _wait_for(port, processes[-1], Path(log.name))
        yield Nodes(address, processes, nodes - (head_cpus == 0))
    finally:
        for process in processes:
            for pid in {process.pid, *session(process.pid)}:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            process.wait()
        shutil.rmtree(scratch, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until the head answers and the node has its raylet and said that it runs."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
            continue
        if "Ray runtime started" in log.read_text():
            return
        time.sleep(0.1)
    raise AssertionError(log.read_text())


def session(pid: int) -> list[int]:
    """The processes of the session that a process leads."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(folder.name)) == pid:
                found.append(int(folder.name))
        except ProcessLookupError:
            continue
    return found


def named(pid: int, name: str) -> int:
    """The one process of a session that has this name."""
    (found,) = [each for each in session(pid) if Path(f"/proc/{each}/comm").read_text().strip() == name]
    return found
