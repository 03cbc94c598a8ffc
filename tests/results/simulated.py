"""A file server in memory whose clients can be stopped, killed and kept from seeing what is new."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pyarrow as pa

from distiller.results import compaction, reading
from distiller.results.schema import trial_id

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
OPERATION_SECONDS = 0.01


class Killed(BaseException):
    """SIGKILL, as far as a process in a simulation can have it: no `except Exception` sees it."""


class Server:
    """Every version that every path ever had, with its time; `None` is a path that is gone."""

    def __init__(self):
        self.clock = 0.0
        self.versions: dict[str, list[tuple[float, bytes | None]]] = {}
        self.lock = threading.RLock()

    def copy(self) -> Server:
        """Another server in the same state."""
        other = Server()
        other.clock, other.versions = self.clock, {path: list(v) for path, v in self.versions.items()}
        return other

    def at(self, path: str, time: float) -> bytes | None:
        found = [data for when, data in self.versions.get(path, ()) if when <= time]
        return found[-1] if found else None

    def set(self, path: str, data: bytes | None) -> None:
        self.versions.setdefault(path, []).append((self.clock, data))

    def paths(self) -> list[str]:
        return [path for path in self.versions if self.at(path, self.clock) is not None]

    def install(self, monkeypatch) -> None:
        """Let compactions and readers take the server's clock for the world's."""

        def sleep(seconds: float) -> None:
            with self.lock:
                self.clock += seconds

        monkeypatch.setattr(compaction, "now", lambda: EPOCH + timedelta(seconds=self.clock))
        monkeypatch.setattr(compaction, "time", SimpleNamespace(sleep=sleep))
        monkeypatch.setattr(reading, "time", SimpleNamespace(sleep=sleep))


class SimulatedFiles:
    """One client. Creation and replacement are decided by the server; what the client *sees* of a folder may
    be `lag()` seconds old, though never older than what it saw there before, and its own writes are seen.

    `before` and `after` are told each operation and its path, and may raise.
    """

    url, exclusive = "simulated", True

    def __init__(
        self,
        server: Server,
        lag: Callable[[], float] = lambda: 0.0,
        before: Callable[[str, str], None] = lambda *_: None,
        after: Callable[[str, str], None] = lambda *_: None,
    ):
        self.server, self.lag, self.before, self.after = server, lag, before, after
        self.seen: dict[str, float] = {}
        self.own: dict[str, float] = {}

    def _do(self, operation: str, path: str, work):
        self.before(operation, path)
        try:
            with self.server.lock:
                self.server.clock += OPERATION_SECONDS
                return work()
        finally:
            self.after(operation, path)

    def _view(self, folder: str, path: str | None = None) -> float:
        view = max(self.seen.get(folder, 0.0), self.server.clock - self.lag())
        self.seen[folder] = view
        return max(view, self.own.get(path, 0.0)) if path else view

    def _see(self, path: str) -> bytes | None:
        return self.server.at(path, self._view(path.rpartition("/")[0], path))

    def _list(self, path: str) -> set[tuple[str, bool]]:
        view, depth = self._view(path), path.count("/") + 1
        below = [
            p for p in list(self.server.versions)
            if p.startswith(path + "/") and self.server.at(p, max(view, self.own.get(p, 0.0))) is not None
        ]  # fmt: skip
        return {(p.split("/")[depth], p.count("/") > depth) for p in below}

    def folders(self, path: str) -> list[str]:
        return self._do("folders", path, lambda: sorted(n for n, deep in self._list(path) if deep))

    def names(self, path: str) -> list[str]:
        listed = self._do("names", path, lambda: self._list(path))
        return sorted(name for name, deep in listed if not deep and name[0] != ".")

    def read(self, path: str) -> bytes | None:
        return self._do("read", path, lambda: self._see(path))

    def read_many(self, paths: Sequence[str]) -> list[bytes | Exception]:
        found = [self.read(path) for path in paths]
        return [FileNotFoundError(p) if data is None else data for p, data in zip(paths, found, strict=True)]

    def open(self, path: str):
        data = self._do("open", path, lambda: self._see(path))
        if data is None:
            raise FileNotFoundError(path)
        return pa.BufferReader(data)

    def put(self, path: str, data: bytes) -> None:
        self._do("put", path, lambda: self._write(path, data))

    def _write(self, path: str, data: bytes | None) -> None:
        self.server.set(path, data)
        self.own[path] = self.server.clock

    def put_new(self, path: str, data: bytes) -> bool:
        def create() -> bool:
            held = self.server.at(path, self.server.clock)
            if held is None:
                self._write(path, data)
            return held in (None, data)

        return self._do("put_new", path, create)

    def remove(self, path: str) -> None:
        def unlink() -> None:
            if self.server.at(path, self.server.clock) is None:
                raise FileNotFoundError(path)
            self._write(path, None)

        self._do("remove", path, unlink)

    def remove_folder(self, path: str) -> None:
        for below in self.server.paths():
            if below.startswith(path + "/"):
                self.remove(below)


class Turns:
    """Lets the clients of several threads operate one at a time, in the order given; then as they come."""

    def __init__(self, order: Sequence[int]):
        self.order, self.place, self.over = list(order), 0, set()
        self.changed = threading.Condition()

    def _skip(self) -> None:
        while self.place < len(self.order) and self.order[self.place] in self.over:
            self.place += 1

    def before(self, who: int) -> Callable[[str, str], None]:
        def wait(*_: str) -> None:
            with self.changed:
                assert self.changed.wait_for(
                    lambda: self.place >= len(self.order) or self.order[self.place] == who, timeout=30
                )

        return wait

    def after(self, who: int) -> Callable[[str, str], None]:
        def pass_on(*_: str) -> None:
            with self.changed:
                if self.place < len(self.order) and self.order[self.place] == who:
                    self.place += 1
                self._skip()
                self.changed.notify_all()

        return pass_on

    def run(self, works: Sequence[Callable[[], object]]) -> list[object]:
        """Each in a thread of its own, number 0 first; their answers, or what they raised."""
        answers: list[object] = [None] * len(works)

        def work(who: int) -> None:
            try:
                answers[who] = works[who]()
            except BaseException as error:
                answers[who] = error
            with self.changed:
                self.over.add(who)
                self._skip()
                self.changed.notify_all()

        threads = [threading.Thread(target=work, args=(who,)) for who in range(len(works))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return answers


CHANGES = ("put", "put_new", "remove")
"""Operations that change anything: what a kill leaves is the state before one of them, or the end."""


def killed_at(number: int) -> dict[str, Callable[[str, str], None]]:
    """Hooks that kill the client before its change of this number."""
    count = itertools.count()

    def hook(operation: str, _: str) -> None:
        if operation in CHANGES and next(count) == number:
            raise Killed

    return {"before": hook}


def row(config_id: str = "abc123", attempt: int = 1, sweep: str = "s", **more):
    """A row's identity, and more columns."""
    identity = {"sweep": sweep, "dataset": "trec", "config_id": config_id, "seed": 0, "role": "search"}
    return {**identity, "trial_id": trial_id("trec", config_id, 0, "search"), "attempt": attempt, **more}


def trial(config_id: str = "abc123", attempt: int = 1, **more):
    """A terminal row."""
    return row(config_id, attempt, **{"status": "completed", "ended_at": EPOCH, **more})
