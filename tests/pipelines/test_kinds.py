"""Labels, spans and tags from files to a saved student: tiny, but all the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distiller.pipelines.cache import cached_outputs, live_targets
from distiller.pipelines.cohort import CohortRun, Member
from distiller.pipelines.demand import Demand
from distiller.pipelines.distill import Cohort, distill
from distiller.pipelines.material import Material
from tests.pipelines.conftest import config_of
from tests.pipelines.kinds import KINDS, kind_material


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
    print(kind, where.majority_scores, where.teacher_scores, result.curve[-1].metrics, result.test_metrics)
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
    said, live = found.targets(rows, demand, length), live_targets(where.teacher, batch, demand, torch.float32)
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
                torch.testing.assert_close(fused.students.parameters[name][3 - number], own, rtol=0, atol=1e-8)


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
