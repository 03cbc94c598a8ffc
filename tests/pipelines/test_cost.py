"""Costs against what can be counted by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from distiller.pipelines import cost
from distiller.pipelines.cohort import CohortRun, Member
from distiller.pipelines.cost import PeakMemory, flops_per_example, latency_ms, parameter_count
from distiller.pipelines.distill import Cohort, Distillation
from distiller.pipelines.material import Material
from tests.pipelines.conftest import LABELS, config_of


def test_parameters_and_flops_by_hand(material: Material) -> None:
    model = CohortRun([Member(config_of(), 0)], material, 5, 0).student(0)
    v, p, h, i, layers, classes, length = 200, 66, 16, 32, 2, len(LABELS), 10
    layer = 4 * (h * h + h) + 2 * (h * i) + i + h + 4 * h
    assert (
        parameter_count(model) == (v + p + 2) * h + 2 * h + layers * layer + h * h + h + h * classes + classes
    )
    linear = layers * (4 * h * h + 2 * h * i) * length + h * h + h * classes
    attention = layers * 2 * length * length * h
    assert flops_per_example(model, length) == 2 * (linear + attention)


def test_latency_is_measured_once_per_architecture(
    material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[float] = []

    def measure(model: object) -> float:
        measured.append(len(measured) + 1.5)
        return measured[-1]

    narrow = CohortRun([Member(config_of(), 0)], material, 5, 0).student(0)
    one_layer = {"initialization": "svd", "layers": 1, "width": 16}
    short = CohortRun([Member(config_of(student=one_layer), 0)], material, 5, 0).student(0)
    real = cost.measured_latency_ms(short, repeats=3)
    assert 0 < real < 1000
    monkeypatch.setattr(cost, "measured_latency_ms", measure)
    assert [latency_ms(m, "x", tmp_path) for m in (narrow, narrow, short, narrow)] == [1.5, 1.5, 2.5, 1.5]
    (record, _) = sorted((tmp_path / "latency").glob("*/latency.json"))
    assert json.loads(record.read_text())["device"] == "cpu"


def test_peak_memory_sees_an_allocation() -> None:
    memory = PeakMemory(torch.device("cpu"))
    big = torch.ones(40_000_000)
    memory.sample()
    del big
    memory.sample()
    assert 120e6 < memory.extra_bytes < 400e6


def test_a_cohorts_cost(material: Material, folder_of: Callable[[str], Path]) -> None:
    work = Distillation(
        Cohort((Member(config_of(), 0), Member(config_of(), 1)), 4, 0, evaluations=1), material
    )
    work.advance()
    found = work.cost()
    assert found.parameters == parameter_count(work.run.student(0))
    assert found.flops > 0
    assert found.latency_ms > 0
    assert found.peak_memory_bytes >= 0
    assert work.cost() == found
