"""Meta-features against independent truth: closed forms, slow loops, and what must not change them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distiller.pipelines import meta_features as module
from distiller.pipelines.checkpoint import predict
from distiller.pipelines.data import Split
from distiller.pipelines.encoding import encode
from distiller.pipelines.fine_tuning import with_task_head
from distiller.pipelines.material import Material, prepare_material
from distiller.pipelines.meta_features import Features, bits, label_entropy, meta_features, sampled
from distiller.pipelines.metrics import score_split
from distiller.pipelines.probe import mean_states, probe_score
from distiller.pipelines.task import Task
from distiller.pipelines.tokens import tokenize
from distiller.results.meta_features import META_FEATURES
from distiller.spaces.datasets import DatasetConfig
from distiller.spaces.sweep import CacheConfig, FineTune, TeacherConfig
from tests.pipelines.conftest import CPU, make_material, save_rows, save_teacher
from tests.pipelines.kinds import KINDS, TUNED, kind_material

PYTHON: dict[str, type] = {"double": float, "int64": int, "string": str, "bool": bool}


@pytest.fixture(autouse=True)
def _exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "inference_dtype", lambda device: torch.float32)


def from_of(material: Material) -> dict[str, TeacherConfig]:
    """Where a material's teachers came from: those that `make_material` saved, none fine-tuned."""
    return {teacher.name: TeacherConfig(model=teacher.path) for teacher in material.teachers}


def near(one: Features, other: Features) -> bool:
    """The same but for rounding: of sums in another order, and of the fourth decimal."""
    sides = [json.loads(str(features["mean_embedding"])) for features in (one, other)]
    numbers = [{k: v for k, v in features.items() if k != "mean_embedding"} for features in (one, other)]
    known = [{k: v for k, v in each.items() if isinstance(v, (int, float))} for each in numbers]
    others = [{k: v for k, v in each.items() if k not in known[0]} for each in numbers]
    if others[0] != others[1]:
        return False
    return known[0] == pytest.approx(known[1], rel=1e-5) and sides[0] == pytest.approx(sides[1], abs=2e-4)


def without(features: Features) -> set[str]:
    return {name for name, value in features.items() if value is None}


def test_entropy_has_closed_forms() -> None:
    assert bits(np.array([5, 5, 5, 5])) == pytest.approx(2.0)
    assert bits(np.array([7, 0])) == 0.0
    assert math.copysign(1, bits(np.array([7]))) == 1
    assert bits(np.array([1, 3])) == pytest.approx(2 - 0.75 * math.log2(3))
    rows = Split(["a"] * 4, None, np.array([[1, 0, 1], [1, 0, 0], [1, 1, 0], [1, 1, 0]], np.float32))
    several = Task("multi_label", ("x", "y", "z"), "micro_f1", 3, False)
    assert label_entropy(several, rows) == pytest.approx((0 + 1 + (2 - 0.75 * math.log2(3))) / 3)
    tags = np.empty(2, object)
    tags[:] = [(0, 1, 0), (1,)]
    tagged = Task("token_classification", ("O", "B-PER"), "entity_f1", 2, False)
    assert label_entropy(tagged, Split(["a b c", "d"], None, tags)) == pytest.approx(1.0)
    scores = Task("regression", (), "pearson", 1, False)
    assert label_entropy(scores, Split(["a"], None, np.ones(1, np.float32))) is None


@pytest.mark.parametrize("pair", [False, True])
def test_every_column_is_there_with_its_type(folder_of: Callable[[str], Path], pair: bool) -> None:
    for task in ("classification", "regression"):
        material = make_material(folder_of(f"{task} {pair}"), task=task, pair=pair)
        found = meta_features(material, from_of(material))
        assert set(found) == {name for name, _, _ in META_FEATURES}
        for name, kind, _ in META_FEATURES:
            assert found[name] is None or type(found[name]) is PYTHON[str(kind)], name
        assert found["pair"] is pair
        nothing = {"label_entropy", "teacher_confidence", "teacher_agreement", "teacher_train_agreement"}
        few = set() if pair else {"type_token_ratio"}  # 101 texts of 8 words
        assert without(found) == few | (nothing if task == "regression" else set())


@pytest.mark.parametrize("kind", KINDS)
def test_other_kinds(folder_of: Callable[[str], Path], kind: str) -> None:
    """What has no meaning for a kind is null; the teacher's features are those of a pass of its own."""
    material = kind_material(folder_of(f"features {kind}"), kind)
    place = material.base / "encoder"
    found = meta_features(material, {"teacher": TeacherConfig(model=str(place), fine_tune=TUNED)})
    unknown = {
        "multi_label": set(),
        "qa": {"label_entropy", "teacher_confidence", "probe_score"},
        "token_classification": {"probe_score"},
    }
    assert without(found) - {"type_token_ratio"} == unknown[kind]
    assert found["pair"] is (kind == "qa")
    task, train = material.dataset.task, material.dataset.splits["train"]
    assert train.labels is not None
    read = encode(material.teacher.tokenizer, train, task, material.max_length, material.overlap)
    said = predict(material.teacher.model, read, material.teacher.origin.pad_id)[:, material.teacher.order]
    expected = score_split(task, train, read, said)
    assert found["teacher_train_score"] == pytest.approx(expected[task.metric], abs=1e-6)
    if kind == "multi_label":
        assert found["teacher_train_agreement"] == pytest.approx(((said > 0) == train.labels).all(1).mean())
    if kind == "qa":
        assert found["teacher_train_agreement"] == pytest.approx(expected["exact_match"])
    if kind == "token_classification":
        assert read.units is not None
        spoken = read.units[:, 0] >= 0
        right = said[spoken].argmax(1) == np.concatenate([np.array(row) for row in train.labels])
        assert found["teacher_train_agreement"] == pytest.approx(right.mean())
    assert found["teacher_agreement"] == pytest.approx(found["teacher_train_agreement"], abs=0.3)


@pytest.mark.parametrize("family", ["roberta", "mobilebert", "modernbert", "deberta-v2"])
def test_teachers_of_other_families(folder_of: Callable[[str], Path], family: str) -> None:
    """Whatever the teacher is, the small student is a BERT with its words."""
    material = make_material(folder_of(f"features {family}"), family, pair=True)
    found = meta_features(material, from_of(material))
    assert len(json.loads(str(found["mean_embedding"]))) == 32
    assert without(found) == set()


def test_confidence_and_agreement_by_a_slow_loop(material: Material) -> None:
    found = meta_features(material, from_of(material))
    split, teacher = material.dataset.splits["validation"], material.teacher
    assert split.labels is not None
    largest, right = [], []
    for text, label in zip(split.text_a, split.labels, strict=True):
        row = tokenize(teacher.tokenizer, [text], None, material.max_length)
        (logits,) = predict(teacher.model, row, teacher.origin.pad_id)[:, teacher.order]
        odds = [math.exp(value) for value in logits]
        largest.append(max(odds) / sum(odds))
        right.append(odds.index(max(odds)) == label)
    assert found["teacher_confidence"] == pytest.approx(np.mean(largest), abs=1e-5)
    assert found["teacher_agreement"] == pytest.approx(np.mean(right))


def test_a_mean_of_teachers_is_asked_as_one(folder_of: Callable[[str], Path]) -> None:
    """Confidence and agreement are of the mean; the embedding is of the first by name."""
    folder = folder_of("team")
    other = save_teacher(folder / "other", seed=7)
    team = make_material(folder, others={"another": other})
    alone = make_material(folder)
    found, one = meta_features(team, from_of(team)), meta_features(alone, from_of(alone))
    assert team.teacher.name == "another"
    assert found["embedding_checkpoint"] != one["embedding_checkpoint"]
    assert found["teacher_confidence"] != one["teacher_confidence"]
    assert found["tokens_mean"] == one["tokens_mean"]


def test_embeddings_do_not_depend_on_batches_or_padding(material: Material) -> None:
    teacher, texts = material.teacher, material.dataset.splits["train"].text_a
    rows = tokenize(teacher.tokenizer, texts, None, 24)
    whole = mean_states(teacher.model, rows, teacher.origin.pad_id)
    assert whole.shape == (60, 32)
    few = mean_states(teacher.model, rows, teacher.origin.pad_id, batch_size=7)
    order = np.random.default_rng(0).permutation(len(rows))
    np.testing.assert_allclose(few, whole, atol=2e-5)
    np.testing.assert_allclose(
        mean_states(teacher.model, rows.take(order), teacher.origin.pad_id), whole[order], atol=2e-5
    )
    ids = rows.ids[: rows.offsets[1]][None]
    plain: Any = teacher.model.base_model
    with torch.no_grad():  # the first row alone, without a mask
        states = plain(input_ids=ids, token_type_ids=torch.zeros_like(ids)).last_hidden_state
    np.testing.assert_allclose(whole[0], states[0].mean(0).numpy(), atol=2e-5)


def rewritten(config: DatasetConfig, split: str, change: Callable[[list[str]], list[str]]) -> None:
    (name,) = getattr(config, split)
    path = Path(name)
    head, *lines = path.read_text().splitlines()
    path.write_text("\n".join([head, *change(lines)]) + "\n")


def tuned_features(
    folder: Path, teacher: Path, split: str, change: Callable[[list[str]], list[str]]
) -> Features:
    """Of a teacher that is fine-tuned on the changed rows, in a folder of its own."""
    rows = save_rows(folder / "rows")
    rewritten(rows, split, change)
    teachers = {"t": TeacherConfig(model=str(teacher), fine_tune=FineTune(epochs=1, batch_size=16))}
    material = prepare_material("x", rows, ["t"], teachers, CacheConfig(path=str(folder / "c")), folder, CPU)
    return meta_features(material, teachers)


def test_nothing_of_test_is_read(folder_of: Callable[[str], Path]) -> None:
    """Neither texts nor labels; of validation and train they are."""
    folder = folder_of("leaks")
    teacher = save_teacher(folder / "teacher")

    def other_labels(lines: list[str]) -> list[str]:
        cells = [line.split(",") for line in lines]
        return [",".join([a, b, "bird" if i < 10 else c, s]) for i, (a, b, c, s) in enumerate(cells)]

    before = tuned_features(folder / "a", teacher, "test", lambda lines: lines)
    assert tuned_features(folder / "b", teacher, "test", other_labels) == before
    assert tuned_features(folder / "c", teacher, "test", lambda lines: lines[3:20]) == before
    changed = tuned_features(folder / "d", teacher, "validation", other_labels)
    assert changed["teacher_agreement"] != before["teacher_agreement"]
    assert changed["probe_score"] != before["probe_score"]


def test_the_order_of_rows_changes_nothing(folder_of: Callable[[str], Path]) -> None:
    folder = folder_of("order")
    found = []
    for name, turn in {"as it is": lambda x: x, "reversed": lambda x: x[::-1]}.items():
        rows = save_rows(folder / name)
        for split in ("train", "validation", "unlabeled"):
            rewritten(rows, split, turn)
        teachers = {"t": TeacherConfig(model=str(save_teacher(folder / "t")))}
        cache = CacheConfig(path=str(folder / name / "cache"))
        material = prepare_material("x", rows, ["t"], teachers, cache, folder, CPU)
        found.append(meta_features(material, teachers))
    assert near(*found)
    assert not near(found[0], {**found[1], "probe_score": 0.5})


def test_samples_are_the_same_rows_in_any_order() -> None:
    texts = [f"text {i % 90}" for i in range(100)]
    labels = np.arange(100) % 7
    order = np.random.default_rng(0).permutation(100)
    one = sampled(Split(texts, None, labels), 40)
    other = sampled(Split([texts[i] for i in order], None, labels[order]), 40)
    assert (one.text_a, one.labels.tolist()) == (other.text_a, other.labels.tolist())  # type: ignore[union-attr]
    assert len(one) == 40
    assert len(sampled(Split(texts, None, None), 200)) == 100


CLASSES = Task("classification", ("a", "b", "c"), "matthews", 3, False)


def test_a_probe_is_at_chance_on_noise_and_near_1_on_classes_apart() -> None:
    rng = np.random.default_rng(0)
    states, labels = rng.normal(size=(800, 20)), rng.integers(0, 3, 800)
    apart = states + 6 * np.eye(20)[labels]
    halves = slice(0, 400), slice(400, 800)

    def scored(task: Task, x: Any, y: Any) -> float:
        return probe_score(task, x[halves[0]], y[halves[0]], x[halves[1]], y[halves[1]])

    assert abs(scored(CLASSES, states, labels)) < 3 / math.sqrt(400)
    assert scored(CLASSES, apart, labels) > 0.97
    assert scored(CLASSES, states, np.zeros(800, int)) == 0.0  # one class alone is no error
    scores = Task("regression", (), "pearson", 1, False)
    assert scored(scores, states, states @ rng.normal(size=20)) > 0.999
    assert abs(scored(scores, states, rng.normal(size=800))) < 3 / math.sqrt(400)
    several = Task("multi_label", ("x", "y"), "subset_accuracy", 2, False)
    signs = (states[:, :2] + 0.3 > 0).astype(np.float32)
    assert scored(several, states, signs) > 0.85


def test_the_probe_is_of_the_checkpoint_before_fine_tuning(folder_of: Callable[[str], Path]) -> None:
    """Its embedding is that of the source's own states; the fine-tuned teacher's is another."""
    folder = folder_of("frozen")
    source = save_teacher(folder / "t", labels=("x", "y"))
    config = TeacherConfig(model=str(source), fine_tune=FineTune(epochs=2, learning_rate=1e-2, batch_size=8))
    cache = CacheConfig(path=str(folder / "cache"))
    material = prepare_material("x", save_rows(folder / "r"), ["t"], {"t": config}, cache, folder, CPU)
    generator = torch.random.get_rng_state()
    found = json.loads(str(meta_features(material, {"t": config})["mean_embedding"]))
    assert torch.equal(torch.random.get_rng_state(), generator)
    rows = tokenize(material.teacher.tokenizer, material.dataset.splits["train"].text_a, None, 24)
    frozen = with_task_head(str(source), None, material.dataset.task, "here", False)
    means = [mean_states(model, rows, 0).mean(0) for model in (frozen, material.teacher.model)]
    np.testing.assert_allclose(found, means[0], atol=1e-4)
    assert np.abs(np.array(found) - means[1]).max() > 0.01


def test_computed_once_and_anew_where_rows_differ(
    folder_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    material = make_material(folder_of("once"))
    runs: list[str] = []
    real = module.small_student_score

    def counted(small: Material) -> float:
        runs.append(small.dataset.name)
        assert "test" not in small.dataset.splits
        return real(small)

    monkeypatch.setattr(module, "small_student_score", counted)
    first, again = (meta_features(material, from_of(material)) for _ in range(2))
    assert first == again
    assert len(runs) == 1
    splits = material.dataset.splits
    fewer = {**splits, "unlabeled": splits["unlabeled"].take(range(20))}
    changed = replace(
        material, dataset=replace(material.dataset, splits=fewer), _pools={}, _texts={}, _outputs={}
    )
    assert meta_features(changed, from_of(changed))["vocabulary"] != first["vocabulary"]
    assert len(runs) == 2


def test_a_student_that_diverges_ends_it(material: Material, monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = {**module.STUDENT["student"], "width": 32}
    monkeypatch.setattr(module, "STUDENT", {**module.STUDENT, "student": narrow})
    broken = replace(material, _tables={32: torch.full((200, 32), math.nan)})
    frozen = module.Frozen.of(broken, from_of(broken)["teacher"])
    with pytest.raises(RuntimeError, match=r"^meta-features: the small student without a teacher failed: "):
        module.computed(broken, frozen)
