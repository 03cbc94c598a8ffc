"""What the engine costs a trial: 20 ms trials, two workers, beside plain Ray Tune with OptunaSearch.

`python tests/bench/orchestration.py --trials 1000`; orchestration is wall time between the first and the last
trial's end that was not spent in training, over the trials, as if training were spread evenly over workers.
Peaks of memory are those of the driver and of Ray's own state (its GCS); `--only` measures one of the two.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import ray  # noqa: E402
from ray import tune  # noqa: E402
from ray.tune.search.optuna import OptunaSearch  # noqa: E402
from rich.console import Console  # noqa: E402

from distiller.results.store import Store  # noqa: E402
from distiller.search.launch import launch_sweep  # noqa: E402
from distiller.search.plan import planned_space  # noqa: E402
from distiller.search.session import ray_session  # noqa: E402
from distiller.spaces.space import Space  # noqa: E402
from distiller.spaces.sweep import read_sweep  # noqa: E402
from tests.search.quick import SECONDS, TRAINER, write_quick  # noqa: E402

WORKERS, TRAINING = 2, 0.02
WHOLE = {
    "augmentation": ["none", "random"],
    "intermediate": ["none", "mse", "cosine", "pkd", "mi_alpha"],
    "prediction": ["ce", "kl", "mse"],
    "optimization": {"learning_rate": {"loguniform": [1e-5, 1e-1]}, "label_smoothing": 0.0},
}
"""A conditional space of the usual size; only the quick trainer's own questions have an answer in it."""


def ours(folder: Path, trials: int, sampler: str) -> dict[str, float]:
    """A sweep of the quick trainer."""
    search = {"trials": trials, "sampler": sampler}
    path = write_quick(folder, space=WHOLE, search=search)
    started = time.perf_counter()
    running = launch_sweep(str(path), str(folder / "store"), None, Console(quiet=True), trainer=TRAINER)
    launched = time.perf_counter() - started
    rows = [r for r in Store.open(running.store.url).read("trials").to_pylist() if r["role"] == "search"]
    ended = sorted(row["ended_at"] for row in rows)
    wall = (ended[-1] - ended[0]).total_seconds()
    return {**_figures(wall, len(rows)), "launch_seconds": round(launched, 1)}


class Sleeper(tune.Trainable):
    """As small as a trial can be."""

    def setup(self, config: dict[str, Any]) -> None:
        """Nothing to set up."""

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        return True

    def step(self) -> dict[str, Any]:
        time.sleep(TRAINING)
        return {"score": 0.5, "done": True, "at": time.time()}


def plain(folder: Path, trials: int) -> dict[str, float]:
    """Ray Tune with OptunaSearch and reused actors over the same space, nothing written by the trials."""
    path = write_quick(folder, space=WHOLE)
    space, _ = planned_space(read_sweep(path.read_text(), "quick"), "letters")
    ended: list[float] = []

    class Times(tune.Callback):
        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            ended.append(time.perf_counter())

    tune.Tuner(
        tune.with_resources(Sleeper, {"CPU": 1}),
        tune_config=tune.TuneConfig(
            search_alg=OptunaSearch(space=partial(_ask, space), metric="score", mode="max"),
            num_samples=trials,
            max_concurrent_trials=WORKERS,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            storage_path=str(folder / "ray"),
            callbacks=[Times()],
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            verbose=0,
        ),
    ).fit()
    return _figures(ended[-1] - ended[0], len(ended))


def _ask(space: Space, trial: Any) -> None:
    space.suggest(trial)


def _figures(wall: float, trials: int) -> dict[str, float]:
    overhead = (wall - TRAINING * (trials - 1) / WORKERS) / (trials - 1)
    return {
        "trials": trials,
        "overhead_ms": round(1000 * overhead, 1),
        "driver_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        "ray_state_mib": _peak_mib("gcs_server"),
    }


def _peak_mib(name: str) -> int:
    """Highest resident memory so far of the newest process of that name."""
    newest = max(int(path.parent.name) for path in Path("/proc").glob("[0-9]*/comm") if _reads(path, name))
    (line,) = (
        line for line in Path(f"/proc/{newest}/status").read_text().splitlines() if line.startswith("VmHWM")
    )
    return int(line.split()[1]) >> 10


def _reads(path: Path, name: str) -> bool:
    try:
        return path.read_text().strip() == name
    except OSError:  # it has just ended
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--sampler", default="tpe")
    parser.add_argument("--only", choices=("ours", "plain"))
    options = parser.parse_args()
    os.environ[SECONDS] = str(TRAINING)
    os.environ["PYTHONPATH"] = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    with tempfile.TemporaryDirectory() as scratch, ray_session(None):
        if options.only != "plain":
            print("ours", json.dumps(ours(Path(scratch) / "ours", options.trials, options.sampler)))
        if options.only != "ours":
            print("plain", json.dumps(plain(Path(scratch) / "plain", options.trials)))
        ray.shutdown()


if __name__ == "__main__":
    main()
