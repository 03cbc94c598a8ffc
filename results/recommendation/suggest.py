"""Configs for a dataset that was never seen, what they will reach, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from distiller.results.comparison.report import plainly
from distiller.results.recommendation.choose import Chosen
from distiller.results.recommendation.evaluation import Evaluation
from distiller.results.recommendation.methods import METHODS
from distiller.results.recommendation.predict import Predicted, predict
from distiller.results.recommendation.recommender import Target
from distiller.results.recommendation.table import Tried
from distiller.results.recommendation.training import Training
from distiller.results.recommendation.why import Near, Place, carried, nearest_datasets, places_of


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
    seed: int = 0,
) -> Advice:
    """The first `top` of the allowed configs, in the order of the chosen recommender fitted to all datasets.

    Args:
        found: its evaluation, None where there are too few datasets for one.
        target: meta-features of the new dataset, None where they are unknown.
        allowed: ids of the configs that fit the new dataset, and under which id they would run there; of
            several that come to the same, the first is taken.
    """
    training = Training(tried, seed)
    method = next(one for one in METHODS if one.name == chosen.method)
    candidates = tried.configs[tried.configs.index.isin(list(allowed))]
    order = method.fit(training).rank(candidates, target).order if len(candidates) else ()
    first: dict[str, str] = {}
    for name in (str(candidates.index[i]) for i in order):
        first.setdefault(allowed[name], name)
    ids = list(first.values())[:top]
    result = next((one for one in found.results if one.method == method.name), None) if found else None
    ratios = [predict(result, tried, target, place) if result else None for place in range(len(ids))]
    return Advice(
        suggestions=tuple(
            Suggestion(name, ratio, places_of(tried, name), carried(training, name))
            for name, ratio in zip(ids, ratios, strict=True)
        ),
        best=predict(result, tried, target, 0, len(ids)) if result and ids else None,
        chosen=chosen,
        nearest=nearest_datasets(training, target),
        datasets=len(tried.datasets),
        groups=len(set(tried.groups)),
        configs=len(tried.configs),
        trials=tried.trials,
        notes=_notes(tried, chosen, found, any(one.reached for one in result.datasets) if result else False),
    )


def _notes(tried: Tried, chosen: Chosen, found: Evaluation | None, known: bool) -> tuple[str, ...]:
    said = list(tried.left_out)
    if found is None:
        said.append("datasets of one group only: nothing says how well a recommendation carries over")
    elif not chosen.beats_random:
        said.append("on these datasets no recommender is surely better than configs at random")
    if found is not None and not known:
        said.append("no teacher's score is known: what share of it is reached cannot be said")
    return tuple(said)
