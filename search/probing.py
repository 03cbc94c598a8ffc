"""Cheap trials on a dataset, in this process: the first share of a few configs' budgets."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

from distiller.pipelines.demand import Demand
from distiller.pipelines.distill import Cohort, Distillation
from distiller.pipelines.material import Material
from distiller.pipelines.member import Member
from distiller.pipelines.student import layers_of
from distiller.spaces.config import PipelineConfig

SEED = 0


def probed(
    material: Material,
    steps: int,
    said: Callable[[str], None],
    configs: Mapping[str, PipelineConfig],
    share: float,
) -> dict[str, float]:
    """By id, the validation score after that share of the budget, on the schedule of all of it; NaN of a
    config that failed.

    Args:
        steps: of a full run.
        said: told what is being done.
    """
    at = max(1, round(share * steps))
    found = {}
    for number, (name, config) in enumerate(configs.items(), 1):
        said(f"{material.dataset.name}: {at} of {steps} steps of config {number} of {len(configs)}")
        depth = layers_of(config.student, material.origin(config.student).config)
        demand = Demand.of_config(config, depth, material.teacher.layers)
        own = replace(material, demand=demand, _outputs={})
        cohort = Cohort((Member(config, SEED),), steps, SEED, evaluations=1, rungs=(at,))
        (report,) = Distillation(cohort, own).advance()
        found[name] = report.score if report.error is None else math.nan
    return found
