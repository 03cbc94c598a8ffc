"""Importance against a known truth: error, coverage, width, power and speed, beside Optuna's evaluators.

    python -m tests.bench.importance --repetitions 100 --trials 1000 --jobs 2

Each repetition is a case of its own (`tests/truth`): other stage functions, other shares, other trials.
Shares are of the noise-free variance. Standard errors are over repetitions, whose stages go together. Seconds
are those of the processor, in one thread, but for the table of speed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import optuna
from rich.console import Console
from rich.progress import track

from distiller.results.importance import importance
from tests.bench.importance_figures import Record, bootstrap_summary, rival_summary, summary, verdicts
from tests.bench.importance_tables import show
from tests.bench.rivals import bootstrap, makers, optuna_answers
from tests.truth.shapes import SHAPES, STEERED
from tests.truth.tables import Case

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "build" / "truth"
MAKERS = ("spaces/*.py", "search/samplers/*.py", "tests/truth/[rs]*.py", "tests/truth/t[ar]*.py")
"""What the sampler's trails come of."""


def case_of(shape: str, trials: int, seed: int) -> Case:
    """The case; the trails of the sampler are kept, as long as nothing that makes them changes."""
    if shape not in STEERED:
        return SHAPES[shape](trials, seed)
    digest = hashlib.sha256(optuna.__version__.encode())
    for files in MAKERS:
        for path in sorted(ROOT.glob(files)):
            digest.update(path.read_bytes())
    KEPT.mkdir(parents=True, exist_ok=True)
    return STEERED[shape](trials, seed, KEPT / f"{shape}-{trials}-{seed}-{digest.hexdigest()[:12]}.parquet")


def repetition(
    task: tuple[str, int], trials: int, first: int, rivals: int, resampled: int, fanova: Sequence[str]
) -> Record:
    """One case: the truth beside what is found, as plain numbers; the first ones by rivals too."""
    shape, seed = task
    case = case_of(shape, trials, seed)
    truth = case.truth
    began = time.process_time()
    found = importance(case.trials, case.design, epochs=case.epochs, seed=seed, intervals=True)
    seconds = time.process_time() - began
    shares = {share.stage: share for share in found.stages}
    stages = {
        stage: {
            "main": truth.main(stage),
            "total": truth.total(stage),
            **(
                {
                    "found_main": shares[stage].main,
                    "found_total": shares[stage].total,
                    "main_interval": ends(shares[stage].main_interval),
                    "total_interval": ends(shares[stage].total_interval),
                    "influential": shares[stage].influential,
                }
                if stage in shares
                else {"influential": False}
            ),
        }
        for stage in truth.stages
    }
    record: Record = {
        "shape": shape,
        "seed": seed,
        "seconds": seconds,
        "verdict": found.verdict,
        "r2": found.r2,
        "noise_share": found.noise_share,
        "true_noise_share": truth.noise_share,
        "stages": stages,
        "pairs": [abs(pair.share - truth.pair(*pair.stages)) for pair in found.pairs],
        "parameters": [
            abs(part.share - truth.parameters[part.path])
            for part in found.parameters
            if truth.parameters is not None and part.kind != "interactions"
        ],
        "null_parameter": max(
            (part.share for part in found.parameters if part.path in truth.null_parameters), default=0.0
        ),
    }
    if seed - first < rivals:
        record["rivals"] = {
            name: {
                "main": answer.main,
                "told": answer.told,
                "searched": answer.searched,
                "seconds": answer.seconds,
            }
            for name, answer in optuna_answers(case, seed, shape in fanova).items()
        }
    if seed - first < resampled:
        record["bootstrap"] = bootstrap(case, seed)
    return record


def ends(interval: tuple[float, float] | None) -> list[float] | None:
    """Both ends as plain numbers; None where there is no interval."""
    return None if interval is None else [float(end) for end in interval]


def run(
    shapes: Sequence[str], repetitions: int, jobs: int, work: Callable[[tuple[str, int]], Record], first: int
) -> list[Record]:
    """All cases, in as many processes; a shape's first, so that all are there when time runs short."""
    tasks = [(shape, seed) for seed in range(first, first + repetitions) for shape in shapes]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        done = pool.map(work, tasks)
        console = Console(stderr=True)
        return list(track(done, "cases", len(tasks), console=console))


def speed(trials: int, repeats: int) -> dict[str, list[float]]:
    """Seconds for one large table with interactions, all subsets, on two threads."""
    case = case_of("interaction", trials, 0)
    found: dict[str, list[float]] = {}
    for kind, intervals in (("without intervals", False), ("with intervals", True)):
        found[kind] = []
        for _ in range(repeats):
            began = time.perf_counter()
            importance(case.trials, case.design, epochs=case.epochs, intervals=intervals, threads=2)
            found[kind].append(time.perf_counter() - began)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--rivals", type=int, default=2, help="repetitions that Optuna's evaluators get")
    parser.add_argument(
        "--fanova",
        nargs="*",
        choices=list(SHAPES),
        default=["interaction"],
        help="shapes that Optuna's own fANOVA is run on: it takes a minute or more a case",
    )
    parser.add_argument("--bootstrap", type=int, default=2, help="repetitions with a plain bootstrap")
    parser.add_argument("--speed-trials", type=int, default=10_000, help="0: speed is not measured")
    parser.add_argument("--json", action="store_true", help="figures and all cases as JSON, no tables")
    options = parser.parse_args()
    work = partial(
        repetition,
        trials=options.trials,
        first=options.first_seed,
        rivals=options.rivals,
        resampled=options.bootstrap,
        fanova=options.fanova,
    )
    records = run(options.shapes, options.repetitions, options.jobs, work, options.first_seed)
    shapes = {}
    for shape in options.shapes:
        mine = [record for record in records if record["shape"] == shape]
        figures = summary(mine)
        shapes[shape] = {
            "figures": figures,
            "targets": verdicts(figures),
            "rivals": rival_summary(mine),
            "bootstrap": bootstrap_summary(mine),
        }
    missing = [] if "optuna-fast-fanova" in makers() else ["optuna-fast-fanova is not installed: left out"]
    report = {
        "trials": options.trials,
        "shapes": shapes,
        "speed_trials": options.speed_trials,
        "speed": speed(options.speed_trials, 3) if options.speed_trials else {},
        "missing": missing,
    }
    if options.json:
        json.dump({**report, "cases": records}, sys.stdout)
    else:
        show(Console(width=150), report)


if __name__ == "__main__":
    main()
