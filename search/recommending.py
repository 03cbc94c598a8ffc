"""Recommenders on the trials of a store's sweeps: compared, and asked about a new dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distiller.results.export import chosen_sweep
from distiller.results.recommendation import Advice, Chosen, Evaluation, choose, read_tried, suggest
from distiller.results.recommendation.choose import too_few_to_choose
from distiller.results.recommendation.predict import Predicted
from distiller.results.recommendation.suggest import Probe, Suggestion
from distiller.results.recommendation.table import FEWEST
from distiller.results.store import Store
from distiller.search.candidates import Place, Wanted, fitting
from distiller.search.earlier import Earlier, evaluated_once, named_sweeps, read_earlier, searched
from distiller.spaces.config import PipelineConfig
from distiller.spaces.errors import InputError
from distiller.spaces.presets import PRESETS

TOP = 5
NOTHING = f"no earlier dataset has {FEWEST} configs that ran in full"
FALLBACK = ("distiller_best", "minilm_v2", "pkd", "distilbert", "hinton")
"""Presets to begin with where no trial speaks, one of each kind of recipe, the paper's own first."""


Trial = Callable[[Mapping[str, PipelineConfig], float], Mapping[str, float]]
"""Configs by id and a share of the budget, to their scores there by id."""


@dataclass(frozen=True)
class Recommended:
    """A config to train on a new dataset.

    Attributes:
        config: with the dataset's own teachers.
        preset: the published recipe that it is; None of one from earlier trials.
        ratio: predicted share of the teacher's score, None where that cannot be said.
        why: in words, one a line.
    """

    config: PipelineConfig
    preset: str | None
    ratio: Predicted | None
    why: tuple[str, ...]


@dataclass(frozen=True)
class Recommendation:
    """Configs for a new dataset, the best first.

    Attributes:
        advice: what earlier trials say; None where there are none.
        notes: what to know, one sentence each.
    """

    dataset: str
    configs: tuple[Recommended, ...]
    advice: Advice | None
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {
            "dataset": self.dataset,
            "configs": [
                {
                    "config_id": one.config.config_id,
                    "config": one.config.model_dump(mode="json"),
                    "preset": one.preset,
                    "ratio": vars(one.ratio) if one.ratio else None,
                    "why": list(one.why),
                }
                for one in self.configs
            ],
            "advice": self.advice.to_dict() if self.advice else None,
            "notes": list(self.notes),
        }


def evaluated(
    store: Store, sweeps: Sequence[str], related: Sequence[str], said: Callable[[str], None]
) -> tuple[Evaluation, Chosen]:
    """How the recommenders do on the store's datasets, each left out with all that are related to it.

    Args:
        sweeps: their names; none for all.
        related: `NAME=dataset,dataset,...` each.
        said: told what is being done.

    Raises:
        InputError: no such sweep or dataset, or too little to compare them by.
    """
    names = named_sweeps(store, sweeps)
    if not names:
        chosen_sweep(store, None)  # says what to do about an empty store
    tried = read_tried([searched(store, name) for name in names], groups_of(related))
    found = evaluated_once(store, names[0], tried, said)
    return found, choose(found)


def read_and_evaluated(
    store: Store,
    own: str,
    sweeps: Sequence[str] = (),
    related: Sequence[str] = (),
    without: Sequence[str] = (),
    said: Callable[[str], None] = lambda _: None,
) -> tuple[Earlier | None, Evaluation | None]:
    """What a store's sweeps tried, arguments as in `read_earlier`, and how the recommenders do on it.

    The one is None where there is nothing to learn from, the other where all datasets are of one group.
    """
    earlier = read_earlier(store, own, sweeps, groups_of(related), without)
    if earlier is None or len(set(earlier.tried.groups)) == 1:
        return earlier, None
    return earlier, evaluated_once(store, earlier.sweeps[0], earlier.tried, said)


def recommended(
    earlier: Earlier | None,
    evaluation: Evaluation | None,
    dataset: str,
    place: Place,
    facts: Mapping[str, Any],
    wanted: Wanted,
    top: int,
    steps: int,
    probe: Trial | None = None,
) -> Recommendation:
    """From earlier trials, as far as they reach, then published recipes.

    Args:
        evaluation: of the recommenders on `earlier`; None where all datasets are of one group.
        facts: the dataset's row: meta-features and the teacher's score.
        steps: the budget it is for.
        probe: runs cheap trials, where a recommender asks for them.
    """
    notes: list[str] = []
    advice, configs = None, []
    if earlier is not None:
        notes += earlier.notes
        allowed, left_out = fitting(earlier.configs, earlier.costs, place, wanted)
        notes += left_out
        chosen = choose(evaluation, probe is not None) if evaluation else too_few_to_choose(1)
        target = {name: float(value) for name, value in facts.items() if isinstance(value, (int, float))}
        ids = {name: config.config_id for name, config in allowed.items()}
        advice = suggest(earlier.tried, chosen, evaluation, target, ids, top, _probe(probe, allowed))
        configs = [
            Recommended(allowed[one.config_id], None, one.ratio, why_of(one, advice))
            for one in advice.suggestions
        ]
        notes += advice.notes
        if earlier.steps != (steps,):
            budgets = ", ".join(f"{known:,}" for known in earlier.steps)
            notes.append(f"earlier trials ran {budgets} steps, this dataset's are {steps:,}")
    if len(configs) < top:
        missing = top - len(configs)
        have = {one.config.config_id for one in configs}
        more = [one for one in presets(place, wanted) if one.config.config_id not in have][:missing]
        why = NOTHING if advice is None else f"{len(configs)} configs of earlier trials fit"
        notes.append(f"{why}: published recipes fill the rest, which nothing here has tried")
        if more and (wanted.parameters is not None or wanted.latency_ms is not None):
            notes.append("published recipes were not measured: whether they keep to the limits is not known")
        configs += more
    return Recommendation(dataset, tuple(configs), advice, tuple(notes))


def _probe(probe: Trial | None, allowed: Mapping[str, PipelineConfig]) -> Probe | None:
    if probe is None:
        return None
    return lambda names, share: probe({name: allowed[name] for name in names}, share)


def presets(place: Place, wanted: Wanted) -> list[Recommended]:
    """Published recipes on a student, those that the dataset has a place for."""
    found = []
    for name in FALLBACK:
        config = wanted.with_student(PRESETS[name].applied(place.start, place.kind))
        try:
            config = place.fit(config)
        except InputError:
            continue
        found.append(Recommended(config, name, None, (PRESETS[name].summary,)))
    return found


def why_of(one: Suggestion, advice: Advice) -> tuple[str, ...]:
    """In words: where it stood on the most alike datasets, and which stages carry it."""
    said = []
    near = [n.dataset for n in advice.nearest]
    places = {p.dataset: p for p in one.places}
    shown = [places[name] for name in near if name in places] or list(one.places[:3])
    if shown:
        stood = ", ".join(f"{p.place} of {p.configs} on {p.dataset}" for p in shown)
        alike = "the most alike datasets: " if near and shown[0].dataset in near else ""
        said.append(f"place on {alike}{stood}" if alike else f"place {stood}")
    else:
        said.append("ran on none of the earlier datasets: predicted")
    best = [f"{stage} {gain:+.2f}" for stage, gain in list(one.carried.items())[:3] if abs(gain) >= 0.005]
    if best:
        said.append("carried by " + ", ".join(best) + " (1: the way from the median config to the best)")
    return tuple(said)


def groups_of(related: Sequence[str]) -> dict[str, list[str]]:
    """`NAME=dataset,dataset` each, as the groups they name."""
    return dict(_group(text) for text in related)


def _group(text: str) -> tuple[str, list[str]]:
    name, _, members = text.partition("=")
    found = [member.strip() for member in members.split(",") if member.strip()]
    if not name.strip() or not found:
        raise InputError(f"--related {text}: write NAME=dataset,dataset")
    return name.strip(), found
