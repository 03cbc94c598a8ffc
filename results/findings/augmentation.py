"""Claim: augmentation helps most for small data or small students."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from distiller.results.comparison.best_of_n import LEVEL, Estimate, Floats
from distiller.results.comparison.compare import ROPE
from distiller.results.comparison.differences import FEWEST, corrected
from distiller.results.comparison.question import always_asked, labelled
from distiller.results.comparison.selection import metric_of
from distiller.results.comparison.surrogate import Surrogates
from distiller.results.design import Design
from distiller.results.findings.basis import BASIS_RULE, basis, sharpened
from distiller.results.findings.report import Finding, Verdict

NAME = STAGE = "augmentation"
CLAIM = "Augmentation helps most for small data or small students."
RULE = (
    "The gain of any augmentation over none is compared between the smallest and the largest train size of a "
    "dataset, and between the smaller and the larger students; Welch's t test, Holm-corrected over the two. "
    "Supported: in one of them the small side gains more (p below 0.05), and gains at all (p below 0.05). "
    f"Not supported: in each that can be tested it gains at most {ROPE} more (95% interval), or nothing. "
    "Else: cannot tell. " + BASIS_RULE
)


@dataclass(frozen=True)
class Cell:
    """Scores with and without augmentation on one side of a contrast."""

    with_any: Floats
    without: Floats

    @property
    def enough(self) -> bool:
        return min(len(self.with_any), len(self.without)) >= FEWEST


@dataclass(frozen=True)
class Contrast:
    """A small side and a large side: two train sizes, or two student sizes on one dataset."""

    name: str
    small: Cell
    large: Cell


def helps_small(
    trials: pd.DataFrame,
    designs: Mapping[str, Design],
    train_rows: Mapping[str, int],
    *,
    seed: int = 0,
    surrogates: Surrogates | None = None,
) -> Finding:
    """`train_rows` are the rows asked for, by dataset: NAME-500 and NAME-2000 are two sizes of NAME."""
    surrogates = surrogates or Surrogates(trials, designs, seed=seed)
    trials = surrogates.trials
    usable = basis(trials, designs, STAGE, 2 * FEWEST)
    cells = {
        name: pair
        for name, rows in usable.rows.items()
        if (pair := _augmented(rows, name, designs[name], surrogates)) is not None
    }
    routes = {
        "train size": list(_sizes(cells, train_rows)),
        "student size": list(_students(cells)),
    }
    numbers: dict[str, Any] = {"left_out": usable.left_out}
    more, helped = {}, {}
    for route, found in routes.items():
        kept = [one for one in found if one.small.enough and one.large.enough]
        if kept:
            more[route] = _mean([(one.small, 1.0) for one in kept] + [(one.large, -1.0) for one in kept])
            helped[route] = _mean([(one.small, 1.0) for one in kept])
            numbers[route] = {"of": [one.name for one in kept], "gain_where_small": helped[route]}
    if not more:
        why = "; ".join(usable.left_out) or (
            "there are neither two train sizes of a dataset nor two student sizes with "
            f"{FEWEST} full runs each with and without augmentation"
        )
        return Finding(NAME, CLAIM, "cannot tell", why, RULE, (), 0, numbers=numbers)
    tested = dict(zip(more, corrected(list(more.values())), strict=True))
    gains = {route: one for route, one in tested.items() if one is not None}
    for route, one in gains.items():
        numbers[route]["gains_more_by"] = one
    verdict, route = _verdict(gains, helped)
    reason = "; ".join(
        f"{key}: the small side gains {helped[key].value:+.4f}, {abs(one.value):.4f} "
        f"{'more' if one.value >= 0 else 'less'} than the large one"
        for key, one in gains.items()
    )
    names = tuple(usable.rows)
    unit = " and ".join(dict.fromkeys(metric_of(trials, name) or "score" for name in names))
    return Finding(NAME, CLAIM, verdict, reason, RULE, names, usable.trials, gains[route], unit, numbers)


def _verdict(gains: Mapping[str, Estimate], helped: Mapping[str, Estimate]) -> tuple[Verdict, str]:
    """And the contrast that decides."""

    def shown(one: Estimate, p: float | None) -> bool:
        return one.value > 0 and p is not None and p < 1 - LEVEL

    for route, one in gains.items():
        if shown(one, one.p_holm) and shown(helped[route], helped[route].p):
            return "supported", route
    largest = max(gains, key=lambda route: gains[route].value)
    against = [
        (one.high is not None and one.high < ROPE)
        or (helped[route].high is not None and float(helped[route].high or 0.0) < 0)
        for route, one in gains.items()
    ]
    return ("not supported" if all(against) else "cannot tell"), largest


Scored = tuple[pd.DataFrame, npt.NDArray[np.bool_]]


def _augmented(rows: pd.DataFrame, dataset: str, design: Design, surrogates: Surrogates) -> Scored | None:
    """The rows, sharpened, and whether any augmentation was applied; None where it is never left out."""
    columns = [q.column for q in always_asked(design, STAGE) if "none" in getattr(q.prior, "values", ())]
    if not columns:
        return None
    applied = np.zeros(len(rows), dtype=bool)
    for column in columns:
        applied |= labelled(rows[column]) != "none"
    return sharpened(rows, dataset, STAGE, surrogates), applied


def _cell(scored: Scored, some: npt.NDArray[np.bool_] | None = None) -> Cell:
    rows, applied = scored
    scores = rows["score"].to_numpy(dtype=np.float64)
    kept = np.ones(len(scores), dtype=bool) if some is None else some
    return Cell(scores[kept & applied], scores[kept & ~applied])


def _sizes(cells: Mapping[str, Scored], train_rows: Mapping[str, int]) -> Iterator[Contrast]:
    """Each dataset that was searched at several train sizes, the smallest beside the largest."""
    families: dict[str, list[str]] = {}
    for name in cells:
        match = re.fullmatch(r"(.+)-(\d+)", name)
        if match and train_rows.get(name) == int(match[2]):
            families.setdefault(match[1], []).append(name)
    for family, names in families.items():
        if len(names) > 1:
            ordered = sorted(names, key=lambda name: train_rows[name])
            yield Contrast(family, _cell(cells[ordered[0]]), _cell(cells[ordered[-1]]))


def _students(cells: Mapping[str, Scored]) -> Iterator[Contrast]:
    """Each dataset with students of several sizes: the smaller half of the sizes beside the larger."""
    for name, scored in cells.items():
        rows = scored[0]
        if "parameters" not in rows:
            continue
        parameters = rows["parameters"].to_numpy(dtype=np.float64, na_value=np.nan)
        sizes = np.unique(parameters[np.isfinite(parameters)])
        if len(sizes) > 1:
            half = len(sizes) // 2
            small, large = parameters <= sizes[half - 1], parameters >= sizes[len(sizes) - half]
            yield Contrast(name, _cell(scored, small), _cell(scored, large))


def _mean(cells: Sequence[tuple[Cell, float]]) -> Estimate:
    """The signed gains of the cells, the mean over contrasts; Welch and Satterthwaite's t for such a sum."""
    number = sum(sign > 0 for _, sign in cells)
    samples = [(s, sign / number) for cell, sign in cells for s in (cell.with_any,)]
    samples += [(s, -sign / number) for cell, sign in cells for s in (cell.without,)]
    value = sum(weight * float(sample.mean()) for sample, weight in samples)
    parts = [weight**2 * float(sample.var(ddof=1)) / len(sample) for sample, weight in samples]
    variance = sum(parts)
    if not variance > 0:
        return Estimate(value)
    freedom = variance**2 / sum(p**2 / (len(s) - 1) for p, (s, _) in zip(parts, samples, strict=True))
    error = float(np.sqrt(variance))
    half = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * error
    p = 2 * float(stats.t.sf(abs(value) / error, freedom))
    return Estimate(value, value - half, value + half, p)
