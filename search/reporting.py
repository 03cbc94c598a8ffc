"""What a report tells of a sweep, computed by the functions behind the other commands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

from distiller.results.comparison import AblationPath, ComparisonResult
from distiller.results.comparison.compare import compare
from distiller.results.comparison.question import always_asked
from distiller.results.comparison.selection import is_full, searched
from distiller.results.comparison.surrogate import Surrogates
from distiller.results.design import Design
from distiller.results.findings import find
from distiller.results.frames import to_frame
from distiller.results.frozen import frozen_sweep
from distiller.results.importance import Importance
from distiller.results.report import Analysis, Report, write_report
from distiller.results.store import Store
from distiller.search.comparing import ablation_paths
from distiller.search.designs import designs
from distiller.search.summary import importances
from distiller.spaces.errors import InputError
from distiller.spaces.priors import OneOf

MOST_COMPARED = 2_000_000
"""Full runs times choices, over all questions, that are compared for a report: about a minute on a core."""
Answer = TypeVar("Answer")
PRESET = "hinton"
"""Where the way to the best config starts, unless paths from other presets were run."""


def analyse(
    store: Store,
    sweep: str,
    found: Mapping[str, Importance] | None = None,
    said: Callable[[str], None] = lambda _: None,
) -> Analysis:
    """All answers on a sweep; what cannot be told is named, with the reason, and the rest is told.

    Args:
        found: importance, where it is known already.
        said: hears what is computed next.
    """
    missing: list[str] = []

    def attempt(name: str, work: Callable[[], Answer]) -> Answer | None:
        said(name)
        try:
            return work()
        except InputError as error:
            missing.append(f"no {name}: {error}")
            return None

    design = attempt("importance and comparisons", lambda: designs(store, sweep))
    trials = to_frame(store.read("trials", sweep))
    if design is None or trials.empty:
        return Analysis(design or {}, missing=tuple(missing))
    if found is None:
        found = attempt("importance", lambda: importances(store, sweep))
    surrogates = Surrogates(trials, design)
    comparisons = tuple(_comparisons(surrogates, design, missing, said))
    config = frozen_sweep(store, sweep)
    sizes = {name: one.train_rows for name, one in config.datasets.items()} if config else {}
    rows = {name: size for name, size in sizes.items() if size is not None}
    findings = (
        attempt("findings", lambda: find(trials, design, found, rows, surrogates=surrogates))
        if found
        else None
    )
    run = trials.loc[trials["role"] == "ablation", "preset"].dropna().unique().tolist()
    paths: list[AblationPath] = []
    for preset in (run or [PRESET]) if config else ():  # only a sweep has recipes to start from
        paths += (
            attempt(f"path from {preset}", partial(ablation_paths, store, sweep, preset, surrogates)) or ()
        )
    shares = {name: one.to_dict() for name, one in found.items()} if found else {}
    return Analysis(design, shares, comparisons, findings, tuple(paths), tuple(missing))


def _comparisons(
    surrogates: Surrogates, design: Mapping[str, Design], missing: list[str], said: Callable[[str], None]
) -> Iterator[ComparisonResult]:
    """Of every question that all configs answer with one of several choices, as far as there is time."""
    rows = searched(surrogates.trials)
    full = int(is_full(rows).sum())
    left, left_out = MOST_COMPARED, []
    for path, choices in _questions(design).items():
        if choices * full > left:
            left_out.append(path)
            continue
        left -= choices * full
        said(f"comparing {path}")
        try:
            yield compare(surrogates.trials, design, path, surrogates=surrogates)
        except InputError as error:
            missing.append(f"no comparison of {error}")
    if left_out:
        missing.append(
            f"not compared here, for {full:,} full runs take their time: {', '.join(left_out)}; "
            f"`distiller compare {left_out[0]}` does it"
        )


def _questions(design: Mapping[str, Design]) -> dict[str, int]:
    """By path, the number of choices."""
    found: dict[str, int] = {}
    for one in design.values():
        for stage in one.searched_stages():
            for question in always_asked(one, stage):
                if isinstance(question.prior, OneOf):
                    found[question.path] = max(found.get(question.path, 0), len(question.prior.values))
    return found


def report(store: Store, sweep: str, out: Path, found: Mapping[str, Importance] | None = None) -> Report:
    """Writes the report of a sweep with all answers in it."""
    return write_report(store, sweep, out, analyse(store, sweep, found))
