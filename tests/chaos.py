"""`make chaos`: faults, many times over, to real sweeps; a table of what each left behind."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.search.faults import Sweep, kill_drivers, kill_node, kill_raylet, kill_workers
from tests.search.quick import HANGS, KILLED, NAN, RAISES, TOO_BIG, WELL

COUNTS = ("lost", "changed", "doubled", "missing", "unfinished", "begun again")


def killed_drivers(folder: Path, times: int) -> tuple[Sweep, int]:
    """SIGKILL of the driver at random moments."""
    sweep = Sweep(folder, sections={"search": {"trials": 20 * times}}, seconds=0.1)
    kill_drivers(sweep, times, seed=times)
    return sweep, 20 * times


def killed_workers(folder: Path, times: int) -> tuple[Sweep, int]:
    """SIGKILL of workers in mid-trial."""
    sweep = Sweep(folder, sections={"search": {"trials": 15 * times}}, seconds=0.2)
    kill_workers(sweep, times)
    return sweep, 15 * times


def killed_raylet(folder: Path, times: int) -> tuple[Sweep, int]:
    """SIGKILL of the raylet."""
    sweep = Sweep(folder, sections={"search": {"trials": 40}}, seconds=0.1)
    for _ in range(times):
        kill_raylet(sweep)
    return sweep, 40


def killed_node(folder: Path, times: int) -> tuple[Sweep, int]:
    """SIGKILL of a whole node of a cluster of three."""
    sweep = Sweep(folder, sections={"search": {"trials": 60}}, seconds=0.5)
    for _ in range(times):
        kill_node(sweep)
    return sweep, 60


def misbehaving_trials(folder: Path, times: int) -> tuple[Sweep, int]:
    """NaN, an exception, a failed allocation, a poison config, a hang; `times` of each."""
    faults = (WELL, NAN, RAISES, KILLED, HANGS, TOO_BIG)
    space = {"prediction": {"kl": {"hard_weight": [i / times for i in range(times)], "temperature": 2}}}
    trials = times * len(faults)
    sections = {"search": {"sampler": "grid", "grid_levels": 1, "trials": trials}, "space": space}
    sweep = Sweep(folder, faults, sections | {"resources": {"trial_minutes": 0.05}})
    sweep.finish()
    return sweep, trials


FAULTS: dict[str, tuple[Callable[[Path, int], tuple[Sweep, int]], int]] = {
    "driver killed": (killed_drivers, 20),
    "worker killed": (killed_workers, 5),
    "raylet killed": (killed_raylet, 1),
    "node killed": (killed_node, 1),
    "trials that misbehave": (misbehaving_trials, 2),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=FAULTS, action="append")
    parser.add_argument("--times", type=int)
    options = parser.parse_args()
    table = Table("fault", "times", *COUNTS, "attempts lost", "minutes")
    wrong = False
    for name, (fault, often) in FAULTS.items():
        if options.only and name not in options.only:
            continue
        times = options.times or often
        with tempfile.TemporaryDirectory(prefix="chaos ") as scratch:
            began = time.monotonic()
            sweep, trials = fault(Path(scratch) / "it's a sweep", times)
            counts = sweep.faultless(trials)
            wrong = wrong or any(counts.values())
            again = len(sweep.read("attempts")) - len(sweep.trials)
            cells = (str(counts[count]) for count in COUNTS)
            minutes = f"{(time.monotonic() - began) / 60:.1f}"
            table.add_row(name, str(times), *cells, str(again), minutes)
    Console(width=130).print(table)
    if wrong:
        raise SystemExit("rows were lost, changed, doubled or never came")


if __name__ == "__main__":
    main()
