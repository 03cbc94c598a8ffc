"""`distiller recommend --dataset`: a sweep's file in, configs to train on its datasets out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from distiller.pipelines.own import adopt_own_parts
from distiller.results.export import write_file
from distiller.results.frozen import frozen_sweep
from distiller.results.store import Store
from distiller.search.candidates import Place, Wanted
from distiller.search.checkpoints import teacher_config
from distiller.search.describing import described
from distiller.search.plan import planned_space, teachers_of
from distiller.search.prepared import check_inputs
from distiller.search.probing import probed
from distiller.search.recommendation_text import render_recommendation
from distiller.search.recommending import Recommendation, read_and_evaluated, recommended
from distiller.search.tokenizers import tokenizers_of
from distiller.spaces.errors import InputError
from distiller.spaces.recipe import Recipe, check_recipe
from distiller.spaces.sweep import AUTO, SweepConfig, auto_name, of_configs


def advised(
    sweep: SweepConfig,
    base: Path,
    store: Store | None,
    sweeps: Sequence[str],
    related: Sequence[str],
    without: Sequence[str],
    wanted: Wanted,
    top: int,
    said: Callable[[str], None],
    probing: bool = False,
) -> list[Recommendation]:
    """For each dataset of a sweep, configs to train.

    Args:
        base: where the sweep's paths start.
        store: of earlier trials; None where there is none.
        sweeps: which of its sweeps count; none for all but the one of this name.
        related, without: groups of datasets; datasets that are left out with their groups.
        said: told what is being done.
        probing: whether cheap trials are run, where a recommender asks for them.

    Raises:
        InputError: the data, a teacher, or something asked for is not right.
    """
    adopt_own_parts()
    check_inputs(sweep, base)
    earlier, evaluation = None, None
    if store:
        earlier, evaluation = read_and_evaluated(store, sweep.name, sweeps, related, without, said)
    found = []
    for dataset in sweep.datasets:
        facts: dict[str, Any] = {}
        notes: tuple[str, ...] = ()
        trial = None
        if earlier is not None:
            said(f"{dataset}: its teacher and what it is like")
            here = described(sweep, dataset, base, store)
            facts, notes = here.row, here.notes
            if probing:
                trial = partial(probed, here.material, sweep.budget.steps, said)
        place = place_of_dataset(sweep, dataset, base)
        steps = sweep.budget.steps
        one = recommended(earlier, evaluation, dataset, place, facts, wanted, top, steps, trial)
        found.append(Recommendation(dataset, one.configs, one.advice, (*notes, *one.notes)))
    return found


def auto_sweep(
    sweep: SweepConfig, base: Path, store_url: str, presets: Sequence[str], console: Console
) -> SweepConfig:
    """The sweep with the one config that is recommended for each dataset in place of its search; launched
    again, with the same ones.

    Raises:
        InputError: other presets are named too, or nothing is recommended.
    """
    if list(presets) != [AUTO]:
        raise InputError(f"--preset {AUTO}: stands alone; leave the other presets out")
    store = Store.open(store_url) if Store.is_at(store_url) else None
    before = frozen_sweep(store, auto_name(sweep.name)) if store else None
    if before is not None:
        chosen = {name: before.space_of(name) for name in before.datasets if name in sweep.datasets}
        return of_configs(sweep, {name: next(space.grid()) for name, space in chosen.items()})
    found = advised(sweep, base, store, (), (), (), Wanted(), 1, lambda text: console.print(text))
    for one in found:
        if not one.configs:
            raise InputError(
                f"--preset {AUTO}: nothing is recommended for {one.dataset}: {'; '.join(one.notes)}"
            )
        console.print(render_recommendation(one))
    return of_configs(sweep, {one.dataset: one.configs[0].config for one in found})


def place_of_dataset(sweep: SweepConfig, dataset: str, base: Path) -> Place:
    """Where configs are to be trained.

    Raises:
        InputError: a checkpoint cannot be loaded.
    """
    tokenizers = tokenizers_of(sweep, dataset, base)
    lead = teacher_config(sweep, teachers_of(sweep.space_of(dataset))[0][0], base)
    layers = int(lead.num_hidden_layers)
    narrowed = bool(sweep.space or sweep.space_for.get(dataset))
    space, _ = planned_space(sweep, dataset, layers if narrowed else None, tokenizers)
    return Place(space, narrowed, sweep.datasets[dataset].kind, tokenizers, layers)


def write_recipes(sweep: SweepConfig, base: Path, found: Recommendation, store: str, out: Path) -> list[Path]:
    """Each config as `<out>/<dataset>-<place>.yaml`, which `distiller train` takes.

    Raises:
        InputError: one cannot be written.
    """
    written = {name: getattr(sweep, name) for name in ("cache", "parts") if name in sweep.model_fields_set}
    method = found.advice.chosen.method if found.advice else ""
    paths = []
    for number, one in enumerate(found.configs, 1):
        used = {teacher.checkpoint for teacher in one.config.teacher}
        recipe = Recipe(
            name=found.dataset,
            dataset=sweep.datasets[found.dataset],
            base=str(base),
            teachers={name: teacher for name, teacher in sweep.teachers.items() if name in used},
            budget=sweep.budget,
            config=one.config,
            **written,
            scores={"predicted_share_of_teacher": vars(one.ratio)} if one.ratio else {},
            provenance={
                "recommended": number,
                "by": f"preset {one.preset}" if one.preset else method,
                "store": store,
                "config_id": one.config.config_id,
            },
        )
        path = out / f"{found.dataset}-{number}.yaml"
        text = f"# Train it: distiller train {path.as_posix()} --out student/\n{recipe.to_yaml()}"
        check_recipe(text, str(path))
        write_file(path, text)
        paths.append(path)
    return paths
