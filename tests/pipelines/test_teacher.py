"""Teachers: found, checked, fine-tuned once, put in the task's order and unit."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub.errors import (
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from transformers import AutoModelForSequenceClassification

from distiller.pipelines import fine_tuning
from distiller.pipelines import teacher as module
from distiller.pipelines.checkpoint import from_pretrained, longest_input, predict
from distiller.pipelines.data import Dataset, load_dataset
from distiller.pipelines.metrics import score
from distiller.pipelines.student import fold_scale
from distiller.pipelines.task import Task
from distiller.pipelines.teacher import Teacher, label_order, prepare_teacher
from distiller.pipelines.tokens import tokenize
from distiller.spaces.errors import InputError
from distiller.spaces.sweep import FineTune, TeacherConfig
from tests.pipelines.conftest import CPU, LABELS, save_rows, save_teacher

WORDS = "bert.embeddings.word_embeddings.weight"


def prepared(model: Any, folder: Path, dataset: Dataset, length: int = 24, **fine_tune: Any) -> Teacher:
    config = TeacherConfig(model=str(model), fine_tune=FineTune(**fine_tune) if fine_tune else None)
    return prepare_teacher("big", config, dataset, folder / "cache", folder, length, CPU)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return load_dataset("animals", save_rows(tmp_path / "rows"), tmp_path)


@pytest.fixture
def scores(tmp_path: Path) -> Dataset:
    return load_dataset("scores", save_rows(tmp_path / "scores", "regression"), tmp_path)


def test_labels_are_put_in_order_by_name(dataset: Dataset, tmp_path: Path) -> None:
    names = ("Horse", "BIRD", "fish")
    found = prepared(save_teacher(tmp_path / "t", labels=names), tmp_path, dataset)
    assert [names[i].lower() for i in found.order] == list(LABELS)
    unnamed = save_teacher(tmp_path / "u", labels=("LABEL_0", "LABEL_1", "LABEL_2"))
    assert prepared(unnamed, tmp_path, dataset).order.tolist() == [0, 1, 2]


def task_of(*labels: str) -> Task:
    return Task("classification", labels, "accuracy", len(labels), False)


def order_of(teacher: tuple[str, ...], *labels: str) -> list[int]:
    config = SimpleNamespace(id2label=dict(enumerate(teacher)))
    return [int(i) for i in label_order(config, task_of(*labels), "here")]


def test_labels_that_differ_in_case_alone_are_told_apart() -> None:
    assert order_of(("us", "US"), "US", "us") == [1, 0]
    assert order_of(("US", "Them", "us"), "Them", "US", "us") == [1, 0, 2]
    assert order_of(("Us", "THEM"), "them", "us") == [1, 0]
    assert order_of(("1", "0"), "0", "1") == [1, 0]
    for teacher, labels in ((("us", "US"), ("Us", "uS")), (("us", "Us"), ("us", "them"))):
        with pytest.raises(InputError, match=r"^here: the teacher's labels .* are not the dataset's"):
            order_of(teacher, *labels)


def test_an_order_that_is_assumed_is_said(caplog: pytest.LogCaptureFixture) -> None:
    unnamed = tuple(f"LABEL_{i}" for i in range(8))
    assert order_of(unnamed[:2], "no", "yes") == [0, 1]
    assert order_of(unnamed, *"abcdefgh") == list(range(8))
    two, eight = caplog.messages
    assert two.startswith(
        "here: the teacher's outputs have no names; they are taken for no, yes, in this order"
    )
    assert two.endswith("name them in id2label of the teacher's config.json")
    assert "taken for a, b, c, d, e, f, ..., in this order" in eight
    caplog.clear()
    assert order_of(unnamed[:2], "0", "1") == [0, 1]
    assert order_of(unnamed[1::-1], "LABEL_0", "LABEL_1") == [1, 0]
    assert order_of(("no", "yes"), "yes", "no") == [1, 0]
    assert caplog.messages == []


def test_a_teacher_is_in_evaluation_mode_and_without_gradients(dataset: Dataset, tmp_path: Path) -> None:
    found = prepared(save_teacher(tmp_path / "t"), tmp_path, dataset)
    assert not any(m.training for m in found.model.modules())
    assert not any(p.requires_grad for p in found.model.parameters())
    assert found.layers == 3


def message_of(model: Any, folder: Path, dataset: Dataset, **more: Any) -> str:
    with pytest.raises(InputError) as caught:
        prepared(model, folder, dataset, **more)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith("teachers.big.model: ")
    return text


def test_teachers_that_do_not_fit(dataset: Dataset, scores: Dataset, tmp_path: Path) -> None:
    two = save_teacher(tmp_path / "two", labels=("a", "b"))
    text = message_of(two, tmp_path, dataset)
    assert "the teacher has 2 labels, the dataset needs 3 labels" in text
    assert "fine_tune: true" in text
    assert "1 output (a regression)" in message_of(two, tmp_path, scores)
    others = save_teacher(tmp_path / "others", labels=("a", "b", "c"))
    assert "['a', 'b', 'c'] are not the dataset's ['bird', 'fish', 'horse']" in message_of(
        others, tmp_path, dataset
    )
    assert "at most 66 tokens, the dataset's max_length is 80" in message_of(
        others, tmp_path, dataset, length=80
    )


def test_teachers_that_cannot_be_found(dataset: Dataset, tmp_path: Path) -> None:
    assert f"no folder {tmp_path / 'missing'}" in message_of("./missing", tmp_path, dataset)
    assert "no folder /no/such" in message_of("/no/such", tmp_path, dataset)
    assert "no folder 'inside' in package 'nothing_here'" in message_of(
        "package:nothing_here/inside", tmp_path, dataset
    )
    assert "cannot be loaded" in message_of("someone/nothing", tmp_path, dataset)
    broken = save_teacher(tmp_path / "broken")
    (broken / "model.safetensors").unlink()
    assert "cannot be loaded" in message_of(broken, tmp_path, dataset)


def answer(status: int) -> Any:
    return SimpleNamespace(status_code=status, headers={}, request=None)


@pytest.mark.parametrize(
    ("cause", "reached"),
    [
        (LocalEntryNotFoundError("no copy"), False),
        (OfflineModeIsEnabled("offline"), False),
        (HfHubHTTPError("busy", response=answer(503)), False),
        (RepositoryNotFoundError("none", response=answer(404)), True),
        (None, True),
    ],
)
def test_a_hub_out_of_reach_is_no_wrong_name(
    cause: Exception | None, reached: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Kind:
        @staticmethod
        def from_pretrained(source: str, **options: Any) -> None:
            raise OSError("someone/nothing is no model\nand more") from cause

    monkeypatch.setattr("distiller.pipelines.checkpoint.AutoConfig", Kind)
    with pytest.raises(InputError, match=r"^here: 'someone/nothing' cannot be loaded") as refused:
        from_pretrained(Kind, "someone/nothing", None, "here")
    assert ("(someone/nothing is no model)" in str(refused.value)) == reached
    assert ("the model hub cannot be reached" in str(refused.value)) == (not reached)


def test_fingerprints_follow_weights_and_tokenizer(dataset: Dataset, tmp_path: Path) -> None:
    first = prepared(save_teacher(tmp_path / "a", seed=0), tmp_path, dataset).fingerprint
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    assert prepared("copy", tmp_path, dataset).fingerprint == first
    assert prepared(save_teacher(tmp_path / "b", seed=1), tmp_path, dataset).fingerprint != first
    tokenizer = tmp_path / "copy" / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text() + "\n")
    assert prepared("copy", tmp_path, dataset).fingerprint != first


def test_fine_tuning_happens_once(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[str] = []
    tune = module.fine_tune

    def counted(*given: Any) -> Any:
        runs.append(given[0])
        return tune(*given)

    monkeypatch.setattr(module, "fine_tune", counted)
    source = save_teacher(tmp_path / "t", labels=("x", "y"))
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, again = (prepared(source, tmp_path, dataset, epochs=1, learning_rate=1e-3) for _ in range(2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert len(runs) == 1
    assert (one.fingerprint, one.path) == (again.fingerprint, again.path)
    assert [one.model.config.id2label[i] for i in range(3)] == list(LABELS)
    assert not any(m.training for m in one.model.modules())
    prepared(source, tmp_path, dataset, epochs=1, learning_rate=2e-3)
    assert len(runs) == 2


def test_the_best_epoch_is_kept_and_predicts_in_the_tasks_unit(
    scores: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each epoch's model is scored on validation from outside; the saved one is the best of them."""
    source = save_teacher(tmp_path / "t", labels=("x", "y"))
    seen: list[tuple[float, dict[str, torch.Tensor]]] = []
    scored = fine_tuning.headline
    states: list[dict[str, torch.Tensor]] = []
    real = fine_tuning.predict

    def recording(model: Any, *given: Any, **options: Any) -> Any:
        states.append({k: v.clone() for k, v in model.state_dict().items()})
        return real(model, *given, **options)

    def noted(task: Any, metrics: dict[str, float]) -> float:
        seen.append((scored(task, metrics), states[-1]))
        return seen[-1][0]

    monkeypatch.setattr(fine_tuning, "predict", recording)
    monkeypatch.setattr(fine_tuning, "headline", noted)
    found = prepared(source, tmp_path, scores, epochs=6, learning_rate=1e-2, batch_size=8)
    assert len(seen) == 6
    best, state = max(seen, key=lambda s: s[0])
    assert seen.index((best, state)) < 5, "choose settings under which the last epoch is not the best"
    labels = scores.splits["validation"].labels
    assert labels is not None
    rows = tokenize(found.tokenizer, scores.splits["validation"].text_a, None, 24)
    outputs = real(found.model, rows, found.tokenizer.pad_token_id)
    metrics = score(scores.task, outputs, labels)
    assert metrics["pearson"] == pytest.approx(best, abs=1e-5)
    train = scores.splits["train"].labels
    assert train is not None
    fresh = AutoModelForSequenceClassification.from_config(found.model.config)
    fresh.load_state_dict({**state, WORDS: found.model.state_dict()[WORDS]})
    raw = real(fresh, rows, found.tokenizer.pad_token_id)
    np.testing.assert_allclose(outputs, raw * np.std(train) + np.mean(train), rtol=1e-4, atol=1e-4)
    assert abs(float(outputs.mean()) - float(train.mean())) < float(train.std())


def test_words_that_the_data_lacks_keep_their_embeddings(dataset: Dataset, tmp_path: Path) -> None:
    source = save_teacher(tmp_path / "t")
    before = AutoModelForSequenceClassification.from_pretrained(source).state_dict()[WORDS]
    found = prepared(source, tmp_path, dataset, epochs=1, learning_rate=1e-2)
    after = found.model.state_dict()[WORDS]
    assert after.shape == before.shape
    seen = tokenize(found.tokenizer, dataset.splits["train"].text_a, None, 24).ids.unique()
    held_out = tokenize(found.tokenizer, dataset.splits["validation"].text_a, None, 24).ids.unique()
    kept = {*seen.tolist(), *held_out.tolist(), *found.tokenizer.all_special_ids}
    unseen = sorted(set(range(len(before))) - kept)
    assert unseen
    assert torch.equal(after[unseen], before[unseen])
    assert (after[seen] != before[seen]).any(1).all()


def test_divergence_in_fine_tuning_is_said(dataset: Dataset, tmp_path: Path) -> None:
    source = save_teacher(tmp_path / "t")
    state = AutoModelForSequenceClassification.from_pretrained(source)
    with torch.no_grad():
        state.bert.encoder.layer[0].output.dense.weight[0, 0] = np.inf
    state.save_pretrained(source)
    text = message_of(source, tmp_path, dataset, epochs=1)
    assert "fine-tuning diverged" in text
    assert "learning_rate" in text


def test_folding_a_scale(scores: Dataset, dataset: Dataset, tmp_path: Path) -> None:
    model = prepared(save_teacher(tmp_path / "t", labels=None), tmp_path, scores).model
    rows = tokenize(prepared(tmp_path / "t", tmp_path, scores).tokenizer, ["w1 w2", "w9"], None, 9)
    before = predict(model, rows, 0)
    fold_scale(model, dataset.task, 3.0, 2.0)
    np.testing.assert_array_equal(predict(model, rows, 0), before)
    fold_scale(model, scores.task, 3.0, 2.0)
    np.testing.assert_allclose(predict(model, rows, 0), 2 * before + 3, atol=1e-5)


def test_how_much_a_teacher_reads(tmp_path: Path) -> None:
    load = AutoModelForSequenceClassification.from_pretrained
    assert longest_input(load(save_teacher(tmp_path / "b"))) == 66
    assert longest_input(load(save_teacher(tmp_path / "r", "roberta"))) == 64
