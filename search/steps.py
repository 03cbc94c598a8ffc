"""What the steps of a dataset's search consist of: references, warm starts, finalists and baselines."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distiller.results.entries import is_full
from distiller.results.finalists import finalists_of
from distiller.results.leaderboard import leaderboard
from distiller.search.assignment import Assignment, Task
from distiller.search.plan import check_preset, cuts_alike, recorded_tokenizers
from distiller.search.prepared import Prepared
from distiller.search.warm import Warm, warm_start
from distiller.spaces.config import MEAN, PipelineConfig
from distiller.spaces.presets import BASELINES, PRESETS
from distiller.spaces.student import Student

if TYPE_CHECKING:
    from distiller.search.launch import Running


@dataclass
class Trials:
    """What a dataset's steps consist of."""

    running: Running
    prepared: Prepared

    @property
    def dataset(self) -> str:
        """The dataset's name."""
        return self.prepared.dataset

    def expected_after(self) -> tuple[int, int]:
        """At most how many finalists and baselines follow the search."""
        final = self.running.sweep.search.finalists
        winners = min(final.top, 1) * final.seeds
        return final.top * final.seeds, (len(BASELINES) + (final.top > 1)) * winners

    def references(self) -> list[Assignment]:
        """Each architecture without a teacher, at the middle of the optimization's priors: what to beat."""
        sweep = self.running.sweep
        prepared = self.prepared
        assignments = []
        for student in prepared.architectures.values():
            config = PRESETS["no_teacher"].applied(self._config(student), prepared.row["task_kind"])
            assignments.append(
                Assignment(self.dataset, "baseline", sweep.search.seed, (Task(config, "warm"),))
            )
        return assignments

    def _config(self, student: Student) -> PipelineConfig:
        """A student with the prepared teachers, at the middle of the optimization's ranges."""
        return PipelineConfig.model_validate(
            {
                "student": student,
                "optimization": next(iter(self.running.space(self.dataset).points("optimization"))),
                "teacher": [{"checkpoint": name} for name in self.prepared.teacher.split(MEAN)],
            }
        )

    def warm(self) -> list[PipelineConfig]:
        """What is tried first: presets on the first student and the middle optimization, then the others."""
        base = self._config(next(iter(self.prepared.architectures.values())))
        kind = self.prepared.row["task_kind"]
        names = self.running.sweep.search.warm_presets
        configs = [PRESETS[name].applied(base, kind) for name in names]
        for name, config in zip(names, configs, strict=True):
            check_preset(name, config, self.dataset, self.prepared.tokenizers)
        return [*configs, *self.warm_started.configs]

    @cached_property
    def warm_started(self) -> Warm:
        """What of other sweeps and of recipes the search starts with."""
        running = self.running
        space, base = running.space(self.dataset), Path(running.launch.base)
        return warm_start(running.store, running.sweep, self.dataset, space, self.prepared.row, base)

    def search(self, tasks: tuple[Task, ...]) -> Assignment:
        """Trials of the search, compared at the rungs."""
        sweep = self.running.sweep
        rungs = tuple(sweep.rungs()[:-1])
        return Assignment(
            self.dataset,
            "search",
            sweep.search.seed,
            tasks,
            together=sweep.search.cohort > 1,
            rungs=rungs,
            no_teacher=self.no_teacher,
        )

    @cached_property
    def no_teacher(self) -> dict[str, float]:
        """Validation scores of the references, by architecture; read once they have ended."""
        rows = filter(is_full, self._rows("baseline"))
        seed = self.running.sweep.search.seed
        labels_only = [r for r in rows if r["seed"] == seed and r["prediction_loss"] == "labels"]
        return {row["student"]: row["score"] for row in labels_only}

    def finalists(self) -> list[Assignment]:
        """The best configs of the search on new seeds; alone in the final, a config is tested right away."""
        search = self.running.sweep.search
        rows, note = finalists_of(self._rows("search"), search)
        if note:
            self.running.console.print(f"{self.dataset}: {note}", highlight=False)
        return [
            Assignment(
                self.dataset,
                "finalist",
                search.seed + 1 + number,
                (Task(PipelineConfig.model_validate_json(row["config"]), row["origin"]),),
                test=search.finalists.top == 1,
                no_teacher=self.no_teacher,
            )
            for row in rows
            for number in range(search.finalists.seeds)
        ]

    def baselines(self) -> list[Assignment]:
        """The winner's student, optimization and seeds without a teacher and as plain Hinton KD, on test.

        Among several finalists the winner itself is trained once more, since only winners see test.
        """
        boards = {board.dataset: board for board in leaderboard(self.running.store, self.running.sweep.name)}
        winner, kind = boards[self.dataset].winner, boards[self.dataset].task_kind
        if winner is None or kind is None:
            return []
        configs = [PRESETS[name].applied(winner.config, kind) for name in BASELINES]
        tokenizers = recorded_tokenizers(self.running.store, self.running.sweep.name, self.dataset)
        configs = [config for config in configs if cuts_alike(config, tokenizers)]
        if self.running.sweep.search.finalists.top > 1:
            configs.insert(0, winner.config)
        distinct = {config.config_id: config for config in configs}  # the winner may be a baseline itself
        return [
            Assignment(
                self.dataset,
                "baseline",
                seed,
                (Task(config, "warm"),),
                test=True,
                no_teacher=self.no_teacher,
            )
            for config in distinct.values()
            for seed in winner.validation.seeds
        ]

    def _rows(self, role: str) -> list[dict[str, Any]]:
        """Rows of the dataset in a role."""
        rows: list[dict[str, Any]] = self.running.store.read("trials", self.running.sweep.name).to_pylist()
        return [row for row in rows if row["dataset"] == self.dataset and row["role"] == role]
