"""Members that together use most of the space, and what it means that two runs trained the same student."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from distiller.pipelines.cohort import CohortRun, Member, Progress
from distiller.pipelines.material import Material
from distiller.spaces.config import PipelineConfig
from tests.pipelines.conftest import config_of

STEPS = 20
EMD = {"kind": "emd", "temperature": 0.7}
ALP = {"kind": "attention_weighted"}


def term(objective: str, **more: Any) -> dict[str, Any]:
    return {"objective": objective, **more}


def optimization(**more: Any) -> dict[str, Any]:
    return {"learning_rate": 2e-3, "warmup": 0.2, **more}


# Each with neighbours that share its kind of objective, mapping, loss or augmentation and neighbours that do
# not. Which method rewrote a text makes no difference to fusing: all of them are rows of a stream.
CONFIGS = [
    config_of(intermediate=term("mse", weight=0.5), optimization=optimization(learning_rate=5e-3)),
    config_of(
        intermediate=term("mse", weight=2.0),
        prediction={"loss": "kl", "temperature": 5.0, "hard_weight": 0.1},
        optimization=optimization(schedule="cosine", weight_decay=0.1),
    ),
    config_of(
        intermediate=term("cosine", representation="mean", mapping={"kind": "last"}),
        prediction={"loss": "ce", "hard_weight": 0.0, "temperature": 1.5},
        optimization=optimization(schedule="constant", warmup=0.0, max_grad_norm=0.05),
        augmentation={"method": "random", "copies": 2},
    ),
    config_of(
        intermediate=[term("pkd", weight=3.0), term("mse", representation="mean", mapping=EMD)],
        prediction={"loss": "mse", "hard_weight": 0.3},
        augmentation=[{"method": "random", "strength": 0.3}, {"method": "mixup"}],
    ),
    config_of(intermediate=term("mi_alpha", alpha=0.3, weight=0.2), augmentation={"method": "mixup"}),
    config_of(
        intermediate=[term("mi_alpha", alpha=0.8, representation="mean", mapping=EMD), term("mi_alpha")],
        prediction={"loss": "kl", "hard_weight": 0.9},
        optimization=optimization(weight_decay=0.0),
    ),
    config_of(
        intermediate=term("cosine", mapping=EMD), augmentation={"method": "mixup", "concentration": 1.0}
    ),
    config_of(prediction="labels", intermediate=term("mse", representation="cls", mapping={"kind": "last"})),
    config_of(student={"initialization": "random", "layers": 2, "width": 16}, intermediate=term("mse")),
    config_of(
        prediction={"loss": "dkd", "hard_weight": 0.4, "target_weight": 2.0},
        intermediate=term("mse"),
        optimization=optimization(beta1=0.8, beta2=0.98, layer_decay=0.7, label_smoothing=0.1),
    ),
    config_of(
        prediction={"loss": "dkd", "temperature": 4.0, "rest_weight": 8.0},
        optimization=optimization(layer_decay=0.9),
    ),
    config_of(prediction={"loss": "dist", "batch_weight": 2.0}, optimization=optimization(beta2=0.99)),
    config_of(prediction="js", optimization=optimization(label_smoothing=0.2)),
    config_of(
        prediction="reverse_kl",
        augmentation=[
            {"method": "embedding", "strength": 0.3, "copies": 2, "redraw": 1},
            {"method": "random"},
        ],
    ),
    config_of(prediction="l1"),
]
MEMBERS = [Member(config, seed=i % 3) for i, config in enumerate(CONFIGS)]
LABELS_ONLY = [
    Member(config_of(prediction="labels", optimization=optimization(learning_rate=rate), **more), seed)
    for rate, seed, more in [
        (1e-3, 0, {}),
        (4e-3, 1, {"augmentation": {"method": "mixup"}}),
        (2e-3, 2, {"augmentation": {"method": "random"}}),
    ]
]


def trained(members: list[Member], material: Material, steps: int = STEPS) -> CohortRun:
    run = CohortRun(members, material, steps, 7, torch.float64)
    run.reports = run.advance(steps)  # type: ignore[attr-defined]
    return run


def state_of(run: CohortRun, name: int) -> dict[str, Tensor]:
    """All that a member learned; its word table by the teacher's ids (0 where it has no row)."""
    member = run.names.index(name)
    stacked = run.students.stacked
    own = {n: (p[member] if stacked else p).detach() for n, p in run.students.parameters.items()}
    words = next(n for n in own if "word_embeddings" in n or "tok_embeddings" in n)
    full = torch.zeros(len(run.vocabulary.new_ids), own[words].shape[1], dtype=own[words].dtype)
    own[words] = full.index_copy(0, run.vocabulary.kept, own[words])
    for group in run.terms:
        if member in group.members:
            row = group.members.index(member)
            learned = {**group.parameters, **(group.state or {})}
            own |= {f"{group.kind}.{n}": p[row].detach() for n, p in learned.items()}
    return own


def assert_same_member(run: CohortRun, name: int, solo: CohortRun, tolerance: float = 1e-8) -> None:
    found, expected = state_of(run, name), state_of(solo, 0)
    assert found.keys() == expected.keys()
    known = torch.zeros(200, dtype=torch.bool).index_fill(0, solo.vocabulary.kept, True)
    for key, tensor in expected.items():
        here = found[key]
        if tensor.shape[0] == 200:  # a neighbour's view may bring in words that the member never meets
            here, tensor = here[known], tensor[known]
        assert torch.allclose(here, tensor, rtol=0, atol=tolerance), (key, (here - tensor).abs().max())


def assert_same_report(found: Progress, expected: Progress) -> None:
    assert found.losses == pytest.approx(expected.losses, abs=1e-8)
    assert found.metrics == pytest.approx(expected.metrics, abs=1e-8)
    assert (found.step, found.learning_rate) == (expected.step, expected.learning_rate)


def handed_over(share: float, **more: Any) -> PipelineConfig:
    """Labels alone after a first stage, as in MiniLM's recipe."""
    return config_of(
        prediction="labels",
        intermediate=term("minilm", schedule={"kind": "first_stage", "share": share}),
        **more,
    )
