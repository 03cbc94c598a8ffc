"""Score against cost: what the sampler is told, how well it covers a known front, who the finalists are."""

from __future__ import annotations

import numpy as np
from optuna.trial import TrialState

from distiller.results.finalists import finalists_of
from distiller.results.pareto import pareto
from distiller.search.assignment import Outcome, outcomes_from_json, outcomes_to_json
from distiller.search.past import costs_of
from distiller.spaces.search import Finalists, Pasha, Search
from tests.search.trials import BUDGET, SMALL, WIDE, make, played, rate

SIZES = {**WIDE, "student": {"svd": {"layers": {"integers": [1, 12]}, "width": [16, 32, 64, 128]}}}
BOTH = {"objectives": ("score", "parameters"), "scheduler": None}


def judged(config):
    """Larger students score higher, each at the same learning rate only; other stages are of no use."""
    student = config.student
    size = student.layers * student.width
    score = np.log2(size) / 11 - 0.2 * (rate(config) + 2) ** 2
    return Outcome(
        config, "prior", "completed", ((BUDGET, score),), BUDGET, costs={"parameters": float(size)}
    )


def covered(outcomes):
    """The area that score and size dominate above a score of -2 and below the largest size (log2)."""
    points = [(o.score, -np.log2(o.costs["parameters"])) for o in outcomes]
    area, before = 0.0, -11.0
    for score, cost in (points[i] for i in pareto(points)):  # best score first, so sizes fall
        area += max(0.0, score + 2) * max(0.0, cost - before)
        before = max(before, cost)
    return area


def test_it_covers_the_true_front_better_than_random():
    best = covered([judged_at_best(layers, width) for layers in range(1, 13) for width in (16, 32, 64, 128)])
    shares = {}
    for name, search in (("tpe", BOTH), ("random", {"sampler": "random", **BOTH})):
        found = [run_of(make(SIZES, seed=seed, startup=15, **search)) for seed in range(2)]
        shares[name] = [covered(outcomes) / best for outcomes in found]
    assert np.mean(shares["tpe"]) > np.mean(shares["random"])
    assert max(shares["tpe"]) <= 1
    assert np.mean(shares["tpe"]) > 0.97


def judged_at_best(layers, width):
    config = make(SIZES).propose()[0]
    student = config.student.model_copy(update={"layers": layers, "width": width})
    rated = config.optimization.model_copy(update={"learning_rate": 0.01})
    return judged(config.model_copy(update={"student": student, "optimization": rated}))


def run_of(sampler, count=60):
    found = []
    for _ in range(count):
        found.append(judged(sampler.propose()[0]))
        sampler.tell(found[-1])
    return found


def test_it_is_told_the_truth():
    sampler = make(SIZES, startup=1, prior_share=0, **BOTH)
    done = judged(sampler.propose()[0])
    sampler.tell(done)
    sampler.tell(played(sampler.propose()[0], 0.5, "failed"))
    sampler.tell(played(sampler.propose()[0], 0.5))  # whose costs nobody measured
    study = sampler.knowledge.model.study
    told = [t for t in study.trials if t.state != TrialState.FAIL]
    assert [(t.state, t.values) for t in told] == [
        (TrialState.COMPLETE, [done.score, done.costs["parameters"]]),
        (TrialState.PRUNED, None),
    ]
    assert not sampler.knowledge.model.pending()


def test_it_avoids_where_trials_fail():
    def judge(config):
        return judged(config) if config.optimization.learning_rate < 0.05 else played(config, 0, "failed")

    sampler = make(SIZES, startup=15, prior_share=0, **BOTH)
    rates = []
    for _ in range(50):
        config, origin = sampler.propose()
        sampler.tell(judge(config))
        rates += [config.optimization.learning_rate] if origin == "model" else []
    assert np.mean(np.array(rates) > 0.05) < 0.15  # the prior's is 0.33


def test_costs_travel_with_outcomes():
    outcome = judged(make(SIZES).propose()[0])
    assert outcomes_from_json(outcomes_to_json([outcome])) == [outcome]
    row = {"parameters": 5, "flops": 2.5, "latency_ms": None, "score": 0.5}
    assert costs_of(row) == {"parameters": 5.0, "flops": 2.5}


def row_of(number, score, size=1, status="completed", steps=BUDGET, config=None, **more):
    whole = {"steps": steps, "budget_steps": BUDGET, "fidelity": steps / BUDGET}
    config = config or make(SMALL).propose()[0]
    row = {"config_id": number, "score": score, "parameters": size, "latency_ms": None, "flops": 1.0}
    return {**row, "status": status, **whole, "config": config.model_dump_json(), **more}


def test_finalists_are_of_the_pareto_set():
    rows = [row_of(0, 0.9, 90), row_of(1, 0.8, 10), row_of(2, 0.85, 95), row_of(3, 0.7, 5), row_of(4, 0.3, 5),
            row_of(5, 0.99, 1, "stopped", 4), row_of(6, 0.99, None)]  # fmt: skip
    search = Search(finalists=Finalists(top=3), **BOTH)
    chosen, said = finalists_of(rows, search)
    assert {row["config_id"] for row in chosen} == {0, 1, 3}
    assert "3 of the 3 configs" in said
    assert "1 trials without a measured parameters" in said
    (best,), said = finalists_of(rows, Search(finalists=Finalists(top=1), **BOTH))
    assert best["config_id"] == 0
    assert "1 of the 3" in said
    plain, said = finalists_of(rows, Search(finalists=Finalists(top=2)))
    assert ([row["config_id"] for row in plain], said) == ([6, 0], "")


def test_pasha_has_finalists_though_none_ran_in_full():
    """The highest fidelity comes first, then the score; a first stage has no score that counts."""
    staged = make({**WIDE, "intermediate": {"mse": {"schedule": {"first_stage": {"share": 0.9}}}}}).propose()[
        0
    ]
    rows = [row_of(0, 0.9, status="stopped", steps=4), row_of(1, 0.5, status="stopped", steps=8),
            row_of(2, 0.6, status="stopped", steps=8), row_of(3, None, status="failed", steps=8),
            row_of(4, 0.99, status="stopped", steps=8, config=staged)]  # fmt: skip
    chosen, _ = finalists_of(rows, Search(scheduler=Pasha(), finalists=Finalists(top=3)))
    assert [row["config_id"] for row in chosen] == [2, 1, 0]
    assert finalists_of(rows, Search())[0] == []
