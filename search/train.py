"""Train a recipe again, on this machine and without Ray, and save an ordinary Hugging Face student."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console

from distiller.pipelines.augment.requirements import check_choice
from distiller.pipelines.cohort import Member
from distiller.pipelines.demand import Demand
from distiller.pipelines.distill import Cohort, StudentResult, distill
from distiller.pipelines.material import prepare_material
from distiller.pipelines.own import adopt_own_parts
from distiller.pipelines.save import check_target, save_student
from distiller.pipelines.student import layers_of
from distiller.search.plan import cache_from
from distiller.search.terminal import quiet_checkpoints
from distiller.spaces.errors import InputError
from distiller.spaces.files import read_text
from distiller.spaces.recipe import parse_recipe


@dataclass(frozen=True)
class Trained:
    """What training a recipe came to.

    Attributes:
        scores: validation score of each seed.
        table_mean, table_deviation: those of the recipe's seeds, where it names them.
        test_score: of the saved student.
    """

    scores: tuple[float, ...]
    test_score: float
    table_mean: float | None
    table_deviation: float | None
    folder: Path

    @property
    def agrees(self) -> bool | None:
        """Whether the mean differs from the table's by at most 2 SD * sqrt 2; None where that is unknown."""
        if self.table_mean is None or len(self.scores) < 2:
            return None
        return abs(statistics.mean(self.scores) - self.table_mean) <= 2 * math.sqrt(2) * self.deviation

    @property
    def deviation(self) -> float:
        """The larger of the two standard deviations, the table's and that of these seeds."""
        own = statistics.stdev(self.scores) if len(self.scores) > 1 else 0.0
        return max(own, self.table_deviation or 0.0)


def train_recipe(path: Path, out: Path, seeds: int, first_seed: int, console: Console) -> Trained:
    """Train the recipe at `path` on `seeds` seeds and save the one with the best validation score.

    Raises:
        InputError: the recipe, its data or its teacher is not right, or `out` cannot be written.
        RuntimeError: a student failed.
    """
    quiet_checkpoints()
    recipe = parse_recipe(read_text(path), str(path), path.resolve().parent)
    adopt_own_parts()
    if out.is_dir() and any(out.iterdir()):  # it may hold a model that took days
        raise InputError(f"--out {out}: holds files already; name a new or empty folder")
    check_target(out)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    base = Path(recipe.base) if Path(recipe.base).is_absolute() else path.resolve().parent / recipe.base
    cache = cache_from(recipe.cache, base)
    for choice in recipe.config.augmentation:
        check_choice(choice, base, "config.augmentation")
    console.print(
        f"preparing {recipe.name} with teacher {recipe.config.teacher_name} on {device}", highlight=False
    )
    material = prepare_material(
        recipe.name,
        recipe.dataset,
        recipe.config.teacher_names,
        recipe.teachers,
        cache,
        base,
        device,
        Demand(),
    )
    material.sources.place = "config.augmentation"
    student = recipe.config.student
    depth = layers_of(student, material.origin(student).config)
    material.demand = Demand.of_config(recipe.config, depth, material.teacher.layers)
    metric = material.dataset.task.metric
    results: list[StudentResult] = []
    for seed in range(first_seed, first_seed + seeds):
        cohort = Cohort((Member(recipe.config, seed),), recipe.budget.steps, seed, recipe.budget.evaluations)
        (result,) = distill(cohort, material, test=True, keep_students=True)
        if result.error is not None:
            raise RuntimeError(f"seed {seed}: {result.error}")
        results.append(result)
        console.print(f"seed {seed}: {metric} {result.last.score:.4f} on validation", highlight=False)
    best = max(results, key=lambda r: r.last.score)
    assert best.student is not None
    scores = {
        "validation": best.last.score,
        "test": best.test_metrics[metric],
        "teacher, validation": material.teacher_scores["validation"][metric],
        "teacher, test": material.teacher_scores["test"][metric],
    }
    save_student(best.student, material, recipe.config, out, scores)
    table = recipe.scores.get("validation") or {}
    return Trained(
        scores=tuple(r.last.score for r in results),
        test_score=best.test_metrics[metric],
        table_mean=table.get("mean"),
        table_deviation=table.get("sd"),
        folder=out,
    )
