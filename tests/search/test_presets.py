"""Published recipes and a user's own parts through the real command line."""

from __future__ import annotations

import json

import pytest
import yaml

from distiller.spaces.config import PipelineConfig
from distiller.spaces.presets import PRESETS
from tests.search.conftest import SWEEP, make_place

OWN = '''
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from distiller.spaces.augmentation import Copies, Redraw
from distiller.spaces.choice import Choice
from distiller.spaces.intermediate import AnyRepresentation, LinearProjection, Projection, Term
from distiller.spaces.mapping import Mapping, Skip
from distiller.spaces.prediction import HardWeight
from distiller.spaces.priors import OneOf


class Huber(Term):
    """Huber loss between hidden states."""

    citation: ClassVar[str] = "Huber 1964, Ann. Math. Stat. 35(1)"
    same_width: ClassVar[bool] = True
    objective: Literal["huber"] = "huber"
    delta: Annotated[float, Field(gt=0), OneOf(0.5, 1.0)] = 1.0
    representation: AnyRepresentation = "cls"
    mapping: Mapping = Skip()
    projection: Projection = LinearProjection()

    @staticmethod
    def function(student, teacher, mask, delta):
        from distiller.pipelines.objectives.masking import comparable, mean_over_real
        student, teacher = comparable(student, teacher, mask)
        apart = (student - teacher).abs()
        losses = (apart < delta) * 0.5 * apart.square() + (apart >= delta) * delta * (apart - 0.5 * delta)
        return mean_over_real(losses.mean(-1), mask)


class Brier(Choice):
    """Squared difference of probabilities."""

    loss: Literal["brier"] = "brier"
    hard_weight: HardWeight = 0.5

    @staticmethod
    def function(student, teacher, seen):
        import torch
        if seen is not None:
            student, teacher = (torch.where(seen, z, torch.full_like(z, -1e9)) for z in (student, teacher))
        wide = torch.promote_types(student.dtype, torch.float32)
        own, said = student.to(wide).softmax(-1), teacher.detach().to(wide).softmax(-1)
        rows = (own - said).square().sum(-1)
        if seen is None:
            return rows.mean()
        counts = seen.any(-1)
        return torch.where(counts, rows, torch.zeros_like(rows)).sum() / counts.sum().clamp_min(1)


class Doubled(Choice):
    """One word said twice."""

    method: Literal["doubled"] = "doubled"
    copies: Copies = 1
    redraw: Redraw = 0

    @staticmethod
    def function(words, protected, rng):
        free = [i for i, held in enumerate(protected) if not held]
        twice = free[int(rng.integers(len(free)))] if free else None
        said = []
        for i, word in enumerate(words):
            said.append((word, i))
            if i == twice and not (i + 1 < len(words) and protected[i] and protected[i + 1]):
                said.append((word, None))
        return said
'''


def written(name, **search):
    sweep = yaml.safe_load(SWEEP)
    del sweep["datasets"]["opinions"]
    sweep["name"], sweep["parts"] = name, ["own parts.py"]
    sweep["space"]["intermediate"] = {"huber": {"mapping": "skip", "schedule": "constant"}}
    sweep["space"]["prediction"] = {"brier": {"hard_weight": 0.5}}
    sweep["space"]["augmentation"] = "doubled"
    sweep["space"]["student"] = {"svd": {"layers": 2, "width": 16}}
    sweep["resources"]["max_concurrent"] = 1  # a worker loads for longer than these trials take
    sweep["search"] = {"scheduler": "none", "finalists": {"top": 1, "seeds": 2}, **search}
    return yaml.safe_dump(sweep, sort_keys=False)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep that starts with every preset and goes on with parts of its own."""
    place = make_place(tmp_path_factory.mktemp("own") / "a person's own")
    place.write("own parts.py", OWN)
    place.write("own.yaml", written("own", trials=len(PRESETS) + 2, warm_start=[*PRESETS]))
    done = place.run("launch", "own.yaml")
    assert done.returncode == 0, done.stderr
    return place


@pytest.mark.slow
def test_every_preset_starts_the_search(swept):
    search = [row for row in swept.rows("own") if row["role"] == "search"]
    assert len(search) == len(PRESETS) + 2
    assert {row["status"] for row in search} == {"completed"}, [row["error"] for row in search]
    warm = {row["config_id"] for row in search if row["origin"] == "warm"}
    assert len(warm) == len(PRESETS)
    objectives = {row["intermediate_objective"] for row in search}
    assert {"pkd", "minilm", "minilm_v2", "crd", "mi_alpha", "cosine", "huber"} <= objectives


@pytest.mark.slow
def test_own_parts_are_in_the_table_and_train_again(swept):
    rows = [row for row in swept.rows("own") if row["role"] == "search" and row["origin"] != "warm"]
    for row in rows:
        own = (row["intermediate_objective"], row["prediction_loss"], row["augmentation_method"])
        assert own == ("huber", "brier", "doubled")
        assert row["intermediate_delta"] in (0.5, 1.0)
    asked = "SELECT intermediate_delta, score FROM trials WHERE intermediate_objective = 'huber'"
    found = swept.run("query", asked, "--sweep", "own", "--json")
    assert len(json.loads(found.stdout)) >= len(rows), found.stderr
    recipe = yaml.safe_load((swept.folder / "best/animals.yaml").read_text())
    assert recipe["parts"] == ["own parts.py"]
    recipe["config"] = json.loads(rows[0]["config"])
    swept.write("again.yaml", yaml.safe_dump(recipe))
    trained = swept.run("train", "again.yaml", "--out", "huber student")
    assert trained.returncode == 0, trained.stderr
    assert (swept.folder / "huber student/model.safetensors").exists()


def test_own_parts_are_listed(swept):
    found = json.loads(swept.run("space", "own.yaml", "--json").stdout)
    assert {"huber", "brier", "doubled"} <= {entry["id"] for entry in found}
    shown = swept.run("space", "own.yaml").stdout
    assert "Huber loss between hidden states." in shown
    assert all(name in shown for name in PRESETS)


@pytest.mark.slow
def test_presets_in_place_of_a_search(swept):
    done = swept.run("launch", "own.yaml", "--preset", "minilm", "--preset", "hinton")
    assert done.returncode == 0, done.stderr
    rows = swept.rows("own-minilm-hinton")
    searched = {row["config_id"] for row in rows if row["role"] == "search"}
    middle = json.loads(next(row["config"] for row in rows if row["role"] == "search"))
    base = PipelineConfig.model_validate({k: middle[k] for k in ("student", "teacher", "optimization")})
    assert searched == {PRESETS[n].applied(base, "classification").config_id for n in ("minilm", "hinton")}
    finals = {(row["config_id"], row["seed"]) for row in rows if row["role"] == "finalist"}
    assert {config for config, _ in finals} == searched
    assert len(finals) == 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("return mean_over_real(losses.mean(-1), mask)", "return -mean_over_real(losses.mean(-1), mask)"),
        ("losses.mean(-1), mask)", "losses.mean(-1), None)"),
    ],
)
def test_a_part_that_breaks_the_contract_is_refused_before_any_trial(swept, right, wrong):
    swept.write("own parts.py", OWN.replace(right, wrong))
    try:
        done = swept.run("plan", "own.yaml", "--no-probe")
    finally:
        swept.write("own parts.py", OWN)
    assert done.returncode == 2
    assert done.stderr.startswith("distiller: parts: objective huber, ")
    assert len(done.stderr.strip().splitlines()) == 1
