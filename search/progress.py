"""What a person sees while trials run: a live table on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from distiller.search.assignment import Assignment, Outcome

QUIET_SECONDS = 10.0
"""Off a terminal, the least time between two lines."""


@dataclass
class Counts:
    """How the trials of one dataset stand; while it is `preparing`, nobody knows how many there will be."""

    preparing: bool = False
    total: int = 0
    running: int = 0
    completed: int = 0
    stopped: int = 0
    failed: int = 0
    best: float | None = None

    @property
    def done(self) -> int:
        """Trials that ended, one way or another."""
        return self.completed + self.stopped + self.failed


@dataclass
class Progress:
    """Counts per dataset of one phase; told by the searcher, shown by `shown`."""

    console: Console
    phase: str
    datasets: dict[str, Counts] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    began_trials: float | None = None
    fresh: int = 0
    last_line: float = 0.0
    live: Live | None = None

    def prepare(self, datasets: Iterable[str]) -> None:
        """These datasets come first to the workers' hands, before their trials."""
        self.datasets.update({dataset: Counts(preparing=True) for dataset in datasets})

    def prepared(self, dataset: str, notes: Sequence[str], said: str) -> None:
        """A dataset is ready with one teacher."""
        for note in notes:
            self.console.print(f"  {note}", style="dim", highlight=False)
        self.console.print(f"  {said}", highlight=False)

    def expect(
        self, dataset: str, total: int, earlier: Mapping[str, Sequence[Outcome]] | None = None
    ) -> None:
        """`total` trials of a dataset, those that an `earlier` launch finished (by role) included."""
        counts = self.datasets.setdefault(dataset, Counts())
        counts.preparing = False
        counts.total += total
        for role, outcomes in (earlier or {}).items():
            for outcome in outcomes:
                self._count(counts, role, outcome)

    def shorten(self, dataset: str, fewer: int, why: str) -> None:
        """There will be `fewer` trials than expected."""
        self.fewer(dataset, fewer)
        self.note(f"{dataset}: {fewer} trials fewer than asked: {why}")

    def fewer(self, dataset: str, fewer: int) -> None:
        """The same where nothing has to be said: a step has fewer trials than it may have."""
        self.datasets[dataset].total -= fewer

    def started(self, assignment: Assignment) -> None:
        """A worker took an assignment."""
        if self.began_trials is None:
            self.began_trials = time.monotonic()
        self.datasets[assignment.dataset].running += len(assignment.tasks)
        self._refresh()

    def reached(self, assignment: Assignment, outcome: Outcome) -> None:
        """A trial reached a rung."""
        self._refresh()

    def dropped(self, dataset: str, trials: int) -> None:
        """A worker died before it began these."""
        self.datasets[dataset].running -= trials

    def ended(self, assignment: Assignment, outcome: Outcome) -> None:
        """A trial ended."""
        counts = self.datasets[assignment.dataset]
        counts.running -= 1
        self.fresh += 1
        self._count(counts, assignment.role, outcome)
        if self.live is not None:  # a line now would count a worker as idle that is about to go on
            self._refresh()

    def note(self, text: str) -> None:
        """Something that a person should read, said once."""
        if text not in self.notes:
            self.notes.append(text)
            self.console.print(Text(text, style="yellow"))

    def _count(self, counts: Counts, role: str, outcome: Outcome) -> None:
        setattr(counts, outcome.status, getattr(counts, outcome.status) + 1)
        score = outcome.score
        if role == "baseline" or outcome.status != "completed" or score is None:
            return
        counts.best = score if counts.best is None else max(counts.best, score)

    def seconds_left(self) -> float | None:
        """At the pace so far; None before the first trial ended, or while a dataset is being prepared."""
        if not self.fresh or self.began_trials is None or any(c.preparing for c in self.datasets.values()):
            return None
        left = sum(max(0, c.total - c.done) for c in self.datasets.values())
        return left * (time.monotonic() - self.began_trials) / self.fresh

    def render(self) -> RenderableType:
        """The live table."""
        table = Table(title=f"{self.phase}  {_clock(time.monotonic() - self.began)}", title_justify="left")
        for name in ("dataset", "done", "running", "stopped", "failed", "best so far"):
            table.add_column(name, justify="left" if name == "dataset" else "right")
        for name, c in self.datasets.items():
            failed = Text(str(c.failed), style="red" if c.failed else "")
            best = "-" if c.best is None else f"{c.best:.4f}"
            done = "preparing" if c.preparing else f"{c.done}/{c.total}"
            table.add_row(name, done, str(c.running), str(c.stopped), failed, best)
        left = self.seconds_left()
        return Group(
            table, Text("time left: " + ("unknown yet" if left is None else f"about {_clock(left)}"))
        )

    def line(self) -> str:
        """The same on one line."""
        parts = [
            f"{name} preparing"
            if c.preparing
            else f"{name} {c.done}/{c.total}" + (f" best {c.best:.4f}" if c.best is not None else "")
            for name, c in self.datasets.items()
        ]
        running = sum(c.running for c in self.datasets.values())
        failed = sum(c.failed for c in self.datasets.values())
        left = self.seconds_left()
        ahead = "" if left is None else f", about {_clock(left)} left"
        return f"{self.phase}: {', '.join(parts)}; {running} running, {failed} failed{ahead}"

    def _refresh(self) -> None:
        if self.live is not None:
            self.live.update(self.render())
        elif time.monotonic() - self.last_line >= QUIET_SECONDS:
            self.last_line = time.monotonic()
            self.console.print(self.line(), soft_wrap=True)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the counts while the block runs."""
        if not self.console.is_terminal:
            yield
            self.console.print(self.line(), soft_wrap=True)
            return
        with Live(
            self.render(), console=self.console, get_renderable=self.render, refresh_per_second=2
        ) as live:
            self.live = live
            try:
                yield
            finally:
                live.update(self.render())
                self.live = None


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
    )
