"""`make bench`: speed and memory of distillation beside plain loops, and the sweep's overhead.

One process, variants interleaved, medians.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent))

from loops import STEPS, Timed, bare_step, load, plain_loop, with_distill
from overhead import overhead_per_trial

from distiller.pipelines.cost import resident_bytes
from distiller.pipelines.material import Material
from distiller.spaces.sweep import Budget

CACHE = Path("~/.cache/distiller").expanduser()
FULL = Budget().steps
"""A full run, as the product's default has it; the quickstart's are a quarter of it."""
NAMES = {
    "a": "plain loop, live teacher, padded to 64",
    "b": "plain loop, live teacher, dynamic padding",
    "c": f"distill, {FULL} steps, teacher pass included",
    "c1": f"distill, {STEPS} steps, teacher pass included",
    "c2": f"distill, {STEPS} steps, teacher outputs cached",
    "d": "bare student step, unpadded",
}
MEASURED = ("a", "b", "c1", "d")
"""Whose memory is measured; it does not depend on the number of steps."""
SEEDS = 3


def variants(scratch: Path) -> dict[str, Callable[[Material], Timed]]:
    """What is timed; (a), (b) and (d) cost the same at every step, so fewer steps tell."""
    full, cache = (Path(tempfile.mkdtemp(dir=scratch)) for _ in range(2))
    return {
        "a": lambda m: plain_loop(m, 30, 64),
        "b": lambda m: plain_loop(m, 60, None),
        "c": lambda m: with_distill(m, FULL, full),
        "c1": lambda m: with_distill(m, STEPS, cache),
        "c2": lambda m: with_distill(m, STEPS, cache, seed=1),
        "d": lambda m: bare_step(m, 120),
    }


def peak_bytes(work: Callable[[], object]) -> int:
    """Highest resident memory during `work`, sampled every 10 ms, less that before it."""
    before = peak = resident_bytes()
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.is_set():
            peak = max(peak, resident_bytes())
            time.sleep(0.01)

    watcher = threading.Thread(target=watch)
    watcher.start()
    work()
    done.set()
    watcher.join()
    return peak - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--memory", choices=MEASURED, help="measure the memory of one variant")
    options = parser.parse_args()
    torch.set_num_threads(
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    material = load(CACHE)
    with tempfile.TemporaryDirectory() as scratch:
        if options.memory:
            print(peak_bytes(lambda: variants(Path(scratch))[options.memory](material)))
            return
        report(material, Path(scratch), options.repeats)


def report(material: Material, scratch: Path, repeats: int) -> None:
    """Measure and print everything."""
    console = Console(width=110)
    console.print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    found: dict[str, list[float]] = {name: [] for name in NAMES}
    for _ in range(repeats):
        for name, work in variants(scratch).items():
            found[name].append(work(material).ms_per_example)
    medians = {name: statistics.median(times) for name, times in found.items()}
    memory = {
        name: int(
            subprocess.run(
                [sys.executable, __file__, "--memory", name], capture_output=True, text=True, check=True
            ).stdout
        )
        for name in MEASURED
    }
    table = Table("", "variant", "ms per example", "spread", "(c) is faster by", "peak memory, MiB")
    for name, label in NAMES.items():
        spread = f"{min(found[name]):.2f}-{max(found[name]):.2f}"
        ratio = f"{medians[name] / medians['c']:.2f}x"
        peak = f"{memory[name] / 2**20:.0f}" if name in memory else ""
        table.add_row(f"({name})", label, f"{medians[name]:.2f}", spread, ratio, peak)
    console.print(table)
    console.print(
        f"(c) is {medians['b'] / medians['c']:.2f} times faster than (b), "
        f"and takes {medians['c'] / medians['d']:.2f} times (d)"
    )
    short = medians["c1"]
    console.print(
        f"at {STEPS} steps it is {medians['b'] / short:.2f} times faster than (b), "
        f"and takes {short / medians['d']:.2f} times (d)"
    )
    seeds = range(SEEDS)
    scores = {
        "(b)": [plain_loop(material, STEPS, None, seed, score=True).score or 0.0 for seed in seeds],
        "(c)": [with_distill(material, STEPS, scratch / "shared", seed).score or 0.0 for seed in seeds],
    }
    for name, values in scores.items():
        mean, deviation = statistics.mean(values), statistics.stdev(values)
        console.print(f"validation Matthews of {name} over {SEEDS} seeds: {mean:.4f}, SD {deviation:.4f}")
    measured = overhead_per_trial(scratch)
    console.print(
        f"sweep overhead: {measured['overhead_seconds']:.3f} s a trial over {measured['trials']} tiny trials "
        f"({measured['workers']} workers, start-up apart)"
    )
    console.print(
        json.dumps({"ms_per_example": medians, "peak_bytes": memory, "scores": scores, "overhead": measured})
    )


if __name__ == "__main__":
    main()
