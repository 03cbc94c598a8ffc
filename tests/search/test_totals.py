"""The trials that a person is told to expect: exactly those that run, once their number is known."""

from __future__ import annotations

import io
from dataclasses import replace
from types import SimpleNamespace

import pytest
from rich.console import Console

from distiller.results.standing import standing
from distiller.results.store import Store
from distiller.search.assignment import Launch, Preparation, outcomes_from_json
from distiller.search.launch import Running, make_agenda
from distiller.search.prepared import Prepared, record_dataset
from distiller.search.progress import Progress
from distiller.search.schedulers import RungScheduler
from distiller.search.worker import TrialRunner
from distiller.spaces.sweep import parse_sweep
from tests.search import quick
from tests.search.quick import TRAINER, QuickTrainer, QuickWork, write_quick


@pytest.fixture
def played(tmp_path, monkeypatch):
    """Runs a quick sweep to its end in this process; its progress, and what `status` said at each trial."""
    monkeypatch.setenv(quick.SECONDS, "0")
    monkeypatch.setattr("ray.get_runtime_context", lambda: SimpleNamespace(get_node_id=lambda: "node"))
    monkeypatch.setattr("distiller.search.launch.concurrency", lambda resources: 2)

    def play(columns, launches=1, **search):
        whole = QuickWork.columns
        monkeypatch.setattr(
            QuickWork, "columns", lambda self, number, *more: whole(self, number, *more) | columns(number)
        )
        path = write_quick(tmp_path / "it's quick", search={"trials": 4, **search})
        sweep = parse_sweep(path.read_text(), path.name, path.parent)
        store = Store.create(str(tmp_path / "store"))
        store.write_text(sweep.name, "sweep.yaml", path.read_text())
        provenance = {"versions": {}, "git_commit": None, "distiller_version": "0"}
        launch = Launch(sweep, str(path.parent), store.url, provenance, trainer=TRAINER)
        said = QuickTrainer(launch).prepare(Preparation("letters", "bert", True))
        prepared = Prepared.from_json(said["prepared"])
        record_dataset(launch, prepared)
        looks = []
        for left in reversed(range(launches)):
            running = Running(launch, store, Console(file=io.StringIO()))
            progress = Progress(running.console, "trials")
            scheduler = RungScheduler(store, sweep.rungs(), sweep.search.scheduler)
            agenda = make_agenda(running, replace(prepared), scheduler, progress)
            runner, ended = TrialRunner(launch), 0
            while (assignment := agenda.next()) is not None and not (left and ended == 6):
                progress.started(assignment)
                runner.take({"assignment": assignment.to_json()})
                for outcome in outcomes_from_json(runner.step()["outcomes"]):
                    progress.ended(assignment, outcome)
                    agenda.ended(assignment, outcome)
                    ended += 1
                looks.append(standing(store, sweep.name))
        return progress.datasets["letters"], looks, store.read("trials", sweep.name).to_pylist()

    return play


def roles(rows):
    return [sum(row["role"] == role for row in rows) for role in ("baseline", "search", "finalist")]


@pytest.mark.parametrize("launches", [1, 2])
def test_a_pareto_set_with_fewer_configs_than_places(played, launches):
    """All students are of one size, so the best score alone is the Pareto set."""
    both = {"objectives": ["score", "parameters"], "finalists": {"top": 3, "seeds": 2}}
    counts, looks, rows = played(lambda number: {"parameters": 7}, launches, **both)
    assert roles(rows) == [1 + 2 * 3, 4, 2]  # each baseline and the winner itself, on two seeds
    assert (counts.done, counts.total, counts.running) == (13, 13, 0)
    steps = [look.left["letters"].step for look in looks]
    assert steps[4] == "finalists, 2 of 2 runs to end"
    assert looks[-1].left["letters"].step == "nothing more"


def test_a_search_with_fewer_whole_runs_than_places(played):
    """Only half of the search has a score; the winner is one of the two that have one."""
    scores = iter([{}, {}, {"score": None}, {}, {"score": None}])
    counts, looks, rows = played(lambda number: next(scores, {}), finalists={"top": 3, "seeds": 1})
    assert roles(rows) == [1 + 3, 4, 2]
    assert (counts.done, counts.total) == (10, 10)
    assert looks[4].left["letters"].step == "finalists, 2 of 2 runs to end"


def test_a_search_that_ended_early_waits_for_no_more(played):
    counts, looks, rows = played(lambda number: {}, stop={"target": -100}, finalists={"top": 1, "seeds": 1})
    assert roles(rows) == [1 + 2, 1, 1]
    assert (counts.done, counts.total) == (5, 5)
    end = looks[-1].ended_early["letters"]
    assert (end.fewer, end.why.split(" reaches ")[1]) == (3, "the target of -100")
    assert (
        looks[1].left["letters"].step.startswith("the search, 3 of 4")
    )  # recorded when the next is asked for
    assert looks[2].left["letters"].step == "the winner's baselines, 2 runs at most to end"
