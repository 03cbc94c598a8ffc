"""The mean of teachers: of logits, at every temperature, in cached, live and mixed outputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from distiller.pipelines import cache
from distiller.pipelines.checkpoint import predict
from distiller.pipelines.cohort import CohortRun, Member, adaptations, cohort_key
from distiller.pipelines.demand import Demand
from distiller.pipelines.ensemble import mean_logits
from distiller.pipelines.material import Material, prepare_material
from distiller.pipelines.metrics import score
from distiller.pipelines.streams import Stream
from distiller.spaces.config import PipelineConfig
from distiller.spaces.errors import InputError
from distiller.spaces.sweep import CacheConfig, TeacherConfig
from tests.pipelines.cohorts import assert_same_member, term, trained
from tests.pipelines.conftest import CPU, LABELS, config_of, save_rows, save_teacher, tokenizer_of

MIXUP = {"method": "mixup"}


@pytest.fixture(scope="module")
def place(folder_of: Callable[[str], Path]) -> Path:
    """Three teachers: `a` and `b` share a tokenizer, `c` has another one and its classes in another order."""
    folder = folder_of("teachers")
    save_teacher(folder / "a", "bert", seed=1)
    save_teacher(folder / "b", "electra", seed=2, hidden_size=16, num_hidden_layers=2)
    save_teacher(folder / "c", "roberta", labels=(LABELS[2], LABELS[0], LABELS[1]), seed=3)
    return folder


def taught(place: Path, *names: str, demand: Demand | None = None, max_gb: float = 1.0) -> Material:
    return prepare_material(
        "animals",
        save_rows(place / "rows"),
        names,
        {name: TeacherConfig(model=name) for name in "abc"},
        CacheConfig(path=str(place / "cache"), max_gb=max_gb),
        place,
        CPU,
        demand,
    )


def by(*names: str, **more: Any) -> PipelineConfig:
    return config_of(teacher=[{"checkpoint": name} for name in names], **more)


@given(
    arrays(np.float64, (3, 4, 5), elements=st.floats(-20, 20)),
    st.floats(0.2, 20),
)
def test_a_mean_is_the_geometric_mean_at_every_temperature(logits: Any, temperature: float) -> None:
    each = [torch.from_numpy(one) for one in logits]
    found = torch.softmax(mean_logits(each) / temperature, -1)
    product = torch.stack([torch.softmax(one / temperature, -1) for one in each]).log().mean(0).exp()
    torch.testing.assert_close(found, product / product.sum(-1, keepdim=True), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(mean_logits(each[:1]), each[0], rtol=0, atol=0)


def test_outputs_are_the_mean_of_what_each_says(place: Path) -> None:
    alone = {name: taught(place, name) for name in "abc"}
    mean = taught(place, "c", "a", "b")
    assert mean.teacher_name == "a+b+c"
    expected = torch.stack([alone[name].outputs().logits for name in "abc"]).mean(0)
    torch.testing.assert_close(mean.outputs().logits, expected, rtol=0, atol=1e-6)
    assert not torch.allclose(alone["a"].outputs().logits, expected, atol=1e-2)
    for representation, states in alone["a"].outputs().hidden.items():
        assert torch.equal(mean.outputs().hidden[representation], states)
    said = np.mean([predicted(alone[name]) for name in "abc"], 0)
    labels = mean.dataset.splits["validation"].labels
    assert labels is not None
    assert mean.teacher_scores["validation"] == pytest.approx(score(mean.dataset.task, said, labels))


def predicted(material: Material) -> Any:
    origin = material.teacher.origin
    logits = predict(origin.model, material.held_out["validation"], origin.pad_id)
    return logits[:, material.teacher.order.numpy()]


def test_slots_have_no_order_and_one_that_comes_twice_counts_twice(place: Path) -> None:
    one, other = taught(place, "a", "b"), taught(place, "b", "a")
    assert torch.equal(one.outputs().logits, other.outputs().logits)
    assert one.teacher.name == other.teacher.name == "a"
    assert by("a", "b").config_id == by("b", "a").config_id
    assert cohort_key(by("a", "b"), one) == cohort_key(by("b", "a"), one)
    twice = taught(place, "a", "b", "a").outputs().logits
    a, b = (taught(place, name).outputs().logits for name in "ab")
    torch.testing.assert_close(twice, (2 * a + b) / 3, rtol=0, atol=1e-6)
    torch.testing.assert_close(taught(place, "b", "b").outputs().logits, b, rtol=0, atol=1e-7)


def test_each_teacher_speaks_once_for_all_means(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":  # what is scored while preparing is in the cache from here on
        taught(place, name)
    spoken: list[str] = []
    compute = cache.compute_outputs

    def counted(teacher: Any, *given: Any) -> None:
        spoken.append(teacher.name)
        compute(teacher, *given)

    monkeypatch.setattr(cache, "compute_outputs", counted)
    wanted = Demand.grid((1,), ("mean",))
    fresh = place / "fresh cache"
    for names in (("a", "b"), ("a", "c"), ("a", "b", "c")):
        material = taught(place, *names, demand=wanted)
        material.cache = fresh
        material.outputs()
    assert sorted(spoken) == ["a", "b", "c"]


def test_the_mean_teaches(place: Path) -> None:
    """A student of the mean is neither's student, the same with any neighbours; its row says what it saw."""
    material = taught(place, "a", "c")
    config = by("c", "a", intermediate=term("mse"), prediction={"loss": "kl", "hard_weight": 0.0})
    other = by("a", "c", intermediate=term("pkd", weight=2.0), prediction={"loss": "mse", "hard_weight": 0.0})
    members = [Member(config, 0), Member(other, 1)]
    run = trained(members, material, 5)
    for name, member in enumerate(members):
        assert_same_member(run, name, trained([member], material, 5))
    assert run.student(0).config.model_type == "bert"
    alone = trained([Member(by("a", intermediate=term("mse")), 0)], taught(place, "a"), 5)
    assert run.reports[0].losses["soft"] != pytest.approx(alone.reports[0].losses["soft"], rel=1e-3)  # type: ignore[attr-defined]
    assert adaptations(config, material) == ["intermediate: from a, the first by name of the teachers"]
    assert adaptations(by("a", "c"), material) == []
    assert adaptations(by("a", "a", intermediate=term("mse")), taught(place, "a", "a")) == []


def test_live_states_are_the_leading_teachers(place: Path) -> None:
    wanted = Demand.grid((2,), ("tokens",))
    rows, rounds = np.array([1, 9, 30, 77]), np.zeros(4, int)
    found, states = [], []
    for material in (taught(place, "a", "c"), taught(place, "a", "c", max_gb=1e-9), taught(place, "a")):
        stream = Stream(by("a").augmentation, material, wanted)
        batch = stream.batch(rows, rounds, np.random.default_rng(0))
        assert batch.targets is not None
        found.append(batch.targets)
        states.append(batch.targets.hidden[2, "tokens"][batch.inputs.mask])
    torch.testing.assert_close(states[1], states[0], rtol=0, atol=5e-3)
    assert torch.equal(states[2], states[0])
    torch.testing.assert_close(found[1].logits, found[0].logits, rtol=0, atol=1e-6)
    assert not torch.allclose(found[2].logits, found[0].logits, atol=1e-2)


def test_each_teacher_mixes_in_its_own_table(place: Path) -> None:
    material = taught(place, "b", "a")
    stream = Stream(by("a", augmentation=MIXUP).augmentation, material, Demand.grid((3,), ("cls",)))
    rows = np.array([1, 9, 30, 77, 4, 12])
    batch = stream.batch(rows, np.zeros(6, int), np.random.default_rng(0))
    assert batch.targets is not None
    assert batch.partner is not None
    assert batch.share is not None
    plain = material.outputs().targets(rows, Demand(), 0).logits
    torch.testing.assert_close(batch.targets.logits[:3], plain[:3], rtol=0, atol=1e-5)
    for row in range(3, 6):
        said = []
        for teacher in material.teachers:
            words = teacher.model.get_input_embeddings()(batch.inputs.ids)
            mixed = batch.share[row] * words[row] + (1 - batch.share[row]) * words[batch.partner[row]]
            out = teacher.model(
                inputs_embeds=mixed[None],
                attention_mask=batch.inputs.mask[row][None].long(),
                token_type_ids=batch.inputs.types[row][None],
                output_hidden_states=True,
            )
            said.append(out)
        expected = (said[0].logits + said[1].logits)[0] / 2
        torch.testing.assert_close(batch.targets.logits[row], expected, rtol=0, atol=1e-5)
        lead = said[0].hidden_states[3][0, 0]
        torch.testing.assert_close(batch.targets.hidden[3, "cls"][row], lead, rtol=0, atol=1e-5)
    trained([Member(by("a", "b", augmentation=MIXUP), 0)], material, 3)


def test_mixtures_are_read_with_each_teachers_own_segments(
    folder_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mixture that is all of one row is that row, whoever else tells no segments of a pair."""
    folder = folder_of("segments")
    save_teacher(folder / "a", seed=1)
    silent = tokenizer_of(0)
    silent.model_input_names = ["input_ids", "attention_mask"]
    silent.save_pretrained(save_teacher(folder / "b", seed=2))

    def whole(self: Any, size: int, rng: Any) -> Any:
        return torch.arange(size).flip(0), torch.ones(size)

    monkeypatch.setattr(Stream, "_mixing", whole)
    student = {"initialization": "pretrained", "checkpoint": "b"}
    rows = np.array([1, 9, 30, 77, 4, 12])
    for names, own in ((("a",), {}), (("a", "b"), {}), (("b", "a"), {}), (("a",), {"student": student})):
        material = prepare_material(
            "pairs",
            save_rows(folder / "rows", pair=True),
            names,
            {name: TeacherConfig(model=name) for name in "ab"},
            CacheConfig(path=str(folder / "cache")),
            folder,
            CPU,
        )
        config = by(*names, augmentation=MIXUP, **own)
        wanted = Demand.grid((3,), ("cls",))
        stream = Stream(config.augmentation, material, wanted, material.origin(config.student))
        batch = stream.batch(rows, np.zeros(6, int), np.random.default_rng(0))
        assert batch.targets is not None
        assert bool(batch.inputs.types.any()) == (not own)
        plain = material.outputs().targets(rows, wanted, 0)
        torch.testing.assert_close(batch.targets.logits, plain.logits, rtol=0, atol=1e-5)
        torch.testing.assert_close(batch.targets.hidden, plain.hidden, rtol=0, atol=5e-3)


def test_teachers_of_several_tokenizers_do_not_mix(place: Path) -> None:
    with pytest.raises(InputError, match=r"^augmentation: mixup mixes tokens, and student and teachers"):
        CohortRun([Member(by("a", "c", augmentation=MIXUP), 0)], taught(place, "a", "c"), 5, 0)


def test_the_mean_of_scores(folder_of: Callable[[str], Path]) -> None:
    folder = folder_of("means of scores")
    for seed, name in enumerate("ab"):
        save_teacher(folder / name, labels=None, seed=seed)
    rows = save_rows(folder / "rows", "regression")
    teachers = {name: TeacherConfig(model=name) for name in "ab"}
    said = [
        prepare_material("scores", rows, names, teachers, CacheConfig(path=str(folder / "c")), folder, CPU)
        .outputs()
        .logits
        for names in ("a", "b", "ab")
    ]
    torch.testing.assert_close(said[2], (said[0] + said[1]) / 2, rtol=0, atol=1e-6)


def test_a_teacher_without_a_padding_id_takes_its_tokenizers(place: Path) -> None:
    folder = save_teacher(place / "a without", "bert", seed=1)
    text = (folder / "config.json").read_text().replace('"pad_token_id": 0', '"pad_token_id": null')
    (folder / "config.json").write_text(text)
    tokenizer_of(0).save_pretrained(folder)
    found = prepare_material(
        "animals",
        save_rows(place / "rows"),
        ["x"],
        {"x": TeacherConfig(model=str(folder))},
        CacheConfig(path=str(place / "cache")),
        place,
        CPU,
    )
    assert found.teacher.model.config.pad_token_id == 0
