"""Configs for a dataset that was never seen, what they will reach, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from distiller.results.comparison.report import plainly
from distiller.results.recommendation.choose import Chosen
from distiller.results.recommendation.evaluation import Evaluation
from distiller.results.recommendation.methods import METHODS
from distiller.results.recommendation.predict import Predicted, predict
from distiller.results.recommendation.recommender import Method, Recommender, Target
from distiller.results.recommendation.table import Ints, Tried
from distiller.results.recommendation.training import Training
from distiller.results.recommendation.why import Near, Place, carried, nearest_datasets, places_of

Probe = Callable[[Sequence[str], float], Mapping[str, float]]
"""Ids of configs and a share of the budget to their scores there, NaN of one that failed."""


@dataclass(frozen=True)
class Suggestion:
    """A config of earlier trials.

    Attributes:
        config_id: as in the trials table.
        ratio: its predicted score as a share of the teacher's, None where that cannot be said.
        places: where it stood on earlier datasets; empty where it ran on none.
        carried: by stage, see `why.carried`.
    """

    config_id: str
    ratio: Predicted | None
    places: tuple[Place, ...]
    carried: Mapping[str, float]


@dataclass(frozen=True)
class Advice:
    """What the trials of earlier datasets say about a new one.

    Attributes:
        suggestions: the best first.
        best: what the best of all suggestions reaches.
        chosen: the recommender, and why it.
        nearest: the most alike earlier datasets; empty where no meta-features are known.
        datasets, groups, configs, trials: how many earlier ones it rests on.
        notes: what to know of it, one sentence each.
    """

    suggestions: tuple[Suggestion, ...]
    best: Predicted | None
    chosen: Chosen
    nearest: tuple[Near, ...]
    datasets: int
    groups: int
    configs: int
    trials: int
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, as JSON takes them."""
        plain: dict[str, Any] = plainly(vars(self))
        return plain


def suggest(
    tried: Tried,
    chosen: Chosen,
    found: Evaluation | None,
    target: Target,
    allowed: Mapping[str, str],
    top: int,
    probe: Probe | None = None,
    seed: int = 0,
    methods: Sequence[Method] = METHODS,
) -> Advice:
    """The first `top` of the allowed configs, in the order of the chosen recommender fitted to all datasets.

    Args:
        found: its evaluation, None where there are too few datasets for one.
        target: meta-features of the new dataset, None where they are unknown.
        allowed: ids of the configs that fit the new dataset, and under which id they would run there; of
            several that come to the same, the first is taken.
        probe: runs the cheap trials that the recommender asks for, if any; without, it gets none.
    """
    training = Training(tried, seed)
    method = next(one for one in methods if one.name == chosen.method)
    candidates = tried.configs[tried.configs.index.isin(list(allowed))]
    order = _order(method.fit(training), tried, candidates, target, probe) if len(candidates) else ()
    first: dict[str, str] = {}
    for name in (str(candidates.index[i]) for i in order):
        first.setdefault(allowed[name], name)
    ids = list(first.values())[:top]
    result = next((one for one in found.results if one.method == method.name), None) if found else None
    expected = training.of_teacher(tried.configs.loc[ids])
    ratios = [
        predict(result, tried, target, expected[place : place + 1], place) if result else None
        for place in range(len(ids))
    ]
    return Advice(
        suggestions=tuple(
            Suggestion(name, ratio, places_of(tried, name), carried(training, name))
            for name, ratio in zip(ids, ratios, strict=True)
        ),
        best=predict(result, tried, target, expected) if result and ids else None,
        chosen=chosen,
        nearest=nearest_datasets(training, target),
        datasets=len(tried.datasets),
        groups=len(set(tried.groups)),
        configs=len(tried.configs),
        trials=tried.trials,
        notes=_notes(tried, chosen, found, any(one.reached for one in result.datasets) if result else False),
    )


def _order(
    recommender: Recommender, tried: Tried, candidates: pd.DataFrame, target: Target, probe: Probe | None
) -> Ints:
    asked = recommender.probes(candidates, target) if probe else ()
    if probe is None or not len(asked):
        return recommender.rank(candidates, target).order
    scores = probe([str(candidates.index[i]) for i in asked], early_share(tried))
    early = np.array([scores.get(str(name), np.nan) for name in candidates.index])
    return recommender.rank(candidates, target, early).order


def early_share(tried: Tried) -> float:
    """The share of the budget behind the early scores of a typical dataset.

    Raises:
        ValueError: no dataset has early scores.
    """
    known = tried.fidelity[tried.fidelity > 0]
    if not len(known):
        raise ValueError("no dataset has early scores")
    return float(np.median(known))


def _notes(tried: Tried, chosen: Chosen, found: Evaluation | None, known: bool) -> tuple[str, ...]:
    said = list(tried.left_out)
    if found is None:
        said.append("datasets of one group only: nothing says how well a recommendation carries over")
    elif not chosen.beats_random:
        said.append("on these datasets no recommender is surely better than configs at random")
    if found is not None and not known:
        said.append("no teacher's score is known: what share of it is reached cannot be said")
    return tuple(said)
