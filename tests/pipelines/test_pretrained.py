"""Pretrained students: their own weights, size and tokenizer; what two tokenizers can still compare."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerFast,
)

from distiller.pipelines.checkpoint import predict, tokenizer_key
from distiller.pipelines.cohort import CohortRun, Member, cohort_key
from distiller.pipelines.demand import Demand
from distiller.pipelines.distill import Cohort, distill
from distiller.pipelines.material import Material
from distiller.pipelines.save import save_student
from distiller.pipelines.streams import Stream
from distiller.pipelines.student import architecture, layers_of, width_of
from distiller.pipelines.views import materialise
from distiller.spaces.config import PipelineConfig
from distiller.spaces.errors import InputError
from distiller.spaces.student import Pretrained
from tests.pipelines.cohorts import assert_same_member, term, trained
from tests.pipelines.conftest import LABELS, config_of, make_material, save_teacher, tokenizer_of


def letters() -> PreTrainedTokenizerFast:
    """A tokenizer that cuts texts into letters, with padding at 2: longer than words, other ids."""
    special = ["[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]"]
    ids = {token: i for i, token in enumerate([*special, *"w0123456789 abcdefgh"])}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 0), ("[SEP]", 1)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        unk_token="[UNK]",
        mask_token="[MASK]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def save_encoder(folder: Path, family: str = "roberta", tokenizer: Any = None) -> Path:
    """An encoder of 2 layers x 16 without a head, as it comes of pretraining."""
    tokenizer = tokenizer or letters()
    inner = "hidden_dim" if family == "distilbert" else "intermediate_size"
    config = AutoConfig.for_model(
        family,
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=80,
        pad_token_id=tokenizer.pad_token_id,
        **{inner: 32},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(9)
        AutoModel.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def student_of(folder: Path | str, **more: Any) -> PipelineConfig:
    return config_of(student={"initialization": "pretrained", "checkpoint": str(folder)}, **more)


@pytest.fixture(scope="module")
def foreign(folder_of: Callable[[str], Path]) -> Path:
    """An encoder that reads letters."""
    return save_encoder(folder_of("letters") / "encoder")


@pytest.fixture(scope="module")
def kin(folder_of: Callable[[str], Path]) -> Path:
    """An encoder with the teacher's tokenizer, of another family, that tells no segments."""
    return save_encoder(folder_of("kin") / "encoder", "distilbert", tokenizer_of(0))


def test_equal_tokenizers_are_known_by_what_they_give(tmp_path: Path) -> None:
    one = tokenizer_of(0)
    one.save_pretrained(tmp_path / "saved")
    assert tokenizer_key(AutoTokenizer.from_pretrained(tmp_path / "saved")) == tokenizer_key(one)
    silent = tokenizer_of(0)
    silent.model_input_names = ["input_ids", "attention_mask"]
    assert tokenizer_key(silent) == tokenizer_key(one)
    cased = tokenizer_of(0)
    cased.backend_tokenizer.normalizer = None
    more = tokenizer_of(0)
    more.add_tokens(["w999"])
    renamed = tokenizer_of(0)
    renamed.pad_token = "[UNK]"
    unframed = tokenizer_of(0)
    unframed.backend_tokenizer.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B:1")
    keys = [tokenizer_key(t) for t in (one, tokenizer_of(1), letters(), cased, more, renamed, unframed)]
    assert len(set(keys)) == len(keys)


def test_shape_and_start_are_the_checkpoints(material: Material, foreign: Path) -> None:
    choice = student_of(foreign).student
    assert isinstance(choice, Pretrained)
    origin = material.origin(choice)
    assert (layers_of(choice, origin.config), width_of(choice, origin.config)) == (2, 16)
    assert architecture(choice, origin.config) == f"roberta-L2-H16@{foreign}"
    encoder = AutoModel.from_pretrained(foreign).state_dict()
    run = CohortRun([Member(student_of(foreign), seed) for seed in (1, 2)], material, 5, 0)
    assert run.students.fused
    one, other = (run.student(name).state_dict() for name in (0, 1))
    for name, tensor in encoder.items():
        if not name.startswith("pooler"):
            assert torch.equal(one[f"roberta.{name}"], tensor), name
            assert torch.equal(other[f"roberta.{name}"], tensor), name
    drawn = [name for name in one if not torch.equal(one[name], other[name])]
    assert sorted(drawn) == ["classifier.dense.weight", "classifier.out_proj.weight"]
    assert one["classifier.dense.weight"].std().item() == pytest.approx(0.02, rel=0.2)
    again = CohortRun([Member(student_of(foreign), 2)], material, 5, 0).student(0).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in other.items())


def test_a_head_of_other_classes_is_never_kept(tmp_path: Path, material: Material) -> None:
    tuned = save_teacher(tmp_path / "tuned", labels=LABELS)
    head = AutoModelForSequenceClassification.from_pretrained(tuned).classifier
    run = CohortRun([Member(student_of(tuned), 1)], material, 5, 0)
    model = run.student(0)
    assert not torch.equal(model.classifier.weight, head.weight)
    assert not bool(model.classifier.bias.any())
    assert model.config.id2label == dict(enumerate(LABELS))


def test_an_equal_tokenizer_shares_everything(material: Material, kin: Path) -> None:
    origin = material.origin(student_of(kin).student)
    assert origin.shares_tokens(material.teacher.origin)
    assert torch.equal(material.tokens(origin=origin).ids, material.tokens().ids)
    config = student_of(kin, intermediate=term("mse"), augmentation={"method": "mixup"})
    members = [Member(config, 0), Member(student_of(kin, intermediate=term("cosine")), 1)]
    run = trained(members, material, 5)
    for name, member in enumerate(members):
        assert_same_member(run, name, trained([member], material, 5))
    assert [[state.name for state in g.kind.reads] for g in run.terms] == [["tokens"], ["tokens"]]


def test_segments_are_told_where_the_students_tokenizer_tells_them(
    folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    """The teacher's tokenizer gives no segments, the student's otherwise equal one does."""
    silent = tokenizer_of(0)
    silent.model_input_names = silent.init_kwargs["model_input_names"] = ["input_ids", "attention_mask"]
    teacher = save_teacher(tmp_path / "teacher", "distilbert")
    silent.save_pretrained(teacher)
    material = make_material(folder_of("segments"), pair=True, teacher=teacher)
    origin = material.origin(student_of(save_encoder(tmp_path / "own", "bert", tokenizer_of(0))).student)
    assert origin.shares_tokens(material.teacher.origin)
    own, teachers = material.tokens(origin=origin), material.tokens()
    assert torch.equal(own.ids, teachers.ids)
    assert (int(own.types.max()), int(teachers.types.max())) == (1, 0)
    assert int(material.held_out_tokens("test", origin).types.max()) == 1


ROW_WISE = [
    {"intermediate": term("mse", representation="mean")},
    {"intermediate": term("pkd"), "augmentation": {"method": "random", "copies": 2}},
    {"intermediate": [term("mi_alpha"), term("cosine", representation="cls", mapping={"kind": "emd"})]},
    {"prediction": "labels"},
]


def test_students_with_their_own_tokenizer_train_together_as_alone(material: Material, foreign: Path) -> None:
    members = [Member(student_of(foreign, **more), seed) for seed, more in enumerate(ROW_WISE[:3])]
    run = trained(members, material, 6)
    assert run.students.fused
    assert int(run.vocabulary.new_ids.shape[0]) == len(letters())
    for name, member in enumerate(members):
        solo = trained([member], material, 6)
        for part, value in run.reports[name].losses.items():  # type: ignore[attr-defined]
            assert value == pytest.approx(solo.reports[0].losses[part], abs=1e-8)  # type: ignore[attr-defined]
        found, expected = run.student(name).state_dict(), solo.student(0).state_dict()
        for key, tensor in expected.items():
            torch.testing.assert_close(found[key], tensor, rtol=0, atol=1e-6)


def test_rows_are_the_same_texts_for_both(material: Material, foreign: Path) -> None:
    """Inputs spell the beginning of a view's text in letters, targets are of that text in words."""
    config = student_of(foreign, augmentation={"method": "random", "copies": 1})
    origin = material.origin(config.student)
    stream = Stream(config.augmentation, material, Demand.grid((2,), ("cls",)), origin)
    rows, views = np.array([3, 70, 12, 5, 61, 40]), set()
    batch = stream.batch(rows, np.array([0, 1, 0, 1, 0, 1]), np.random.default_rng(0))
    assert batch.targets is not None
    splits = [material.dataset.splits[name] for name in ("train", "unlabeled")]
    texts = [text for split in splits for text in split.text_a]
    versions = [materialise(texts, None, view, material.sources)[0] for view in stream.views]
    teacher = material.teacher
    for at, row in enumerate(rows):
        ids = batch.inputs.ids[at][batch.inputs.mask[at]].tolist()
        spelt = "".join(origin.tokenizer.convert_ids_to_tokens(ids)[1:-1])
        view = next(v for v, version in enumerate(versions) if version[row].startswith(spelt))
        encoded = teacher.tokenizer(versions[view][row], return_tensors="pt")
        said = teacher.model(**encoded, output_hidden_states=True)
        torch.testing.assert_close(batch.targets.logits[at], said.logits[0], rtol=0, atol=1e-5)
        expected = said.hidden_states[2][0, 0]
        torch.testing.assert_close(batch.targets.hidden[2, "cls"][at], expected, rtol=0, atol=5e-3)
        views.add(view)
    assert views == {0, 1}


def test_what_the_cache_lacks_is_asked_of_the_teacher_in_its_own_tokens(
    folder_of: Callable[[str], Path], foreign: Path
) -> None:
    folder = folder_of("live")
    cached = make_material(folder)
    live = make_material(folder, teacher=folder / "teacher", max_gb=1e-9)
    member = Member(student_of(foreign, intermediate=term("mse", representation="mean")), 0)
    losses = [CohortRun([member], m, 5, 0).advance(5)[0].losses for m in (cached, live)]
    assert losses[0] == pytest.approx(losses[1], rel=2e-3)
    assert not live.outputs().demand


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"intermediate": term("mse")}, r"^intermediate 1: .* take representation cls or mean$"),
        (
            {"intermediate": [term("pkd"), term("minilm")]},
            r"^intermediate 2: minilm compares tokens",
        ),
        ({"augmentation": {"method": "mixup"}}, r"^augmentation: mixup mixes tokens"),
    ],
)
def test_what_compares_tokens_is_refused(
    material: Material, foreign: Path, more: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        CohortRun([Member(student_of(foreign, **more), 0)], material, 5, 0)


def test_mixup_without_a_teacher_mixes_the_students_own_tokens(material: Material, foreign: Path) -> None:
    config = student_of(foreign, prediction="labels", augmentation={"method": "mixup"})
    (report,) = CohortRun([Member(config, 0)], material, 4, 0).advance(4)
    assert report.error is None


def test_only_students_of_one_checkpoint_share_a_cohort(material: Material, foreign: Path, kin: Path) -> None:
    sized = config_of(student={"initialization": "svd", "layers": 2, "width": 16})
    keys = [cohort_key(config, material) for config in (student_of(foreign), student_of(kin), sized)]
    assert len(set(keys)) == 3
    assert cohort_key(student_of(foreign, intermediate=term("pkd")), material) == keys[0]


def test_a_saved_student_carries_its_own_tokenizer(material: Material, foreign: Path, tmp_path: Path) -> None:
    config = student_of(foreign, intermediate=term("pkd"))
    (result,) = distill(Cohort((Member(config, 0),), 6, 0), material, test=True, keep_students=True)
    assert result.student is not None
    save_student(result.student, material, config, tmp_path / "s", {})
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "s").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "s")
    assert tokenizer.get_vocab() == letters().get_vocab()
    texts = material.dataset.splits["test"].text_a
    encoded = tokenizer(texts, padding=True, truncation=True, max_length=24, return_tensors="pt")
    with torch.no_grad():
        found = loaded(**encoded).logits.numpy()
    origin = material.origin(config.student)
    expected = predict(result.student, material.held_out_tokens("test", origin), origin.pad_id)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert material.scored("test", found) == pytest.approx(result.test_metrics, abs=1e-6)


def test_checkpoints_that_are_not_there(material: Material, tmp_path: Path) -> None:
    for name, said in (
        ("./missing", f"no folder {material.base / 'missing'}"),
        ("package:nothing_here/x", "no folder 'x' in package 'nothing_here'"),
        ("someone/nothing", "'someone/nothing' cannot be loaded"),
    ):
        with pytest.raises(InputError) as caught:
            material.origin(student_of(name).student)
        assert str(caught.value).startswith("space.student.pretrained.checkpoint: ")
        assert said in str(caught.value)
    short = save_teacher(tmp_path / "short", max_position_embeddings=10)
    with pytest.raises(InputError, match="the student reads at most 10 tokens, the dataset's"):
        material.origin(student_of(short).student)


def test_paths_start_at_the_sweeps_folder(material: Material) -> None:
    save_encoder(material.base / "beside")
    origin = material.origin(student_of("beside").student)
    assert origin.config.model_type == "roberta"
    assert material.origin(student_of("beside").student) is origin
