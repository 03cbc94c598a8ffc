"""The Pareto set against a look at all pairs, and what stands for it."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from distiller.results.export import export
from distiller.results.leaderboard import leaderboard, render
from distiller.results.pareto import dominates, pareto, spread
from distiller.results.report import write_report
from distiller.spaces.recipe import parse_recipe

points = st.integers(2, 3).flatmap(
    lambda axes: st.lists(st.tuples(*[st.integers(0, 6)] * axes), min_size=0, max_size=25)
)


@settings(derandomize=True, max_examples=100)
@given(points)
def test_it_is_what_nothing_beats(found):
    array = np.array(found, float)
    beaten = [any((other >= one).all() and (other > one).any() for other in array) for one in array]
    chosen = pareto(found)
    assert {found[i] for i in chosen} == {p for p, worse in zip(found, beaten, strict=True) if not worse}
    assert len({found[i] for i in chosen}) == len(chosen)
    assert [found[i][0] for i in chosen] == sorted((found[i][0] for i in chosen), reverse=True)


@settings(derandomize=True, max_examples=50)
@given(points, st.integers(1, 6))
def test_a_part_keeps_the_best_score_and_both_ends(found, count):
    front = [found[i] for i in pareto(found)]
    chosen = spread(front, count)
    assert len(chosen) == min(count, len(front)) == len(set(chosen))
    if front:
        assert front[chosen[0]] == front[0]
    if front and count >= 2 and len(front[0]) == 2:
        assert chosen[-1] == len(front) - 1


def test_the_crowded_go_first():
    front = [(1.0, 0.0), (0.98, 0.1), (0.97, 0.12), (0.5, 0.5), (0.0, 1.0)]
    assert spread(front, 4) == [0, 2, 3, 4] or spread(front, 4) == [0, 1, 3, 4]
    assert spread(front, 3) == [0, 3, 4]
    assert dominates((1, 1), (1, 0))
    assert not dominates((1, 0), (1, 0))


def of_size(demo, layers, width):
    config = demo.config("trec")
    return config.model_copy(
        update={"student": config.student.model_copy(update={"layers": layers, "width": width})}
    )


def searched_for_both(made):
    """Finalists of five sizes: 3x256, 2x256 and 2x128 are the front, the others are beaten."""
    found = made({"trec": "{builtin: trec, train_rows: 1000}"})
    text = found.text.replace("search: {", "search: {scheduler: none, objectives: [score, parameters], ")
    found.store.write_text("demo", "sweep.yaml", text)
    found.describe("trec")
    front = {}
    for layers, width, mean in ((2, 128, 0.6), (3, 128, 0.58), (3, 256, 0.71), (4, 256, 0.7), (2, 256, 0.65)):
        config = of_size(found, layers, width)
        found.trial("trec", config, mean)
        found.retrain("trec", config, [mean - 0.01, mean, mean + 0.01])
        if (layers, width) in ((2, 128), (2, 256), (3, 256)):
            front[config.config_id] = mean
    found.front = sorted(front, key=lambda config_id: -front[config_id])
    return found


def test_the_answer_of_several_objectives_is_the_front_of_the_finalists(demo, tmp_path):
    found = searched_for_both(demo)
    (board,) = leaderboard(found.store, "demo")
    assert [entry.config_id for entry in board.pareto] == found.front
    assert board.winner.config_id == found.front[0]
    assert board.to_dict()["objectives"] == ["score", "parameters"]
    assert [entry["config_id"] for entry in board.to_dict()["pareto"]] == found.front
    assert "Pareto set of score against parameters" in board.note
    console = Console(width=120)
    with console.capture() as shown:
        console.print(render([board]))
    assert shown.get().count("Pareto set  ") == 2  # the winner has its own row
    written = export(found.store, out=tmp_path / "best")
    assert [one.path.name for one in written] == ["trec.yaml", "trec.pareto-2.yaml", "trec.pareto-3.yaml"]
    assert [one.recipe.config.config_id for one in written] == found.front
    for one in written:
        assert parse_recipe(one.path.read_text(), str(one.path)).config == one.recipe.config
    smallest = written[2].recipe.scores["student"]["parameters"]
    small = export(found.store, out=tmp_path / "best", max_parameters=smallest)
    assert [one.recipe.config.config_id for one in small] == found.front[2:]
    page = write_report(found.store, "demo", tmp_path / "r.html").path
    assert page.read_text().count('class="name">Pareto set</td>') == 2


def test_a_cost_without_a_column_is_named(demo):
    found = demo({"trec": "{builtin: trec}"})
    text = found.text.replace("search: {", "search: {scheduler: none, objectives: [score, flops], ")
    found.store.write_text("demo", "sweep.yaml", text)
    for layers, score in ((2, 0.5), (4, 0.6)):
        found.trial("trec", of_size(found, layers, 128), score, flops=1e6 * layers)
    console = Console(width=120)
    with console.capture() as shown:
        console.print(render(leaderboard(found.store, "demo")))
    assert "Pareto set, 2 MFLOP" in shown.get()


def test_one_objective_has_no_front(demo):
    found = demo({"trec": "{builtin: trec}"})
    found.trial("trec", found.config("trec"), 0.5)
    (board,) = leaderboard(found.store, "demo")
    assert (board.objectives, board.pareto) == (("score",), ())


def test_search_trials_stand_in_before_there_are_finalists(demo):
    found = demo({"trec": "{builtin: trec}"})
    text = found.text.replace("search: {", "search: {scheduler: none, objectives: [score, latency], ")
    found.store.write_text("demo", "sweep.yaml", text)
    rows = [found.trial("trec", of_size(found, n, 128), s) for n, s in ((2, 0.5), (3, 0.4), (4, 0.6))]
    unmeasured = found.trial("trec", of_size(found, 4, 256), 0.99, latency_ms=None)
    (board,) = leaderboard(found.store, "demo")
    assert [entry.config_id for entry in board.pareto] == [rows[2]["config_id"], rows[0]["config_id"]]
    assert board.best.config_id == unmeasured["config_id"]


def test_a_front_smaller_than_the_final_is_no_unfinished_one(demo):
    """The sweep has room for three finalists, and one config beats all others."""
    found = demo({"trec": "{builtin: trec}"})
    text = found.text.replace("search: {", "search: {scheduler: none, objectives: [score, parameters], ")
    found.store.write_text("demo", "sweep.yaml", text)
    best, other = of_size(found, 2, 128), of_size(found, 4, 256)
    found.trial("trec", best, 0.6)
    found.trial("trec", other, 0.5)
    found.retrain("trec", best, [0.6, 0.61, 0.62])
    (board,) = leaderboard(found.store, "demo")
    assert "may change" not in board.note
