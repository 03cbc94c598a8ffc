"""Feeding mirrors from the store: all that has ended, once, and while a sweep runs what ends next.

What a mirror holds is asked of the mirror itself, so that a relaunch, or `distiller mirror` after a launch
with `mirrors:`, adds what is missing and nothing twice. Two at once on the same place are not kept apart.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.text import Text

from distiller.results.ended import ended_trials
from distiller.results.frozen import is_over
from distiller.results.imported.kept import is_imported
from distiller.results.store import Store
from distiller.search.mirrors.mirror import Mirror, Target
from distiller.search.watching import LEAST_SECONDS, SHARE
from distiller.spaces.errors import InputError

LAST_SECONDS = 120.0
"""How long a launch waits at its end for mirrors that are behind, or hang."""
GRACE_SECONDS = 5.0
"""And for the write that is under way then."""


class Feed:
    """One mirror of a sweep, fed step by step.

    Attributes:
        held: the trial_ids that the mirror has.
        behind: ended trials that the last step left out.
    """

    def __init__(self, store: Store, sweep: str, target: Target):
        self.store, self.sweep, self.target = store, sweep, target
        self.mirror: Mirror | None = None
        self.held: set[str] = set()
        self.behind = 0

    def step(self, go_on: Callable[[], bool] = lambda: True) -> int:
        """Write what has ended since; how many trials that were. Stops early once `go_on` says no.

        Raises:
            MirrorError: the mirror would not take it.
        """
        added = 0
        try:
            if self.mirror is None:
                self.mirror = self.target.open(self.store, self.sweep)
                self.held = self.mirror.known()
            fresh = ended_trials(self.store, self.sweep, self.held)
            self.behind = len(fresh)
            for trial in fresh:
                if not go_on():
                    break
                self.mirror.add(trial)
                self.behind -= 1
                self.held.add(trial.name)
                added += 1
        except InputError:
            raise
        except Exception as error:  # whatever other people's tools raise
            said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise MirrorError(f"mirror {self.target}: {said}") from error
        return added

    def close(self) -> None:
        """Let go of the place."""
        if self.mirror is not None:
            self.mirror.close()


class MirrorError(Exception):
    """A mirror that did not take a trial; the message names it, in one line."""


def mirror_sweep(
    store: Store,
    sweep: str,
    targets: Sequence[Target],
    follow: bool,
    console: Console,
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """`distiller mirror`: bring all targets up to date; with `follow` keep them so until the sweep is over.

    Raises:
        InputError: a target cannot be, or the sweep is an imported table.
        MirrorError: a mirror would not take a trial.
    """
    if is_imported(store, sweep):
        raise InputError(f"--sweep {sweep}: an imported table; mirrors take launched sweeps")
    feeds = [Feed(store, sweep, target) for target in targets]
    try:
        while True:
            began = time.perf_counter()
            over = is_over(store, sweep)  # before the rows are read: none ends after
            for feed in feeds:
                added = feed.step()
                if added or not follow:
                    said = f"{feed.target}: {added} trials added, {len(feed.held)} there"
                    console.print(Text(said), soft_wrap=True)
            if over or not follow:
                return
            sleep(max(LEAST_SECONDS, (time.perf_counter() - began) / SHARE))
    finally:
        for feed in feeds:
            feed.close()


@contextmanager
def fed(
    store: Store,
    sweep: str,
    targets: Sequence[Target],
    say: Callable[[str], None],
    last_seconds: float = LAST_SECONDS,
) -> Iterator[None]:
    """Feed mirrors in the background while the block runs, and once more when it has ended.

    Whatever goes wrong with a mirror is said in one line, and the sweep goes on without it.
    """
    if not targets:
        yield
        return
    ending, until = threading.Event(), [float("inf")]
    thread = threading.Thread(
        target=_feed_all, args=(store, sweep, targets, say, ending, until), name="mirrors", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        until[0] = time.monotonic() + last_seconds
        ending.set()
        thread.join(last_seconds + GRACE_SECONDS)
        if thread.is_alive():
            say(f"mirrors: not done after {last_seconds:.0f} s; `distiller mirror {sweep} --to …` goes on")


def _feed_all(
    store: Store,
    sweep: str,
    targets: Sequence[Target],
    say: Callable[[str], None],
    ending: threading.Event,
    until: list[float],
) -> None:
    feeds = [Feed(store, sweep, target) for target in targets]
    last = False
    while feeds and not last:
        last = ending.is_set()  # one more round after the end, for what ended last
        began = time.perf_counter()
        for feed in list(feeds):
            try:
                feed.step(lambda: time.monotonic() < until[0])
            except (MirrorError, InputError) as error:
                feeds.remove(feed)
                later = f"`distiller mirror {sweep} --to {feed.target}` fills it later"
                say(f"{error}; the sweep goes on without it, {later}")
        ending.wait(max(LEAST_SECONDS, (time.perf_counter() - began) / SHARE))
    for feed in feeds:
        feed.close()
        if feed.behind:
            later = f"`distiller mirror {sweep} --to {feed.target}` adds them"
            say(f"mirror {feed.target}: {feed.behind} trials behind at the end; {later}")


def targets_of(written: Sequence[str], base: Path) -> list[Target]:
    """The targets, each once.

    Raises:
        InputError: one of them cannot be.
    """
    return list(dict.fromkeys(Target.parse(one, base) for one in written))
