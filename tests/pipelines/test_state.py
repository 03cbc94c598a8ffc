"""A training that is interrupted and goes on ends where the one that was not ends, bit for bit."""

from __future__ import annotations

import itertools
import logging
import math
import os
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller.pipelines import stack
from distiller.pipelines.cohort import Member
from distiller.pipelines.cohort_state import run_state
from distiller.pipelines.distill import Cohort, Distillation
from distiller.pipelines.material import Material
from distiller.pipelines.objectives import OBJECTIVES
from distiller.pipelines.optimizer import SoloAdamW
from distiller.pipelines.state import State, StateError, code_version, decode, encode
from distiller.spaces.config import PipelineConfig
from tests.pipelines.cohorts import CONFIGS, EMD, handed_over, optimization, term
from tests.pipelines.conftest import config_of

Keeps = Mapping[int, Sequence[int]]
"""Who goes on from a step."""

DROPOUT = {"dropout": 0.2}
MIXUP = {"method": "mixup"}
TERMS = [
    [term("l1", mapping={"kind": "first"}), term("barber_agakov", representation="mean")],
    [term("kl", temperature=2.0), term("ce", mapping={"kind": "all_pairs"}, representation="mean")],
    [term("attention", target="scores", mapping=EMD), term("minilm", schedule="linear")],
    [term("minilm_v2", heads=4), term("nst", weight=0.1), term("cka")],
    [term("rkd", angle_weight=1.0), term("fsp", weight=0.1), term("js", weight=0.1)],
    [term("crd", negatives=16, temperature=0.1, weight=0.02), term("info_nce", weight=0.1)],
    [term("mse", mapping="attention_weighted"), term("tuba", weight=0.1), term("pkd")],
    [term("cosine", projection={"kind": "mlp", "shared": True}), term("nwj", weight=0.01)],
    [term("mi_alpha", alpha=0.3, mapping=EMD, representation="mean")],
]


def with_dropout(config: PipelineConfig) -> PipelineConfig:
    return config.model_copy(update={"optimization": config.optimization.model_copy(update=DROPOUT)})


class Killed(Exception):  # noqa: N818
    """A training ends after a step: `data` is what is left of it."""

    def __init__(self, data: bytes):
        self.data = data


def run_to_end(
    cohort: Cohort, material: Material, keeps: Keeps, interrupted: bool, dtype: torch.dtype = torch.float64
) -> Distillation:
    """Interrupted in the middle of every second interval and at the ends of the others; or nowhere.

    Nothing but bytes is handed on.
    """
    ends, middles = set(cohort.stops()) if interrupted else set(), set()
    for a, b in itertools.islice(pairwise([0, *cohort.stops()]), 0, None, 2):
        if interrupted and a < (a + b) // 2:
            ends.remove(b)
            middles.add((a + b) // 2)

    def after_step() -> None:
        if work.run.step in middles:
            raise Killed(encode(work.state(), "this one"))

    work = Distillation(cohort, material, dtype)
    while not work.finished:
        try:
            (step,) = {report.step for report in work.advance(after_step)}
            if step in keeps:
                work.keep(keeps[step])
            if step not in ends or work.finished:
                continue
            data = encode(work.state(), "this one")
        except Killed as killed:
            data = killed.data
        work = Distillation.restored(cohort, material, decode(data, "this one"), dtype)
    return work


def assert_resumes(
    members: Sequence[Member],
    material: Material,
    steps: int = 8,
    evaluations: int = 4,
    keeps: Keeps | None = None,
    dtype: torch.dtype = torch.float64,
) -> Distillation:
    cohort = Cohort(tuple(members), steps, 3, evaluations)
    whole, resumed = (run_to_end(cohort, material, keeps or {}, i, dtype) for i in (False, True))
    (tensors, rest), (own_tensors, own_rest) = run_state(whole.run), run_state(resumed.run)
    assert own_tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(own_tensors[name], tensor), (name, (own_tensors[name] - tensor).abs().max())
    timeless = {"train_seconds": 0.0}
    assert own_rest | timeless == rest | timeless
    for found, expected in zip(resumed.results, whole.results, strict=True):
        assert (found.completed, found.error) == (expected.completed, expected.error)
        assert repr([replace(p, train_seconds=0.0) for p in found.curve]) == repr(  # NaN, too
            [replace(p, train_seconds=0.0) for p in expected.curve]
        )
        seconds = [p.train_seconds for p in found.curve]
        assert seconds == sorted(seconds)
    return resumed


def test_all_objectives_have_their_turn() -> None:
    assert {one["objective"] for terms in TERMS for one in terms} | {"mse"} == OBJECTIVES.keys()


@pytest.mark.parametrize("number", range(len(TERMS)))
def test_a_student_alone_with_every_objective(material: Material, number: int) -> None:
    config = config_of(intermediate=TERMS[number], augmentation=MIXUP, optimization=optimization(**DROPOUT))
    work = assert_resumes([Member(config, number)], material, steps=4, evaluations=2)
    assert isinstance(work.run.optimizer, SoloAdamW)


def test_a_student_alone_over_several_passes(material: Material) -> None:
    """With rows left over between passes, redrawn copies, layer-wise decay and its own betas."""
    config = config_of(
        intermediate=term("crd", negatives=16, temperature=0.3, weight=0.01),
        augmentation=[{"method": "random", "redraw": 1, "strength": 0.3}, MIXUP],
        prediction={"loss": "dkd", "hard_weight": 0.4},
        optimization=optimization(
            beta1=0.8, layer_decay=0.7, label_smoothing=0.1, schedule="cosine", **DROPOUT
        ),
    )
    assert_resumes([Member(config, 1)], material, steps=26, evaluations=3)


def test_a_cohort_of_everything_whose_members_are_dropped(material: Material) -> None:
    chosen = [CONFIGS[i] for i in (0, 1, 2, 3, 5, 6, 8, 9, 13)]
    members = [Member(with_dropout(config), i % 3) for i, config in enumerate(chosen)]
    work = assert_resumes(members, material, 6, 3, keeps={2: [1, 3, 4, 7], 4: [4]})
    assert work.run.names == [4]
    assert work.run.students.stacked


def test_a_cohort_with_every_objective(material: Material) -> None:
    members = [Member(config_of(intermediate=t, optimization=DROPOUT), i) for i, t in enumerate(TERMS)]
    assert_resumes(members, material, steps=4, evaluations=2)


@pytest.mark.parametrize("alone", [True, False])
def test_stages(material: Material, alone: bool) -> None:
    """The teacher is left at step 4 of 8, of which 2, 4 and 6 are interruptions."""
    first = [
        Member(handed_over(0.5, augmentation=MIXUP, optimization=DROPOUT), 0),
        Member(handed_over(0.5, augmentation={"method": "random", "redraw": 1}, optimization=DROPOUT), 1),
        Member(handed_over(0.5, optimization=DROPOUT), 2),
    ]
    assert_resumes(first[:1] if alone else first, material, keeps={} if alone else {2: [1, 2], 6: [2]})
    # One whose prediction, and with it its optimizer, starts at step 3, beside one that has it all along.
    late = config_of(intermediate=term("mse", schedule={"kind": "first_stage", "share": 0.5}))
    assert_resumes([Member(late, 0), *([] if alone else [Member(CONFIGS[0], 1)])], material, 6, 3)


def test_a_member_that_diverged_stays_dropped(material: Material, monkeypatch: pytest.MonkeyPatch) -> None:
    start = Distillation.__init__

    def poisoned(work: Distillation, *given: Any) -> None:
        start(work, *given)
        with torch.no_grad():
            work.run.students.parameters["model.classifier.weight"][1] = math.nan

    monkeypatch.setattr(Distillation, "__init__", poisoned)
    work = assert_resumes([Member(with_dropout(CONFIGS[i]), i) for i in (0, 1, 5)], material, 4, 2)
    assert "diverged" in str(work.results[1].error)
    assert math.isnan(work.results[1].last.score)
    assert [r.completed for r in work.results] == [True, False, True]


def test_students_that_do_not_go_through_vmap(
    material: Material, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*args: Any, **options: Any) -> Any:
        raise RuntimeError("vmap: It looks like you're calling .item() on a Tensor")

    monkeypatch.setattr(stack, "vmap", refuse)
    with caplog.at_level(logging.ERROR):
        members = [Member(with_dropout(CONFIGS[i]), i) for i in (3, 0, 4)]
        work = assert_resumes(members, material, 4, 2, keeps={2: [0, 2]})
    assert not work.run.students.fused


def test_float32_and_a_regression(regression: Material) -> None:
    members = [Member(config_of(prediction="mse", intermediate=term("mse"), optimization=DROPOUT), 1)]
    assert_resumes(members, regression, dtype=torch.float32)


@pytest.fixture(scope="module")
def taken(material: Material) -> tuple[Cohort, State]:
    cohort = Cohort((Member(CONFIGS[0], 0),), 4, 3, 2)
    work = Distillation(cohort, material)
    with pytest.raises(StateError, match="just begun"):
        Distillation.restored(cohort, material, work.state())
    work.advance()
    return cohort, work.state()


def test_what_is_finished_has_no_state(material: Material, taken: tuple[Cohort, State]) -> None:
    cohort, state = taken
    work = Distillation.restored(cohort, material, state)
    work.advance()
    with pytest.raises(ValueError, match="finished"):
        work.state()


def test_the_higher_peak_of_memory_stays(material: Material, taken: tuple[Cohort, State]) -> None:
    cohort, state = taken
    seen = State(state.tensors, state.rest | {"peak_memory_bytes": 2**40})
    assert Distillation.restored(cohort, material, seen).memory.extra_bytes == 2**40


def test_a_state_of_another_training_is_refused(material: Material, taken: tuple[Cohort, State]) -> None:
    cohort, state = taken
    others = [
        replace(cohort, members=(Member(CONFIGS[1], 0), Member(CONFIGS[0], 0))),
        replace(cohort, members=(Member(config_of(intermediate=term("cosine", mapping=EMD)), 0),)),
        replace(cohort, members=(Member(config_of(student={"initialization": "random", "width": 32}), 0),)),
    ]
    for other in others:
        with pytest.raises(StateError, match="foreign"):
            Distillation.restored(other, material, state)
    some = next(iter(state.tensors))
    for tensors in (
        {n: t for n, t in state.tensors.items() if n != some},
        state.tensors | {"more": torch.zeros(1)},
        state.tensors | {some: state.tensors[some].double()},
        {n: t for n, t in state.tensors.items() if not n.startswith("first")},
    ):
        with pytest.raises(StateError, match="foreign"):
            Distillation.restored(cohort, material, State(tensors, state.rest))


SMALL = State(
    {"a": torch.arange(6.0, dtype=torch.float64).view(2, 3), "b": torch.tensor([True]), "c": torch.tensor(7)},
    {"step": 3, "state": 2**127 + 1, "score": math.nan, "text": "ä\n"},
)
BYTES = encode(SMALL, "mine")


def same(found: State) -> bool:
    return repr(found.rest) == repr(SMALL.rest) and all(
        torch.equal(found.tensors[name], tensor) for name, tensor in SMALL.tensors.items()
    )


def test_bytes_say_all_and_whose_they_are() -> None:
    assert same(decode(BYTES, "mine"))
    with pytest.raises(StateError, match="other configs"):
        decode(BYTES, "another's")
    assert code_version() == code_version()


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.integers(0, len(BYTES) - 1), st.integers(1, 255), st.booleans())
def test_torn_bytes_are_told(place: int, change: int, cut: bool) -> None:
    data = BYTES[:place] if cut else BYTES[:place] + bytes([BYTES[place] ^ change]) + BYTES[place + 1 :]
    try:
        found = decode(data, "mine")
    except StateError:
        return
    assert not cut  # what is left is padding of the header, where one blank is as good as another
    assert same(found)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.binary(max_size=200))
def test_any_bytes_are_told(data: bytes) -> None:
    with pytest.raises(StateError):
        decode(data, "mine")


class _Attack:
    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    marker = tmp_path / "attacked"
    torch.save({"weights": _Attack(marker)}, tmp_path / "zip.pt")
    for data in (pickle.dumps(_Attack(marker)), (tmp_path / "zip.pt").read_bytes()):
        with pytest.raises(StateError):
            decode(data, "mine")
    assert not marker.exists()
    pickle.loads(pickle.dumps(_Attack(marker)))  # it would have
    assert marker.exists()
