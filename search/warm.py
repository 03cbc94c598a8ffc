"""What a search starts with beside presets: the best of another sweep, recommendations, recipes, and what
trials taught.

What the first launch found is kept in the store, so that a relaunch starts with the same.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from distiller.results.entries import is_full
from distiller.results.imported.kept import is_imported
from distiller.results.store import Row, Store
from distiller.search.assignment import Outcome, outcomes_from_json, outcomes_to_json
from distiller.search.candidates import Place, Wanted
from distiller.search.in_space import fitted
from distiller.search.past import past_outcomes
from distiller.search.plan import OneTokenizer
from distiller.search.recommending import read_and_evaluated, recommended
from distiller.spaces.config import PipelineConfig
from distiller.spaces.errors import InputError
from distiller.spaces.files import read_text
from distiller.spaces.recipe import parse_recipe
from distiller.spaces.search import FromFile, FromStore, FromTrials
from distiller.spaces.space import Space
from distiller.spaces.sweep import SweepConfig


@dataclass(frozen=True)
class Warm:
    """What a dataset's search starts with.

    Attributes:
        configs: tried first, all in the space.
        outcomes: what the sampler is told beforehand; none of them counts as a trial of this sweep.
        notes: what a person should know: what was mapped or left out.
    """

    configs: list[PipelineConfig] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> str:
        """As text."""
        configs = [config.model_dump(mode="json") for config in self.configs]
        return json.dumps(
            {"configs": configs, "outcomes": outcomes_to_json(self.outcomes), "notes": self.notes}
        )

    @classmethod
    def from_json(cls, text: str) -> Warm:
        """What `to_json` wrote."""
        data = json.loads(text)
        configs = [PipelineConfig.model_validate(config) for config in data["configs"]]
        return cls(configs, outcomes_from_json(data["outcomes"]), data["notes"])


def warm_file(dataset: str) -> str:
    """Where a launch keeps what a dataset's search starts with."""
    return f"{dataset}-warm.json"


def check_warm(sweep: SweepConfig, base: Path, store: Store | None = None) -> None:
    """Read what the sweep starts with, before anything runs; with its store, also choose a recommender.

    Raises:
        InputError: a store, a sweep or a recipe is not there, or cannot be read.
    """
    for number, one in enumerate(sweep.search.warm_start):
        try:
            if isinstance(one, FromStore):
                other = opened(one, base)
                if is_imported(other, other.check_sweep(one.sweep)):
                    raise InputError(
                        f"{one.sweep} is an imported table, whose configs are no pipelines of KD"
                    )
            elif isinstance(one, FromTrials):
                earlier = opened(one, base) if one.store else store
                if earlier is not None:
                    read_and_evaluated(earlier, sweep.name)
            elif isinstance(one, FromFile):
                recipe_config(one, base)
        except InputError as error:
            raise InputError(f"search.warm_start.{number}: {error}") from None


def warm_start(store: Store, sweep: SweepConfig, dataset: str, space: Space, facts: Row, base: Path) -> Warm:
    """What a dataset's search starts with beside presets, kept in the store by the first who asks.

    Args:
        facts: the dataset's row in this sweep: metric and fingerprint.
    """
    kept = store.read_text(sweep.name, warm_file(dataset))
    if kept is not None:
        return Warm.from_json(kept)
    warm = Warm()
    for one in sweep.search.warm_start:
        if isinstance(one, FromFile):
            _add(warm, space, [recipe_config(one, base)], f"{dataset}: {one.configs}")
        elif isinstance(one, FromTrials):
            other = opened(one, base) if one.store else store
            _add_recommended(warm, space, sweep, dataset, facts, one, other)
        elif isinstance(one, FromStore):
            _add_sweep(warm, space, sweep, dataset, facts, one, opened(one, base))
    if any(not isinstance(one, str) for one in sweep.search.warm_start):
        store.write_text(sweep.name, warm_file(dataset), warm.to_json())
    return warm


def opened(one: FromStore | FromTrials, base: Path) -> Store:
    """The store that a warm start names; its path starts from the sweep file's folder."""
    assert one.store is not None
    return Store.open(one.store if "://" in one.store else str(base / Path(one.store).expanduser()))


def recipe_config(one: FromFile, base: Path) -> PipelineConfig:
    """The config of the recipe that a warm start names."""
    path = base / Path(one.configs).expanduser()
    return parse_recipe(read_text(path), str(path), path.parent).config


def _add_sweep(
    warm: Warm, space: Space, sweep: SweepConfig, dataset: str, facts: Row, one: FromStore, other: Store
) -> None:
    place = f"{dataset}: sweep {one.sweep} of {other.url}"
    rows = [row for row in other.read("trials", one.sweep).to_pylist() if row["dataset"] == dataset]
    if not rows:
        warm.notes.append(f"{place}: it has no trials of this dataset")
        return
    best: dict[str, Row] = {}
    for row in rows:
        before = best.get(row["config_id"])
        if row["role"] == "search" and is_full(row) and (before is None or row["score"] > before["score"]):
            best[row["config_id"]] = row
    configs = []
    for row in sorted(best.values(), key=lambda row: (-row["score"], row["config_id"]))[: one.top]:
        try:
            configs.append(PipelineConfig.model_validate_json(row["config"]))
        except ValidationError:
            warm.notes.append(f"{place}: {row['config_id']} left out: it has parts that are unknown here")
    _add(warm, space, configs, place)
    if one.learn:
        reason = _other(sweep, facts, rows, other.read("datasets", one.sweep).to_pylist(), dataset)
        if reason is not None:
            warm.notes.append(f"{place}: nothing learned from its trials: {reason}")
            return
        told = [o for o in past_outcomes(other, one.sweep, dataset)["search"] if space.contains(o.config)]
        warm.outcomes.extend(told)
        count = sum(row["role"] == "search" for row in rows)
        warm.notes.append(f"{place}: learned from {len(told)} of its {count} trials, those in the space")


def _add_recommended(
    warm: Warm, space: Space, sweep: SweepConfig, dataset: str, facts: Row, one: FromTrials, other: Store
) -> None:
    earlier, evaluation = read_and_evaluated(other, sweep.name)
    place = Place(space, True, sweep.datasets[dataset].kind, OneTokenizer)  # what is cut apart has left it
    found = recommended(
        earlier, evaluation, dataset, place, facts, Wanted(), one.recommend, sweep.budget.steps
    )
    said = f"{dataset}: recommended"
    warm.notes.extend(f"{said}: {note}" for note in found.notes)
    if found.advice is not None:
        warm.notes.append(f"{said} by {found.advice.chosen.reason}")
    for config in found.configs:
        warm.notes.append(f"{said}: {config.config.config_id}: {'; '.join(config.why)}")
    _add(warm, space, [config.config for config in found.configs], said)


def _other(
    sweep: SweepConfig, facts: Row, rows: Sequence[Row], datasets: Sequence[Row], dataset: str
) -> str | None:
    """Why scores of another sweep do not compare with this one's; None where they do."""
    theirs: Row = next((row for row in datasets if row["dataset"] == dataset), {})
    if theirs.get("fingerprint") is None or theirs["fingerprint"] != facts["fingerprint"]:
        return "its rows are others"
    if theirs["metric"] != facts["metric"]:
        return f"its metric is {theirs['metric']}, here it is {facts['metric']}"
    budgets = {row["budget_steps"] for row in rows}
    if budgets != {sweep.budget.steps}:
        said = ", ".join(map(str, sorted(budgets)))
        return f"its budget is {said} steps, here it is {sweep.budget.steps}"
    return None


def _add(warm: Warm, space: Space, configs: Sequence[PipelineConfig], place: str) -> None:
    for config in configs:
        try:
            fit, changed = fitted(space, config)
        except InputError as error:
            warm.notes.append(f"{place}: {config.config_id} left out: {error}")
            continue
        if changed:
            warm.notes.append(f"{place}: {config.config_id} tried with {', '.join(changed)}")
        if fit.config_id not in {one.config_id for one in warm.configs}:
            warm.configs.append(fit)
