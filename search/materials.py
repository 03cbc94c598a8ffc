"""What a worker process keeps ready: datasets with their teachers, from trial to trial."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import ray
import torch

from distiller.pipelines.demand import Demand
from distiller.pipelines.material import Material, prepare_material
from distiller.pipelines.own import adopt_own_parts
from distiller.pipelines.student import layers_of
from distiller.results.frozen import load_frozen_parts
from distiller.results.store import Store
from distiller.search.assignment import Launch
from distiller.search.plan import planned_space, pretrained_of
from distiller.search.teacher_shelf import TeacherShelf
from distiller.search.tokenizers import tokenizers_of
from distiller.search.unfit import UnfitNodeError
from distiller.spaces.config import MEAN, PipelineConfig
from distiller.spaces.errors import InputError
from distiller.spaces.presets import PRESETS
from distiller.spaces.removal import values_at
from distiller.spaces.space import Space
from distiller.spaces.student import Pretrained

WARM = 2
"""Datasets that a process keeps ready."""

_materials: OrderedDict[tuple[str, str, str], Material] = OrderedDict()


def worker_device() -> torch.device:
    """The GPU that Ray gave this process, else the CPU."""
    return torch.device("cuda" if ray.get_gpu_ids() and torch.cuda.is_available() else "cpu")


def depths_of(space: Space, material: Material) -> list[int]:
    """How many layers the students of a space have."""
    depths = {int(layers) for layers in values_at(space, "student.*.layers")}
    for checkpoint in pretrained_of(space):
        choice = Pretrained(checkpoint=checkpoint)
        depths.add(layers_of(choice, material.origin(choice).config))
    return sorted(depths)


def material_for(launch: Launch, dataset: str, teacher: str) -> Material:
    """A dataset with one of its teachers (`a+b` for the mean of two), kept for the next trial."""
    key = (launch.sweep.name, dataset, teacher)
    if key not in _materials:
        sweep, base = launch.sweep, Path(launch.base)
        store = Store.open(launch.store)
        load_frozen_parts(store, sweep, base)
        adopt_own_parts()
        material = prepare_material(
            dataset,
            sweep.datasets[dataset],
            teacher.split(MEAN),
            sweep.teachers,
            sweep.cache,
            base,
            worker_device(),
            shelf=TeacherShelf(store, keeps=launch.cluster),
        )
        space, _ = planned_space(sweep, dataset, tokenizers=tokenizers_of(sweep, dataset, base))
        depths, layers = depths_of(space, material), material.teacher.layers
        material.demand = Demand.of_space(space, depths, layers)
        for name in sweep.search.warm_presets:
            preset = PRESETS[name].applied(PipelineConfig(), material.dataset.task.kind)
            for depth in depths:
                material.demand |= Demand.of_config(preset, depth, layers)
        _materials[key] = material
        while len(_materials) > WARM:
            _materials.popitem(last=False)
    _materials.move_to_end(key)
    return _materials[key]


def trial_material(launch: Launch, dataset: str, teacher: str) -> Material:
    """`material_for` a trial, which this node may be the second to prepare.

    Raises:
        UnfitNodeError: the data or a teacher is not here, or has other rows than where it was prepared.
    """
    known = (launch.sweep.name, dataset, teacher) in _materials
    try:
        material = material_for(launch, dataset, teacher)
        if not known:
            _check_same_rows(launch, material)
    except InputError as error:
        raise UnfitNodeError(str(error)) from error
    return material


def _check_same_rows(launch: Launch, material: Material) -> None:
    name = material.dataset.name
    for row in Store.open(launch.store).read("datasets", launch.sweep.name).to_pylist():
        if row["dataset"] == name and row["fingerprint"] != material.dataset.fingerprint:
            raise InputError(
                f"datasets.{name}: has other rows here than where the sweep was prepared; "
                "put the same files on all nodes"
            )


def keep_only(launch: Launch, dataset: str, teacher: str) -> None:
    """Let go of all datasets and teachers but these, where memory is short."""
    for key in [key for key in _materials if key != (launch.sweep.name, dataset, teacher)]:
        del _materials[key]
