"""The teacher's cache against the live teacher, and when it is built anew."""

from __future__ import annotations

import copy
import logging
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distiller.pipelines import cache
from distiller.pipelines.cache import cached_outputs, fitting, live_targets
from distiller.pipelines.cohort import CohortRun, Member
from distiller.pipelines.demand import Demand
from distiller.pipelines.material import Material
from distiller.pipelines.tokens import Tokens, tokenize
from distiller.spaces.narrowing import parse_space
from tests.pipelines.conftest import config_of, make_material, save_rows

ALL = Demand.grid((1, 2, 3), ("cls", "mean", "tokens"))


def outputs_of(material: Material, folder: Path, demand: Demand = ALL, gb: float = 1.0) -> Any:
    return cached_outputs(material.teacher, material.tokens(), demand, folder, gb * 2**30, "original")


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_cached_equals_live_within_float16(
    material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: torch.dtype
) -> None:
    """float32: half a unit in float16's last place, 2^-11 relative. bfloat16, against live float32: 4%."""
    monkeypatch.setattr(cache, "inference_dtype", lambda device: precision)
    found = outputs_of(material, tmp_path)
    rows = np.array([90, 3, 17, 55, 0, 100])
    batch = material.tokens().padded(rows, material.teacher.tokenizer.pad_token_id)
    targets = found.targets(rows, ALL, batch.ids.shape[1])
    live = live_targets(material.teacher, batch, ALL, torch.float32)
    assert set(targets.hidden) == ALL.states
    bound = 2**-11 if precision is torch.float32 else 0.04
    for key, expected in live.hidden.items():
        here = targets.hidden[key]
        assert here.dtype == torch.float32
        if key[1] == "tokens":
            assert not here[~batch.mask].any()
            here, expected = here[batch.mask], expected[batch.mask]
        else:
            assert here.shape == (6, 32)
        error = (here - expected).norm(dim=-1) / expected.norm(dim=-1)
        assert 0 < float(error.max()) <= bound, key
    torch.testing.assert_close(
        targets.logits, live.logits, rtol=bound, atol=1e-5 if precision is torch.float32 else 0.05
    )


def test_layers_and_rows_are_the_models_own(material: Material, tmp_path: Path) -> None:
    """Against a plain call of the model on one text at a time."""
    found = outputs_of(material, tmp_path, Demand.grid((1, 3), ("cls", "mean", "tokens")))
    tokens = material.tokens()
    for row in (0, 41, 100):
        ids = tokens.ids[tokens.offsets[row] : tokens.offsets[row + 1]][None]
        with torch.no_grad():
            plain = material.teacher.model(input_ids=ids, output_hidden_states=True)
        for layer in (1, 3):
            states = plain.hidden_states[layer][0]
            got = found.targets(
                np.array([row]), Demand.grid((layer,), ("cls", "mean", "tokens")), ids.shape[1]
            ).hidden
            torch.testing.assert_close(got[layer, "cls"][0], states[0], rtol=1e-3, atol=1e-3)
            torch.testing.assert_close(got[layer, "mean"][0], states.mean(0), rtol=1e-3, atol=1e-3)
            torch.testing.assert_close(got[layer, "tokens"][0], states, rtol=1e-3, atol=1e-3)


def test_rows_of_the_same_text_have_the_same_outputs(material: Material, tmp_path: Path) -> None:
    tokens = tokenize(material.teacher.tokenizer, ["w1 w2 w3", "w4", "w1 w2 w3", "w5 w6"], None, 24)
    found = cached_outputs(material.teacher, tokens, ALL, tmp_path, 1e9, "original")
    targets = found.targets(np.array([0, 2, 1]), ALL, 5)
    assert torch.equal(targets.logits[0], targets.logits[1])
    assert not torch.equal(targets.logits[0], targets.logits[2])
    assert all(torch.equal(h[0], h[1]) for h in targets.hidden.values())


def test_the_address_changes_with_what_decides_the_outputs(material: Material, tmp_path: Path) -> None:
    def addresses() -> set[str]:
        return {p.name for p in (tmp_path / "outputs").iterdir() if p.is_dir()}

    teacher, tokens = material.teacher, material.tokens()
    other_ids = tokens.ids.clone()
    other_ids[5] += 1
    shifted = tokens.offsets.copy()
    shifted[1] -= 1
    variants = [
        (teacher, tokens, ALL),
        (replace(teacher, fingerprint="other weights"), tokens, ALL),
        (teacher, Tokens(other_ids, tokens.types, tokens.offsets), ALL),
        (teacher, Tokens(tokens.ids, 1 - tokens.types, tokens.offsets), ALL),
        (teacher, Tokens(tokens.ids, tokens.types, shifted), ALL),
        (teacher, tokens, Demand.grid((1, 2), ALL.representations)),
        (teacher, tokens, Demand.grid((1, 2, 3), ("cls",))),
        (replace(teacher, order=torch.tensor([1, 0, 2])), tokens, ALL),
    ]
    for count, (one, rows, demand) in enumerate(variants, 1):
        cached_outputs(one, rows, demand, tmp_path, 1e9, "original")
        assert len(addresses()) == count
    cached_outputs(teacher, tokens, ALL, tmp_path, 1e9, "original")
    assert len(addresses()) == len(variants)


FILL = """
import sys
from pathlib import Path
import torch
from distiller.pipelines import cache, material
from distiller.spaces.datasets import DatasetConfig
from distiller.spaces.sweep import CacheConfig, TeacherConfig
torch.set_num_threads(1)
teacher, rows, folder, calls = sys.argv[1:]
compute = cache.compute_outputs
def counted(*given):
    with open(calls, "a") as file:
        file.write(f"{len(given[1])} rows\\n")
    compute(*given)
cache.compute_outputs = counted
dataset = DatasetConfig.model_validate_json(rows)
made = material.prepare_material(
    "x", dataset, ["t"], {"t": TeacherConfig(model=teacher)}, CacheConfig(path=folder), Path("."),
    torch.device("cpu"),
)
found = made.outputs()
print(float(found.hidden["tokens"].double().sum()), float(found.logits.double().sum()))
"""


@pytest.mark.slow
def test_two_processes_compute_once_and_agree(material: Material, tmp_path: Path) -> None:
    rows = save_rows(tmp_path / "rows").model_dump_json(exclude_none=True, exclude_defaults=True)
    command = [
        sys.executable,
        "-c",
        FILL,
        material.teacher.path,
        rows,
        str(tmp_path),
        str(tmp_path / "calls"),
    ]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    one, other = (p.communicate(timeout=120)[0] for p in processes)
    assert one == other != ""
    held_out = [f"{len(material.held_out[split])} rows" for split in ("validation", "test")]
    assert (tmp_path / "calls").read_text().splitlines() == [*held_out, f"{len(material.tokens())} rows"]


def test_a_truncated_file_is_computed_again(material: Material, tmp_path: Path) -> None:
    expected = outputs_of(material, tmp_path).hidden["cls"].clone()
    (file,) = (tmp_path / "outputs").glob("*/cls.npy")
    file.write_bytes(file.read_bytes()[:-7])
    assert torch.equal(outputs_of(material, tmp_path).hidden["cls"], expected)


def test_beyond_float16_everything_is_float32(
    material: Material, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = copy.deepcopy(material.teacher.model)
    with torch.no_grad():
        model.bert.encoder.layer[1].output.LayerNorm.bias[3] = 1e5
    huge = replace(material.teacher, model=model, fingerprint="huge")
    with caplog.at_level(logging.WARNING):
        found = cached_outputs(huge, material.tokens(), ALL, tmp_path, 1e9, "original")
    assert "exceed float16" in caplog.text
    assert {h.dtype for h in found.hidden.values()} == {torch.float32}
    assert float(found.hidden["cls"][0, 1, 3]) == pytest.approx(1e5, rel=0.01)


def test_the_planner_drops_tokens_then_everything(material: Material) -> None:
    tokens, width = material.tokens(), 32
    vector = 2 * width * 3
    small, everything = 2 * vector * len(tokens), vector * (2 * len(tokens) + len(tokens.ids))
    assert fitting(ALL, tokens, width, everything) == ALL
    assert fitting(ALL, tokens, width, everything - 1) == Demand.grid((1, 2, 3), ("cls", "mean"))
    assert fitting(ALL, tokens, width, small) == Demand.grid((1, 2, 3), ("cls", "mean"))
    assert fitting(ALL, tokens, width, small - 1) == Demand()
    assert fitting(Demand.grid((1,), ("tokens",)), tokens, width, 0) == Demand()


@pytest.mark.parametrize("limit", ["tokens", "all"])
def test_live_teacher_trains_like_the_cached_one(
    material: Material, folder_of: Callable[[str], Path], caplog: pytest.LogCaptureFixture, limit: str
) -> None:
    vector = 2 * 32 * 3
    gb = (2 * vector * 101 if limit == "tokens" else 0.001) / 2**30
    with caplog.at_level(logging.WARNING):
        live = make_material(folder_of(limit), max_gb=gb, teacher=Path(material.teacher.path))
        assert live.outputs().demand.representations == (("cls", "mean") if limit == "tokens" else ())
    assert "computed live" in caplog.text
    intermediate = [{"objective": "mse"}, {"objective": "mse", "representation": "mean"}]
    member = Member(config_of(intermediate=intermediate, augmentation="random"), 0)
    scores = []
    for where in (material, live):
        run = CohortRun([member], where, 10, 0, torch.float64)
        (report,) = run.advance(10)
        scores.append(report)
    assert scores[1].losses == pytest.approx(scores[0].losses, rel=2e-3)
    # A neighbour that needs live states leaves what others read from the cache as it is.
    other = Member(config_of(intermediate={"objective": "cosine", "representation": "mean"}), 1)
    alone = CohortRun([other], live, 5, 0, torch.float64)
    both = CohortRun(
        [other, Member(config_of(intermediate={"objective": "mse"}), 0)], live, 5, 0, torch.float64
    )
    assert both.advance(5)[0].losses == pytest.approx(alone.advance(5)[0].losses, abs=1e-8)


def test_a_demand_that_lacks_layers_is_met_live(material: Material, folder_of: Callable[[str], Path]) -> None:
    less = make_material(
        folder_of("less"), demand=Demand.grid((3,), ("cls",)), teacher=Path(material.teacher.path)
    )
    member = Member(config_of(intermediate={"objective": "pkd"}), 0)  # reads layers 2 and 3
    expected, found = (CohortRun([member], m, 5, 0).advance(5)[0].losses for m in (material, less))
    assert found == pytest.approx(expected, rel=2e-3)


def test_demands_of_configs_and_spaces() -> None:
    config = config_of(
        intermediate=[
            {"objective": "pkd", "mapping": {"kind": "last"}},
            {"objective": "mse", "representation": "mean", "mapping": {"kind": "emd"}},
        ]
    )
    last, every = Demand.grid((5, 6), ["cls"]), Demand.grid(range(1, 7), ["mean"])
    assert Demand.of_config(config, 2, 6) == last | every
    assert Demand.of_config(config_of(intermediate={"objective": "mi_alpha"}), 2, 6) == Demand.grid(
        (3, 6), ("cls",)
    )
    assert Demand.of_config(config_of(), 2, 6) == Demand()
    space = parse_space({})
    whole = Demand.of_space(space, (2, 3, 4, 6), 6)
    rng = np.random.default_rng(0)
    for _ in range(60):
        config = space.sample(rng)
        one = Demand.of_config(config, config.student.layers, 6)
        assert whole | one == whole
    assert Demand.grid((1,), ("cls", "tokens")).without("tokens") == Demand.grid((1,), ("cls",))
    assert Demand.grid((1,), ("tokens",)).without("tokens") == Demand()
