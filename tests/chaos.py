"""`make chaos`: faults, many times over, to real sweeps; a table of what each left behind."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from tests.search import faults
from tests.search.faults import EPOCH, Sweep
from tests.search.quick import HANGS, KILLED, NAN, RAISES, TOO_BIG, WELL

COUNTS = ("lost", "changed", "doubled", "missing", "unfinished", "begun again", "blamed", "checkpoints left")
SEED = 20


class Done(NamedTuple):
    """A sweep that went through a fault to its end, and the trials that it should have."""

    sweep: Sweep
    trials: int


def sweep_of(folder: Path, trials: int, seconds: float, store: Path | None = None) -> Sweep:
    """A sweep of so many quick trials."""
    return Sweep(folder, sections={"search": {"trials": trials}}, seconds=seconds, store=store)


def killed_drivers(folder: Path, times: int) -> Done:
    """SIGKILL of the driver, and with it of its Ray, at random moments."""
    done = Done(sweep_of(folder, 12 * times, 0.3), 12 * times)
    faults.kill_drivers(done.sweep, times, SEED)
    done.sweep.finish()
    return done


def killed_workers(folder: Path, times: int) -> Done:
    """SIGKILL of workers at random moments."""
    done = Done(sweep_of(folder, 10 * times, 1.0), 10 * times)
    driver = done.sweep.start()
    faults.kill_workers(done.sweep, driver, times, SEED)
    done.sweep.end(driver)
    return done


def killed_raylet(folder: Path, times: int) -> Done:
    """SIGKILL of the raylet."""
    done = Done(sweep_of(folder, 20 * times, 0.3), 20 * times)
    for _ in range(times):
        faults.kill_raylet(done.sweep)
    done.sweep.finish()
    return done


def killed_node(folder: Path, times: int) -> Done:
    """SIGKILL of a whole node of a cluster of three."""
    done = Done(sweep_of(folder, 20 * times, 1.0), 20 * times)
    faults.kill_nodes(done.sweep, times)
    return done


def zombies(folder: Path, times: int) -> Done:
    """A node that cannot be reached: its trial is handed to another, then its worker finishes it."""
    done = Done(sweep_of(folder, 30, 2.0), 30)
    faults.make_zombie(done.sweep)
    return done


def misbehaving_trials(folder: Path, times: int) -> Done:
    """NaN, an exception, a failed allocation, a poison config, a hang; `times` of each."""
    kinds = (WELL, NAN, RAISES, KILLED, HANGS, TOO_BIG)
    space = {"prediction": {"kl": {"hard_weight": [i / times for i in range(times)], "temperature": 2}}}
    trials = times * len(kinds)
    sections = {"search": {"sampler": "grid", "grid_levels": 1, "trials": trials}, "space": space}
    sweep = Sweep(folder, kinds, sections | {"resources": {"trial_minutes": 0.05}})
    sweep.finish()
    return Done(sweep, trials)


def torn_files(folder: Path, times: int) -> Done:
    """Files of rows cut short while the sweep runs: while it goes on, and before its driver is killed."""
    done, rng = Done(sweep_of(folder, 15 * times, 0.2), 15 * times), np.random.default_rng(SEED)
    for number in range(times):
        driver, known = done.sweep.start(), len(done.sweep.fragments())
        driver.wait_until(lambda known=known: len(done.sweep.fragments()) >= known + 5)
        faults.tear(done.sweep, rng)
        if number < times - 1:
            driver.kill()
            done.sweep.look()
        else:
            done.sweep.end(driver)
            assert "launch again, and they are run again" in driver.said, driver.said
    done.sweep.finish()
    return done


def failing_storage(fails: faults.Fails) -> Callable[[Path, int], Done]:
    """Storage that fails in this way while rows are written."""

    def fault(folder: Path, times: int) -> Done:
        with faults.tiny_disk(folder.parent / "disk", kib=8192) as disk:
            done = Done(sweep_of(folder, 15 * times, 0.2, disk / "store"), 15 * times)
            faults.storage_fails(done.sweep, fails, disk, times)
            done.sweep.root = shutil.copytree(disk / "store", folder / "store")
        return done

    return fault


FAULTS: dict[str, tuple[Callable[[Path, int], Done], int]] = {
    "driver killed": (killed_drivers, 20),
    "worker killed": (killed_workers, 10),
    "raylet killed": (killed_raylet, 2),
    "node killed": (killed_node, 1),
    "zombie worker": (zombies, 1),
    "trials that misbehave": (misbehaving_trials, 2),
    "torn file": (torn_files, 3),
    "disk full": (failing_storage(faults.fill_disk), 3),
    "store read-only": (failing_storage(faults.forbid_writes), 3),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=FAULTS, action="append")
    parser.add_argument("--times", type=int)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # clusters and disks are taken down too
    table = Table("fault", "times", *COUNTS, "epochs repeated", "at most", "minutes")
    wrong = False
    for name, (fault, often) in FAULTS.items():
        if options.only and name not in options.only:
            continue
        times = options.times or often
        with tempfile.TemporaryDirectory(prefix="chaos ") as scratch:
            began = time.monotonic()
            try:
                sweep, trials = fault(Path(scratch) / "it's a sweep", times)
            except Exception:  # the others are still worth their minutes
                traceback.print_exc()
                wrong = True
                table.add_row(name, str(times), "did not end as it should")
                continue
            minutes = (time.monotonic() - began) / 60
            counts, repeated = sweep.faultless(trials), sweep.repeated()
        wrong = wrong or any(counts.values())
        epochs = (f"{steps / EPOCH:.1f}" for steps in (sum(repeated), max(repeated, default=0)))
        cells = (str(counts[count]) for count in COUNTS)
        table.add_row(name, str(times), *cells, *epochs, f"{minutes:.1f}")
        print(f"{name}, {times} times, {minutes:.1f} minutes: {counts}", flush=True)
    Console(width=160).print(table)
    if wrong:
        raise SystemExit("rows were lost, changed, doubled or never came, or too much work was repeated")


if __name__ == "__main__":
    main()
