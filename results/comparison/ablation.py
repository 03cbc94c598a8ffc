"""The path from a preset to the best config, stage by stage, as predicted and as measured.

After Fawcett & Hoos 2016, "Analysing differences between algorithm configurations through ablation": from the
one to the other, each step changes the stage that gains most. With predictions in place of runs this is
their "surrogate" variant (Biedenkapp et al. 2017).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from distiller.results.comparison.best_of_n import Estimate
from distiller.results.comparison.differences import student
from distiller.results.comparison.membership import outside
from distiller.results.comparison.path import AblationPath, AblationStep, Score
from distiller.results.comparison.question import label
from distiller.results.comparison.selection import is_full, metric_of
from distiller.results.comparison.surrogate import CrossFit, Surrogates
from distiller.results.design import Design
from distiller.spaces.choice import Union
from distiller.spaces.config import STAGES, PipelineConfig
from distiller.spaces.presets import PRESETS

R2_NEEDED = 0.1
"""Held-out R2 below which the order of the steps is little more than a guess."""
SHOWN = 3
"""Parameters that a step names."""


def start_of(preset: str, best: PipelineConfig, design: Design, task_kind: str) -> PipelineConfig:
    """The preset where a search would try it: the best config's student and teacher, and the middle of the
    optimization that was searched."""
    middle = {q.column: q.prior.grid(1)[0] for q in design.stages.get("optimization", ())}
    columns = {**best.columns(), **middle}
    return PRESETS[preset].applied(PipelineConfig.from_columns(columns), task_kind)


def ablation_path(
    trials: pd.DataFrame,
    dataset: str,
    design: Design,
    preset: str,
    start: PipelineConfig,
    best: PipelineConfig,
    *,
    surrogates: Surrogates | None = None,
) -> AblationPath:
    """From `start` to `best`; steps are measured by the rows of role `ablation` that `trials` has.

    Stages whose start is outside the design cannot be predicted: they are changed first, in their order.
    """
    predictor = (surrogates or Surrogates(trials, {dataset: design})).predictor(dataset)
    differing = [stage for stage in STAGES if getattr(start, stage) != getattr(best, stage)]
    apart = {stage: outside(design, start.columns(), stage) for stage in STAGES}
    last = next((said for stage in STAGES if (said := outside(design, best.columns(), stage))), "")
    runs = _runs(trials, dataset)
    steps = [_step(None, start, start, _predicted(predictor, start, apart, last), runs, None)]
    now = start
    while differing:
        unknown = [stage for stage in differing if apart[stage]]
        options = {stage: _changed(now, stage, best) for stage in unknown[:1] or differing}
        scores = {
            stage: _predicted(predictor, config, {**apart, stage: ""}, last)
            for stage, config in options.items()
        }
        stage = max(options, key=lambda s: -np.inf if (v := scores[s].value) is None else v)
        note = f"the start is outside the searched space ({apart[stage]})" if apart[stage] else ""
        apart[stage] = ""
        differing.remove(stage)
        steps.append(_step(stage, now, options[stage], scores[stage], runs, steps[-1], note))
        now = options[stage]
    measured = all(step.measured is not None for step in steps)
    return AblationPath(
        dataset,
        metric_of(trials, dataset),
        preset,
        "measured" if measured else "predicted" if any(s.predicted.value for s in steps) else "not predicted",
        predictor.r2 if predictor else None,
        tuple(steps),
        tuple(_notes(predictor, last, steps, measured)),
    )


def _changed(config: PipelineConfig, stage: str, best: PipelineConfig) -> PipelineConfig:
    return config.model_copy(update={stage: getattr(best, stage)})


def _predicted(
    predictor: CrossFit | None, config: PipelineConfig, apart: Mapping[str, str], last: str
) -> Score:
    if predictor is None or last or any(apart.values()):
        return Score("not predicted", None)
    value = predictor.predict(pd.DataFrame([config.columns()]))
    return Score("predicted", float(value[0]))


def _runs(trials: pd.DataFrame, dataset: str) -> dict[str, dict[int, float]]:
    """By config_id the scores of full ablation runs by seed."""
    rows = trials[(trials["dataset"] == dataset) & (trials["role"] == "ablation")]
    rows = rows[is_full(rows)]
    found: dict[str, dict[int, float]] = {}
    for config_id, seed, score in rows[["config_id", "seed", "score"]].itertuples(index=False):
        found.setdefault(str(config_id), {})[int(seed)] = float(score)
    return found


def _step(
    stage: str | None,
    before: PipelineConfig,
    config: PipelineConfig,
    predicted: Score,
    runs: Mapping[str, Mapping[int, float]],
    previous: AblationStep | None,
    note: str = "",
) -> AblationStep:
    scores = runs.get(config.config_id, {})
    values = np.array(list(scores.values()))
    measured = None
    if len(values):
        sd = float(values.std(ddof=1)) if len(values) > 1 else None
        measured = Score("measured", float(values.mean()), sd, len(values))
    gain, label = None, ""
    if previous is not None:
        earlier = runs.get(previous.config_id, {})
        if both := sorted(set(scores) & set(earlier)):
            gaps = np.array([scores[seed] - earlier[seed] for seed in both])
            gain, label = Estimate(float(gaps.mean()), *student(gaps)), "measured"
        elif predicted.value is not None and previous.predicted.value is not None:
            gain, label = Estimate(predicted.value - previous.predicted.value), "predicted"
    was, became = (
        ("", "") if stage is None else (in_short(before, config, stage), in_short(config, before, stage))
    )
    written = config.model_dump(mode="json")
    return AblationStep(stage, was, became, config.config_id, written, predicted, measured, gain, note, label)


def in_short(config: PipelineConfig, other: PipelineConfig, stage: str) -> str:
    """A stage's choices, and the parameters in which it differs from the other config's."""
    part = STAGES[stage].part
    names = [str(getattr(c, part.tag)) for c in config.slots(stage)] if isinstance(part, Union) else []
    mine, theirs = config.columns(), other.columns()
    own = [c for c in mine if c.startswith(f"{stage}_") and mine[c] != theirs.get(c)]
    told = [f"{c.removeprefix(stage + '_')} {label(mine[c])}" for c in own if label(mine[c]) not in names]
    more = ", …" if len(told) > SHOWN else ""
    said = ", ".join(told[:SHOWN]) + more
    if not names:
        return said
    return " + ".join(names) + (f" ({said})" if said else "")


def _notes(predictor: CrossFit | None, last: str, steps: Sequence[AblationStep], measured: bool) -> list[str]:
    said = [
        "student and teacher are those of the best config; optimization starts at the middle of its ranges"
    ]
    if predictor is None:
        said.append("too few full search runs to predict anything: the stages are in the pipeline's order")
    elif predictor.r2 < R2_NEEDED:
        said.append(
            f"held-out R2 of the predictions is {predictor.r2:.2f}: their order is little but a guess"
        )
    if last:
        said.append(f"the best config is outside the searched space ({last}): nothing can be predicted")
    if not measured:
        without = sum(step.measured is None for step in steps)
        said.append(f"{without} of {len(steps)} steps have not been run; --run trains them")
    return said


def missing(
    path: AblationPath, trials: pd.DataFrame, seeds: Sequence[int]
) -> list[tuple[PipelineConfig, int]]:
    """The (config, seed) of the path that have no terminal row of role `ablation` yet."""
    rows = trials[(trials["dataset"] == path.dataset) & (trials["role"] == "ablation")]
    there = {(str(c), int(s)) for c, s in rows[["config_id", "seed"]].itertuples(index=False)}
    return [
        (PipelineConfig.model_validate(step.config), seed)
        for step in path.steps
        for seed in seeds
        if (step.config_id, seed) not in there
    ]
