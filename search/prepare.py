"""In a worker, before the first trial: teachers, their outputs and latencies, once per node."""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from transformers import PretrainedConfig

from distiller.pipelines.cost import latency_ms
from distiller.pipelines.material import Material
from distiller.pipelines.meta_features import Features, meta_features
from distiller.pipelines.places import node_folder
from distiller.pipelines.pretrained import own_config
from distiller.pipelines.student import architecture, untrained
from distiller.pipelines.views import passes_of, views_of
from distiller.results.store import Store
from distiller.search.assignment import Launch, Preparation
from distiller.search.checkpoints import teacher_config
from distiller.search.describing import dataset_row
from distiller.search.materials import material_for, worker_device
from distiller.search.notes import Notes
from distiller.search.plan import planned_space, preset_departures
from distiller.search.prepared import Prepared, pairs_of
from distiller.search.teacher_shelf import TeacherShelf
from distiller.search.tokenizers import tokenizers_of
from distiller.spaces.config import MEAN, PipelineConfig
from distiller.spaces.errors import InputError
from distiller.spaces.presets import PRESETS
from distiller.spaces.priors import values_of
from distiller.spaces.space import Branch, Group, Space
from distiller.spaces.student import Student

MOST_ARCHITECTURES = 16
"""Architectures whose latency and no-teacher score are found before the search; others when first met."""


def prepare(launch: Launch, dataset: str, teacher: str) -> Prepared:
    """Runs in a worker: load, fine-tune the teacher if asked, fill the cache for every view of the space.

    The dataset's meta-features are found out there too, from what is ready by then.
    """
    notes = Notes()
    with notes.taken():
        tokenizers = tokenizers_of(launch.sweep, dataset, Path(launch.base))
        material = material_for(launch, dataset, teacher)
        space, removed = planned_space(launch.sweep, dataset, material.teacher.layers, tokenizers)
        fill_views(space, material, launch.sweep.budget.steps, launch.sweep.search.warm_presets)
        shelf = TeacherShelf(Store.open(launch.store), keeps=launch.cluster)
        began = time.perf_counter()
        features = meta_features(material, launch.sweep.teachers, shelf)
        seconds = time.perf_counter() - began
    row = dataset_row(launch.sweep.name, teacher, material, features)
    found = architectures(space, material.teacher.model.config, Path(launch.base))
    read_off = said_of_features(features, seconds)
    said = [f"{dataset}: {note}" for note in (*material.dataset.notes, *notes.texts, read_off)]
    removed = [*removed, *preset_departures(launch.sweep, dataset), *said]
    kinds = set(getattr(material.teacher.model.config, "layer_types", None) or ())
    return Prepared(
        dataset,
        teacher,
        material.teacher.layers,
        row,
        found,
        removed,
        tokenizers,
        several_kinds=len(kinds) > 1,
    )


def said_of_features(features: Features, seconds: float) -> str:
    """The two that took longest, in a line of progress."""
    probe = features["probe_score"]
    said = [] if probe is None else [f"linear probe of the frozen checkpoint {probe:.4f}"]
    said.append(f"small student without a teacher {features['small_student_score']:.4f}")
    return f"meta-features in {seconds:.1f} s: {', '.join(said)}"


def fill_views(space: Space, material: Material, steps: int, presets: Sequence[str] = ()) -> None:
    """Make the texts of every view that a slot can hold, and the teacher's outputs on them.

    What a choice draws more of where it stands in several slots is made by the first trial that meets it.

    Raises:
        InputError: a method lacks what it draws on, such as a checkpoint that cannot be loaded.
    """
    pool = len(material.tokens())
    batch_size = largest_batch(space)
    prediction = space.stages["prediction"][0]
    # Without a teacher only labelled rows are trained on: more passes, on texts that nobody labels.
    alone = isinstance(prediction, Branch) and "labels" in prediction.choices
    for name in presets:
        for view in views_of(PRESETS[name].augmentation, passes_of(steps, batch_size, pool)):
            material.outputs(view)
    for slot in range(len(space.stages["augmentation"])):
        for written in space.points("augmentation", slot=slot):
            policy = PipelineConfig.model_validate({"augmentation": written}).augmentation
            for view in views_of(policy, passes_of(steps, batch_size, pool)):
                material.outputs(view)
            if alone:
                for view in views_of(policy, passes_of(steps, batch_size, material.labeled_rows)):
                    material.tokens(view)


def largest_batch(space: Space) -> int:
    """The largest batch size of a space."""
    group = space.stages["optimization"][0]
    assert isinstance(group, Group)
    prior = group.children["batch_size"]
    assert not isinstance(prior, Branch)
    return max(int(value) for value in values_of(prior))


def answer(launch: Launch, preparation: Preparation) -> dict[str, Any]:
    """Runs in a worker: what came of a preparation, or why nothing did, for the driver."""
    try:
        return {"prepared": prepare(launch, preparation.dataset, preparation.teacher).to_json(), "done": True}
    except InputError as error:
        return {"refused": str(error), "done": True}
    except Exception as error:
        said = f"preparing {preparation.dataset} with {preparation.teacher}: {type(error).__name__}: {error}"
        return {"broke": said, "traceback": traceback.format_exc(), "done": True}


def architectures(space: Space, teacher: PretrainedConfig, base: Path) -> dict[str, Student]:
    """One student choice per architecture of the space, up to a limit; SVD starts before random ones."""
    points = [
        PipelineConfig.model_validate({"student": written}).student
        for written in space.points("student", levels=8)
    ]
    points.sort(key=lambda student: student.initialization != "svd")
    found: dict[str, Student] = {}
    for student in points:
        if len(found) < MOST_ARCHITECTURES:
            found.setdefault(architecture(student, own_config(student, teacher, base)), student)
    return found


def measure_latencies(launch: Launch) -> None:
    """Runs in the first worker while nothing else does: each architecture's latency, kept on its node.

    Raises:
        InputError: a teacher that cannot be read.
    """
    cache = node_folder(launch.sweep.cache.path)
    base = Path(launch.base)
    for dataset, team in pairs_of(launch.sweep):
        config = teacher_config(launch.sweep, team.split(MEAN)[0], base)
        space, _ = planned_space(launch.sweep, dataset, int(config.num_hidden_layers))
        for known, student in architectures(space, config, base).items():
            model = untrained(student, own_config(student, config, base))
            latency_ms(cast(Any, model).to(worker_device()), known, cache)
