"""Labels, spans and tags from files to a saved student: tiny, but all the way."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from distiller.pipelines.cache import cached_outputs, live_targets
from distiller.pipelines.checkpoint import predict
from distiller.pipelines.cohort import CohortRun, Member
from distiller.pipelines.demand import Demand
from distiller.pipelines.distill import Cohort, distill
from distiller.pipelines.heads import PIPELINE_TAGS
from distiller.pipelines.material import Material, prepare_material
from distiller.pipelines.save import save_student
from distiller.pipelines.teacher import prepare_teacher
from distiller.spaces.errors import InputError
from distiller.spaces.presets import PRESETS
from distiller.spaces.sweep import CacheConfig, FineTune, TeacherConfig
from tests.matrix import most_slow
from tests.pipelines.conftest import CPU, config_of
from tests.pipelines.kinds import KINDS, kind_material, save_encoder, save_kind


@pytest.fixture(scope="module")
def materials(folder_of: Callable[[str], Path]) -> dict[str, Material]:
    return {kind: kind_material(folder_of(kind), kind) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_students_learn(materials: dict[str, Material], kind: str) -> None:
    """Well beyond the predictor that ignores the text, on validation and on test."""
    where = materials[kind]
    config = config_of(
        prediction={"loss": "kl", "hard_weight": 0.3},
        student={"initialization": "svd", "layers": 2, "width": 32},
        optimization={"learning_rate": 5e-3, "batch_size": 16},
    )
    (result,) = distill(Cohort((Member(config, 0),), 150, 0, evaluations=2), where, test=True)
    task = where.dataset.task
    for split, metrics in (("validation", result.last.metrics), ("test", result.test_metrics)):
        least = where.majority_scores[split][task.metric] + 0.3
        assert metrics[task.metric] > least
        assert where.teacher_scores[split][task.metric] > least
        assert all(0 <= value <= 1 for value in metrics.values())


@pytest.mark.parametrize("kind", ["qa", "token_classification"])
def test_cached_outputs_are_the_live_ones(materials: dict[str, Material], tmp_path: Path, kind: str) -> None:
    where = materials[kind]
    tokens, demand = where.tokens(), Demand.grid((2,), ("cls", "tokens"))
    found = cached_outputs(where.teacher, tokens, demand, tmp_path, 1e9, "original")
    rows = np.array([7, 90, 3, 170])
    batch = tokens.padded(rows, where.teacher.tokenizer.pad_token_id)
    length = batch.ids.shape[1]
    said, live = (
        found.targets(rows, demand, length),
        live_targets(where.teacher, batch, demand, torch.float32),
    )
    assert said.logits.shape == (4, length, where.dataset.task.outputs)
    torch.testing.assert_close(said.logits[batch.mask], live.logits[batch.mask], rtol=1e-4, atol=1e-5)
    assert not said.logits[~batch.mask].any()
    for key, states in live.hidden.items():
        mask = batch.mask if key[1] == "tokens" else slice(None)
        torch.testing.assert_close(said.hidden[key][mask], states[mask], rtol=2e-3, atol=2e-3)
    for row in rows[:2]:  # against a plain call of the model on one row
        ids = tokens.ids[tokens.offsets[row] : tokens.offsets[row + 1]][None]
        types = tokens.types[tokens.offsets[row] : tokens.offsets[row + 1]][None]
        with torch.no_grad():
            plain = where.teacher.model(input_ids=ids, token_type_ids=types)
        expected = torch.stack([plain.start_logits, plain.end_logits], -1) if kind == "qa" else plain.logits
        own = found.targets(np.array([row]), Demand(), ids.shape[1]).logits
        torch.testing.assert_close(own, expected, rtol=1e-4, atol=1e-5)


RANDOM = {"method": "random", "strength": 0.3, "copies": 2}
CONFIGS = [
    config_of(prediction={"loss": "kl", "hard_weight": 0.3, "temperature": 3.0}),
    config_of(prediction={"loss": "kl", "hard_weight": 0.7}, augmentation=RANDOM),
    config_of(prediction={"loss": "mse", "hard_weight": 0.5}, intermediate={"objective": "mse"}),
    config_of(prediction={"loss": "dkd"}, augmentation=RANDOM, optimization={"label_smoothing": 0.1}),
]


@pytest.mark.parametrize("kind", KINDS)
def test_fused_equals_solo(materials: dict[str, Material], kind: str) -> None:
    where, members = materials[kind], [Member(config, seed) for seed, config in enumerate(CONFIGS)]
    fused = CohortRun(members[::-1], where, 10, 3, torch.float64)
    together = fused.advance(10)[::-1]
    for number, member in enumerate(members):
        solo = CohortRun([member], where, 10, 3, torch.float64)
        (alone,) = solo.advance(10)
        assert together[number].losses == pytest.approx(alone.losses, abs=1e-8)
        assert together[number].metrics == pytest.approx(alone.metrics, abs=1e-8)
        assert alone.losses["hard"] > 0
        assert alone.losses["soft"] > 0
        for name, own in solo.students.parameters.items():
            if "word_embeddings" not in name:  # its rows depend on who is there
                torch.testing.assert_close(
                    fused.students.parameters[name][3 - number], own, rtol=0, atol=1e-8
                )


@pytest.mark.parametrize("kind", ["qa", "token_classification"])
def test_labels_of_every_view_are_on_the_words_that_they_label(
    materials: dict[str, Material], kind: str
) -> None:
    """Words were drawn so that they tell their own label: it can be read off any view."""
    where = materials[kind]
    tokenizer, names = where.teacher.tokenizer, where.dataset.task.labels
    config = config_of(augmentation={"method": "random", "strength": 0.5, "copies": 4})
    run = CohortRun([Member(config, 0)], where, 4, 0)
    views, seen, changed = run.streams[0].views, 0, 0
    assert len(views) == 5
    for view in views:
        tokens = where.tokens(view)
        batch = where.labels(view).of(np.arange(len(tokens)), int(tokens.lengths.max()))
        assert batch.read is not None
        assert len(tokens) == len(where.tokens())
        changed += not torch.equal(tokens.ids, where.tokens().ids)
        for row in np.flatnonzero(batch.labeled.numpy()):
            ids = tokens.ids[tokens.offsets[row] : tokens.offsets[row + 1]].tolist()
            words = [int(t[1:]) if t[0] == "w" else -1 for t in tokenizer.convert_ids_to_tokens(ids)]
            if kind == "qa":
                start, end = batch.values[row].tolist()
                assert 0 <= words[start] < 30 <= words[end] < 60
                assert batch.read[row, start : end + 1].all()
                seen += 1
                continue
            for word, label in zip(words, batch.values[row].tolist(), strict=False):
                if label >= 0:
                    assert names[label] == true_tag(word)
                    seen += 1
    assert changed == 4
    assert seen > 700


def true_tag(word: int) -> str:
    """As `sentence` draws them."""
    if word < 40:
        return "B-PER" if word < 20 else "B-LOC"
    return "O" if word >= 60 else "I-PER" if word < 50 else "I-LOC"


LOAD = """
import json, sys
import torch, transformers
torch.set_num_threads(1)
kind, folder, texts = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
model = getattr(transformers, kind).from_pretrained(folder)
tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
with torch.no_grad():
    said = model(**tokenizer(*texts, return_tensors="pt"))
logits = [said.start_logits, said.end_logits] if "start_logits" in said else [said.logits]
said, config = torch.stack(logits, -1).squeeze(-1)[0].tolist(), model.config
print(json.dumps([said, config.id2label, config.problem_type]))
assert not any(name.startswith("distiller") for name in sys.modules)
"""
HEADS = {
    "multi_label": "AutoModelForSequenceClassification",
    "qa": "AutoModelForQuestionAnswering",
    "token_classification": "AutoModelForTokenClassification",
}


@pytest.mark.parametrize("kind", most_slow(KINDS, 1))
def test_saved_students_are_ordinary_models(
    materials: dict[str, Material], tmp_path: Path, kind: str
) -> None:
    """Loaded by transformers alone, with the card's class, they say what they said in training."""
    where, member = materials[kind], Member(config_of(), 0)
    (result,) = distill(Cohort((member,), 5, 0), where, keep_students=True)
    assert result.student is not None
    save_student(result.student, where, member.config, tmp_path / "s", {"validation": 0.5})
    card = (tmp_path / "s" / "README.md").read_text(encoding="utf-8")
    assert f"from transformers import {HEADS[kind]}, AutoTokenizer" in card
    assert f"pipeline_tag: {PIPELINE_TAGS[where.dataset.task.kind]}" in card
    rows, tokens = where.dataset.splits["test"], where.held_out["test"]
    texts = [rows.text_a[3]] if rows.text_b is None else [rows.text_a[3], rows.text_b[3]]
    command = [sys.executable, "-c", LOAD, HEADS[kind], str(tmp_path / "s"), json.dumps(texts)]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    said, names, problem = json.loads(ran.stdout)
    expected = predict(result.student, tokens.take(np.array([3])), 0)
    np.testing.assert_allclose(np.array(said).reshape(expected.shape), expected, rtol=1e-4, atol=1e-5)
    if where.dataset.task.labels:
        assert tuple(names.values()) == where.dataset.task.labels
    assert problem == ("multi_label_classification" if kind == "multi_label" else None)


@pytest.mark.parametrize("kind", KINDS)
def test_teachers_of_each_kind(materials: dict[str, Material], tmp_path: Path, kind: str) -> None:
    """A fine-tuned one is taken as it is; an encoder without a head of the kind is refused by name."""
    where = materials[kind]
    given = TeacherConfig(model=where.teacher.path)
    again = prepare_teacher("big", given, where.dataset, tmp_path, tmp_path, 40, CPU)
    assert again.order.tolist() == list(range(where.dataset.task.outputs))
    rows = where.held_out["test"]
    np.testing.assert_array_equal(predict(again.model, rows, 0), predict(where.teacher.model, rows, 0))
    encoder = save_encoder(tmp_path / "encoder")
    if kind == "qa":
        said = r"the teacher has no head for qa \(qa_outputs.*set fine_tune: true"
    else:
        said = rf"the teacher has 2 labels, the dataset needs {where.dataset.task.outputs} labels"
    given = TeacherConfig(model=str(encoder))
    with pytest.raises(InputError, match=said):
        prepare_teacher("big", given, where.dataset, tmp_path, tmp_path, 40, CPU)


def test_long_contexts_in_windows(folder_of: Callable[[str], Path]) -> None:
    """Answers far beyond the first window are learned and found; windows without them teach no label."""
    where = kind_material(folder_of("long"), "qa", max_length=32, before=60)
    pool, train = where.pool(), where.dataset.splits["train"]
    assert len(pool.tokens) > 200 + 60
    assert pool.tokens.sources is not None
    assert where.labeled_rows < len(pool.tokens) // 2
    labeled = pool.labels.labeled.numpy()
    assert labeled[: where.labeled_rows].all()
    assert not labeled[where.labeled_rows :].any()
    assert set(pool.tokens.sources[labeled].tolist()) == set(range(len(train)))
    config = config_of(
        prediction={"loss": "kl", "hard_weight": 0.5},
        student={"initialization": "svd", "layers": 2, "width": 32},
        augmentation={"method": "random"},
        optimization={"learning_rate": 5e-3, "batch_size": 32},
    )
    (result,) = distill(Cohort((Member(config, 0),), 150, 0, evaluations=1), where, test=True)
    validation = where.held_out["validation"]
    assert validation.sources is not None
    assert len(validation) > 80
    assert where.teacher_scores["test"]["f1"] > 0.8
    assert result.test_metrics["f1"] > 0.8


def test_baselines_and_presets_run_on_words(materials: dict[str, Material]) -> None:
    """Without a teacher the pool is the labelled rows; a recipe with mixtures goes without them."""
    for kind in ("qa", "token_classification"):
        where = materials[kind]
        configs = [PRESETS[name].applied(config_of(), kind) for name in ("no_teacher", "hinton", "mixkd")]
        for config in configs:
            (result,) = distill(Cohort((Member(config, 0),), 4, 0, evaluations=1), where)
            assert result.completed, result.error
            assert ("soft" in result.last.losses) == config.uses_teacher


@pytest.mark.parametrize("family", most_slow(["deberta-v2", "roberta", "modernbert"], 1))
def test_families_read_words_too(folder_of: Callable[[str], Path], family: str) -> None:
    """Positions that count from padding, masks of their own kind, no segments: fused is still solo."""
    where = kind_material(folder_of(family), "token_classification", family)
    members = [Member(CONFIGS[1], 0), Member(CONFIGS[2], 1)]
    fused = CohortRun(members, where, 5, 0, torch.float64)
    assert fused.students.fused
    for together, member in zip(fused.advance(5), members, strict=True):
        (alone,) = CohortRun([member], where, 5, 0, torch.float64).advance(5)
        assert together.losses == pytest.approx(alone.losses, abs=1e-8)


@pytest.mark.parametrize("kind", ["qa", "token_classification"])
def test_outputs_at_tokens_need_one_tokenizer(folder_of: Callable[[str], Path], kind: str) -> None:
    folder = folder_of("tokenizers")
    rows = save_kind(folder / "rows", kind)
    tune = FineTune(epochs=1)
    teachers = {
        "a": TeacherConfig(model=str(save_encoder(folder / "a")), fine_tune=tune),
        "b": TeacherConfig(model=str(save_encoder(folder / "b", "roberta")), fine_tune=tune),
    }

    def taught(*names: str) -> Material:
        return prepare_material(kind, rows, names, teachers, CacheConfig(path=str(folder)), folder, CPU)

    with pytest.raises(
        InputError, match=rf"^teachers.b: its tokenizer differs from that of a, and {kind} has"
    ):
        taught("a", "b")
    own = {"initialization": "pretrained", "checkpoint": "b"}
    for prediction in ("kl", "labels"):
        config = config_of(student=own, prediction=prediction)
        with pytest.raises(InputError, match=rf"^student: the student 'b' has another .* and {kind} has its"):
            CohortRun([Member(config, 0)], taught("a"), 5, 0)
