"""What a sweep comes to before anything runs: per dataset its data, its space and what was left out of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from distiller.pipelines.data import load_dataset
from distiller.pipelines.own import adopt_own_parts
from distiller.search.checkpoints import check_checkpoints, teacher_config
from distiller.search.method import method
from distiller.search.plan import check_preset, planned_space, preset_departures, teachers_of
from distiller.search.prepare import architectures
from distiller.search.prepared import check_inputs
from distiller.search.tokenizers import tokenizers_of
from distiller.search.warm import check_warm
from distiller.spaces.config import PipelineConfig
from distiller.spaces.own import registered
from distiller.spaces.presets import BASELINES, PRESETS
from distiller.spaces.space import Branch, Space
from distiller.spaces.sweep import SweepConfig, of_presets, parse_sweep, sweep_text


def read_sweep(reference: str, presets: Sequence[str]) -> tuple[SweepConfig, Path]:
    """The sweep as it would be launched, its inputs checked, and the folder that its paths start from.

    Raises:
        InputError: the file, a dataset, a teacher or a checkpoint is not right.
    """
    text, base = sweep_text(reference)
    sweep = parse_sweep(text, reference, base)
    if registered():
        adopt_own_parts()
    if presets:
        sweep = of_presets(sweep, presets)
    for dataset in sweep.datasets:
        planned_space(sweep, dataset)
    check_inputs(sweep, base)
    check_warm(sweep, base)
    return sweep, base


def met_space(sweep: SweepConfig, dataset: str, base: Path) -> tuple[Space, list[str], int]:
    """A dataset's space as its workers will find it, and what was taken out: teachers' layers, tokenizers.

    And the number of architectures that are trained without a teacher first.

    Raises:
        InputError: a checkpoint cannot be loaded, or teachers, students and presets do not fit together.
    """
    tokenizers = tokenizers_of(sweep, dataset, base)
    teams = teachers_of(sweep.space_of(dataset))
    leads = {team[0]: teacher_config(sweep, team[0], base) for team in teams}
    layers = min(int(lead.num_hidden_layers) for lead in leads.values())
    space, removed = planned_space(sweep, dataset, layers, tokenizers)
    found = architectures(space, leads[teams[0][0]], base)
    student = next(iter(found.values()))  # where presets start
    teacher = [{"checkpoint": name} for name in teams[0]]
    start = PipelineConfig.model_validate({"student": student, "teacher": teacher})
    for name in sweep.search.warm_presets:
        check_preset(name, PRESETS[name].applied(start, sweep.datasets[dataset].kind), dataset, tokenizers)
    return space, removed, len(found)


def outline(sweep: SweepConfig, base: Path) -> list[dict[str, Any]]:
    """One entry per dataset, plain data; loads configs and tokenizers of all checkpoints, on the hub too.

    Raises:
        InputError: one cannot be loaded, or does not fit to the others.
    """
    check_checkpoints(sweep, base)
    search = sweep.search
    finalists = search.finalists
    winners = min(1, finalists.top) * finalists.seeds
    after = finalists.top * finalists.seeds + len(BASELINES) * winners + (winners if finalists.top > 1 else 0)
    found = []
    for name, config in sweep.datasets.items():
        space, removed, references = met_space(sweep, name, base)
        data = load_dataset(name, config, base)
        found.append(
            {
                "dataset": name,
                "task": data.task.kind,
                "metric": data.task.metric,
                "rows": {split: len(rows) for split, rows in data.splits.items()},
                "choices": {
                    stage: [sorted(node.choices) for node in nodes if isinstance(node, Branch)]
                    for stage, nodes in space.stages.items()
                },
                "searched_parameters": len(space.searched()),
                "configs": space.size(),
                "left_out": [*removed, *preset_departures(sweep, name)],
                "search_trials": search.trials,
                "other_trials": references + after,
                "steps": sweep.budget.steps,
                "method": method(sweep, name, space),
            }
        )
    return found


def render_outline(entries: list[dict[str, Any]]) -> RenderableType:
    """The same for a person."""
    table = Table("dataset", "task", "rows", "unlabelled", "searched", "configs", "trials", "steps")
    for entry in entries:
        rows, configs = entry["rows"], entry["configs"]
        table.add_row(
            entry["dataset"],
            entry["task"],
            str(rows["train"]),
            str(rows["unlabeled"]),
            str(entry["searched_parameters"]),
            "∞" if configs == float("inf") else f"{configs:,.0f}",
            f"{entry['search_trials']} + {entry['other_trials']}",
            str(entry["steps"]),
        )
    notes = [Text(note) for entry in entries for note in (entry["method"], *entry["left_out"])]
    return Group(table, *notes)
