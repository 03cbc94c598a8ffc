"""What runs next: every config once, every step after the one before, cohorts of configs that fit."""

from __future__ import annotations

import pytest

from distiller.search.agenda import Agenda, Proposals, cohort_group
from distiller.search.assignment import Assignment, Outcome, Task, outcomes_from_json, outcomes_to_json
from distiller.spaces.config import PipelineConfig
from distiller.spaces.presets import PRESETS
from tests.search.trials import SMALL, WIDE, make, played, quality


def search(tasks):
    return Assignment("animals", "search", 0, tasks)


def proposals(sampler, trials, cohort=1, earlier=(), begun=(), notes=None, warm=()):
    notes = [] if notes is None else notes
    return Proposals(sampler, search, trials, cohort, earlier, begun, warm, lambda *said: notes.append(said))


def drained(proposals):
    """All assignments, each told as completed at once."""
    found = []
    while (assignment := proposals.next()) is not None:
        found.append(assignment)
        for task in assignment.tasks:
            proposals.sampler.tell(played(task.config, quality(task.config)))
    return found


def ids(assignments):
    return [task.config.config_id for a in assignments for task in a.tasks]


@pytest.mark.parametrize("kind", ["tpe", "bohb", "random", "quasi_random", "grid"])
def test_no_config_twice_and_an_exhausted_space_ends_with_a_note(kind):
    notes = []
    found = ids(drained(proposals(make(SMALL, sampler=kind, startup=3), 20, notes=notes)))
    assert len(found) == len(set(found)) == 8  # all there are
    ((short, why),) = notes
    assert short == 12
    assert ("complete" if kind == "grid" else "exhausted") in why


@pytest.mark.parametrize("kind", ["tpe", "random", "quasi_random", "grid"])
def test_a_relaunch_runs_the_rest_and_nothing_again(kind):
    """After far more finished trials than the patience with known proposals."""
    whole = drained(proposals(make(sampler=kind, startup=5, seed=2), 150))
    past = [played(t.config, quality(t.config)) for a in whole[:130] for t in a.tasks]
    begun = [Task(t.config, t.origin) for a in whole[130:133] for t in a.tasks]
    notes = []
    rest = drained(
        proposals(make(sampler=kind, startup=5, seed=2), 150, earlier=past, begun=begun, notes=notes)
    )
    assert set(ids(rest[:3])) == set(ids(whole[130:133]))  # what was lost comes first
    assert len(set(ids(rest)) | set(ids(whole[:130]))) == 150
    assert notes == []
    if kind != "tpe":  # whose history differs by the trials that were running
        assert ids(rest[3:]) == ids(whole[133:])


def test_a_relaunch_of_a_search_that_is_over_proposes_nothing():
    past = [played(a.tasks[0].config, 0.5) for a in drained(proposals(make(sampler="random"), 5))]
    assert proposals(make(sampler="random"), 5, earlier=past).next() is None


@pytest.mark.parametrize("cohort", [2, 3, 7])
def test_cohorts_share_what_they_must_and_lose_none(cohort):
    notes = []
    found = drained(proposals(make(WIDE, sampler="random"), 23, cohort, notes=notes))
    for assignment in found:
        assert len({cohort_group(task.config) for task in assignment.tasks}) == 1
    assert len(ids(found)) == len(set(ids(found))) == 23
    assert len(found[0].tasks) == cohort == max(len(a.tasks) for a in found)
    begun = [task for a in found[:2] for task in a.tasks]
    again = drained(proposals(make(WIDE, sampler="random"), 23, cohort, begun=begun))
    assert set(ids(again)) >= {t.config.config_id for t in begun}
    assert len(again[0].tasks) == cohort


def test_a_cohort_has_one_dropout_and_any_betas():
    plain, dropping, other = (
        PipelineConfig(optimization=o) for o in ({}, {"dropout": 0.1}, {"beta1": 0.8, "layer_decay": 0.9})
    )
    assert cohort_group(dropping) != cohort_group(plain) == cohort_group(other)


def test_copies_of_layers_of_several_kinds_train_apart():
    first, last = (
        PipelineConfig.model_validate(
            {"student": {"initialization": "teacher_layers", "selection": selection}}
        )
        for selection in ("first", "last")
    )
    assert cohort_group(first) == cohort_group(last)
    assert cohort_group(first, several_kinds=True) != cohort_group(last, several_kinds=True)
    warm = [first, last]
    for kinds, sizes in ((False, [2]), (True, [1, 1])):
        made = Proposals(make(sampler="random"), search, 2, 2, [], [], warm, print, several_kinds=kinds)
        assert [len(made.next().tasks) for _ in sizes] == sizes


def test_a_cohort_leaves_its_teacher_together():
    def labels(*shares):
        terms = [{"objective": "mse", "schedule": {"kind": "first_stage", "share": s}} for s in shares]
        return PipelineConfig.model_validate({"prediction": "labels", "intermediate": terms or "none"})

    half, sooner, never = labels(0.5), labels(0.25), labels()
    assert len({cohort_group(config) for config in (half, sooner, never, PipelineConfig())}) == 4
    assert cohort_group(half) == cohort_group(labels(0.25, 0.5))


def agenda(references, found, finalists, baselines, done=()):
    fixed = [lambda a=a: a for a in (references, finalists, baselines)]
    return Agenda("animals", fixed[0], found, fixed[1], fixed[2], lambda a: (a.role, a.seed) in done)


def fixed(role, *seeds):
    config = make().propose()[0]
    return [Assignment("animals", role, seed, (Task(config, "warm"),)) for seed in seeds]


def ended(agenda, assignment):
    for task in assignment.tasks:
        agenda.ended(assignment, Outcome(task.config, task.origin, "completed", ((12, 0.5),), 12))


def test_a_step_waits_for_all_trials_of_the_one_before():
    steps = agenda(fixed("baseline", 0), proposals(make(), 2), fixed("finalist", 1, 2), fixed("baseline", 1))
    seen = []
    while not steps.finished:
        batch = []
        while (assignment := steps.next()) is not None:
            batch.append(assignment)
        seen.append([a.role for a in batch])
        for number, assignment in enumerate(batch):
            ended(steps, assignment)
            if number < len(batch) - 1:
                assert steps.next() is None
    assert (
        seen == [["baseline"], ["search", "search"], ["finalist", "finalist"], ["baseline"], []][: len(seen)]
    )
    assert sum(map(len, seen)) == 6


def test_what_is_done_is_skipped_and_an_empty_agenda_ends():
    done = {("baseline", 0), ("finalist", 1)}
    steps = agenda(fixed("baseline", 0), proposals(make(), 1), fixed("finalist", 1, 2), [], done)
    roles = []
    while (assignment := steps.next()) is not None:
        roles.append((assignment.role, assignment.seed))
        ended(steps, assignment)
    assert roles == [("search", 0), ("finalist", 2)]
    assert steps.finished


def test_assignments_and_outcomes_survive_the_way_through_ray():
    config = make().propose()[0]
    assignment = Assignment("a", "search", 3, (Task(config, "model"),), True, (4, 8), {"bert-L1-H16": 0.25})
    assert Assignment.from_json(assignment.to_json()) == assignment
    outcome = Outcome(config, "model", "failed", ((4, 0.5), (8, float("nan"))), 8, 'it\'s "bad"\nvery')
    (back,) = outcomes_from_json(outcomes_to_json([outcome]))
    assert (back.config, back.error, back.curve[0]) == (config, outcome.error, (4, 0.5))
    assert back.score != back.score


def test_warm_starts_come_first_and_count_among_the_trials():
    sampler = make(SMALL, sampler="random")
    warm = [PRESETS[name].applied(PipelineConfig(), "classification") for name in ("pkd", "tinybert", "pkd")]
    begun = [Task(warm[0], "warm")]  # and the same preset named twice
    assignments = drained(proposals(sampler, 4, begun=begun, warm=warm))
    tasks = [task for a in assignments for task in a.tasks]
    assert [t.origin for t in tasks] == ["warm", "warm", "prior", "prior"]
    assert [t.config for t in tasks[:2]] == warm[:2]


def test_warm_starts_take_nothing_from_the_samplers_sequence():
    """After a relaunch the sampler goes on behind its own proposals, not behind the warm starts too."""
    warm = [PRESETS["pkd"].applied(PipelineConfig(), "classification")]
    whole = ids(drained(proposals(make(sampler="quasi_random"), 12, warm=warm)))
    past = [
        Outcome(task.config, task.origin, "completed", ((12, 0.5),), 12)
        for a in [*drained(proposals(make(sampler="quasi_random"), 12, warm=warm))][:7]
        for task in a.tasks
    ]
    assert ids(drained(proposals(make(sampler="quasi_random"), 12, earlier=past, warm=warm))) == whole[7:]
