"""Every family as the student of every family: sizes, states, padding, training together, saving."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    MobileBertConfig,
    ModernBertConfig,
    PretrainedConfig,
)

from distiller.pipelines.checkpoint import longest_input, predict
from distiller.pipelines.cohort import CohortRun, Member
from distiller.pipelines.families import heads_of, inputs_of, reach, sized_config
from distiller.pipelines.material import Material
from distiller.pipelines.save import save_student
from distiller.pipelines.student import Student, architecture, build_model
from distiller.pipelines.tokens import tokenize
from distiller.spaces.student import RandomStart, SvdEmbeddings
from tests.matrix import most_slow
from tests.pipelines.cohorts import assert_same_member, term, trained
from tests.pipelines.conftest import FAMILIES, config_of, make_material

NAMES = list(FAMILIES)
RING = [(teacher, NAMES[(i + 1) % len(NAMES)]) for i, teacher in enumerate(NAMES)]
"""Each family once as teacher and once as the student of another."""
BERT_BASE = BertConfig()


@pytest.fixture(scope="module")
def taught(folder_of: Callable[[str], Path]) -> Callable[[str], Material]:
    made: dict[str, Material] = {}

    def material(family: str) -> Material:
        if family not in made:
            made[family] = make_material(folder_of(family), family, pair=True)
        return made[family]

    return material


@pytest.mark.parametrize(
    ("family", "layers", "width", "published"),
    [
        ("roberta", 12, 768, {"num_attention_heads": 12, "intermediate_size": 3072, "type_vocab_size": 1}),
        ("distilbert", 6, 768, {"n_layers": 6, "dim": 768, "n_heads": 12, "hidden_dim": 3072}),
        ("electra", 12, 256, {"num_attention_heads": 4, "intermediate_size": 1024, "embedding_size": 128}),
        ("albert", 12, 768, {"num_attention_heads": 12, "intermediate_size": 3072, "embedding_size": 128}),
        ("mobilebert", 24, 512, AutoConfig.for_model("mobilebert").to_dict()),
        ("deberta-v2", 12, 768, {"num_attention_heads": 12, "intermediate_size": 3072}),
        (
            "modernbert",
            22,
            768,
            {"num_attention_heads": 12, "intermediate_size": 1152, "local_attention": 128},
        ),
    ],
)
def test_published_sizes(family: str, layers: int, width: int, published: dict[str, object]) -> None:
    """At a published depth and width the rest of the size is the published one."""
    found = sized_config(family, layers, width, BERT_BASE).to_dict()
    sizes = {name: value for name, value in published.items() if isinstance(value, int)}
    assert {name: found[name] for name in sizes if name not in ("_name_or_path",)} == sizes
    if family == "modernbert":
        assert found["layer_types"] == AutoConfig.for_model("modernbert").layer_types


@given(st.integers(1, 256).map(lambda n: 16 * n))
def test_heads_divide_every_width_evenly(width: int) -> None:
    heads = heads_of(width)
    assert width % (2 * heads) == 0
    assert heads <= max(1, width // 64)
    if width % 64 == 0 and width <= 1024:
        assert heads == width // 64


PUBLISHED = [MobileBertConfig(), BERT_BASE]
"""Teachers in a bottleneck of their own and without one."""


@pytest.mark.parametrize("family", NAMES)
@pytest.mark.parametrize("teacher", PUBLISHED, ids=lambda config: config.model_type)
def test_heads_divide_every_legal_width(family: str, teacher: PretrainedConfig) -> None:
    for width in range(16, 1025, 16):
        config = sized_config(family, 1, width, teacher)
        inside = config.true_hidden_size if family == "mobilebert" else config.hidden_size
        assert inside % config.num_attention_heads == 0, width
        assert inside <= width


@pytest.mark.parametrize("width", [16, 400, 656])
def test_a_bottleneck_of_any_legal_width_runs(width: int) -> None:
    """400 and 656: bottlenecks of 100 and 164, which heads of 32 do not divide."""
    config = sized_config("mobilebert", 1, width, BertConfig(vocab_size=20))
    states = AutoModel.from_config(config).eval()(input_ids=torch.arange(6)[None]).last_hidden_state
    assert states.shape == (1, 6, width)
    assert bool(states.isfinite().all())


@pytest.mark.parametrize("teacher", NAMES)
def test_students_of_every_family(taught: Callable[[str], Material], teacher: str) -> None:
    """Vocabulary, special ids and reach are the teacher's; padding changes nothing; all states are there."""
    material = taught(teacher)
    origin = material.teacher.origin
    texts = [" ".join(f"w{i}" for i in range(5)), " ".join(f"w{i}" for i in range(60, 71)), "w9"]
    rows = tokenize(origin.tokenizer, texts, ["w3 w4"] * 3, 24)
    batch = rows.padded(np.arange(3), origin.pad_id)
    assert not bool(batch.mask.all())
    for family in NAMES:
        choice = SvdEmbeddings(layers=2, width=32, family=family)
        table = material.word_table(choice, 0)
        model = build_model(choice, material.teacher.model, material.dataset.task, table, None, 0)
        assert model.config.model_type == family
        assert architecture(choice, origin.config) == f"{family}-L2-H32"
        assert model.config.vocab_size == origin.config.vocab_size == 200
        assert model.config.pad_token_id == origin.pad_id
        assert longest_input(model) == longest_input(origin.model) == reach(model.config)
        student = Student(model.double()).eval()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            for module in student.modules():  # biases too, or what they add to padding would go unseen
                if getattr(module, "bias", None) is not None and isinstance(module.bias, torch.Tensor):
                    torch.nn.init.normal_(module.bias, std=0.3)
            logits, found = student(batch.ids, batch.types, batch.mask)
            hidden = found["hidden"]
            assert [h.shape for h in hidden] == [(3, batch.ids.shape[1], 32)] * 3
            for row in range(3):
                alone = rows.padded(np.array([row]), origin.pad_id)
                one, states = student(alone.ids, alone.types, alone.mask)
                torch.testing.assert_close(logits[row], one[0], rtol=0, atol=1e-9, msg=family)
                for whole, own in zip(hidden, states["hidden"], strict=True):
                    torch.testing.assert_close(whole[row, : own.shape[1]], own[0], rtol=0, atol=1e-9)
            assert (logits[0] - logits[1]).abs().max() > 1e-6


@pytest.mark.parametrize("family", NAMES)
def test_teachers_are_blind_to_padding(taught: Callable[[str], Material], family: str) -> None:
    origin = taught(family).teacher.origin
    rows = taught(family).tokens()
    together = predict(origin.model, rows, origin.pad_id, batch_size=16)
    alone = predict(origin.model, rows, origin.pad_id, batch_size=1)
    np.testing.assert_allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize(("teacher", "family"), most_slow(RING, 4))
def test_mixed_families_train_together_as_alone(
    taught: Callable[[str], Material], teacher: str, family: str
) -> None:
    student = {"initialization": "svd", "layers": 2, "width": 16, "family": family}
    configs = [
        config_of(student=student, intermediate=term("mse", weight=0.5)),
        config_of(student=student, augmentation={"method": "mixup"}, intermediate=term("cosine")),
        config_of(student={**student, "initialization": "random"}, augmentation={"method": "random"}),
    ]
    members = [Member(config, seed) for seed, config in enumerate(configs)]
    run = trained(members, taught(teacher), 5)
    assert run.students.fused
    for name, member in enumerate(members):
        assert_same_member(run, name, trained([member], taught(teacher), 5))


@pytest.mark.parametrize(("teacher", "family"), RING)
def test_saved_students_of_other_families_are_ordinary_models(
    taught: Callable[[str], Material], tmp_path: Path, teacher: str, family: str
) -> None:
    material = taught(teacher)
    config = config_of(student={"initialization": "svd", "layers": 2, "width": 16, "family": family})
    run = CohortRun([Member(config, 0)], material, 4, 0)
    run.advance(4)
    model = run.student(0)
    save_student(model, material, config, tmp_path / "s", {})
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "s").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "s")
    assert loaded.config.model_type == family
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    split = material.dataset.splits["test"]
    encoded = tokenizer(split.text_a, split.text_b, padding=True, truncation=True, max_length=24)
    with torch.no_grad():
        found = loaded(**encoded.convert_to_tensors("pt")).logits
    np.testing.assert_allclose(found.numpy(), run.outputs("test")[0], atol=1e-5)


def test_a_trigram_needs_blank_padding(taught: Callable[[str], Material]) -> None:
    """The row of padding stays zero in training, else plain `transformers` would see it behind each text."""
    material = taught("bert")
    student = {"initialization": "svd", "layers": 2, "width": 16, "family": "mobilebert"}
    run = CohortRun(
        [Member(config_of(student=student, augmentation={"method": a}), 0) for a in ("none", "mixup")],
        material,
        5,
        0,
    )
    run.advance(5)
    for name in (0, 1):
        model = run.student(name)
        table = model.get_input_embeddings().weight
        assert not bool(table[material.teacher.origin.pad_id].any())
        assert bool(table[5:50].any(1).all())


def test_segments_as_each_family_has_them(taught: Callable[[str], Material]) -> None:
    """A student without segments does not fail on those of its teacher's tokenizer, and is blind to them."""
    material = taught("bert")
    batch = material.tokens().padded(np.arange(4), 0)
    assert int(batch.types.max()) == 1
    for family in NAMES:
        choice = RandomStart(layers=1, width=16, family=family)
        table = material.word_table(choice, 0)
        model = build_model(choice, material.teacher.model, material.dataset.task, table, None, 0).eval()
        said = [
            model(**inputs_of(model, batch.ids, types, batch.mask), attention_mask=batch.mask.long()).logits
            for types in (batch.types, batch.types * 0)
        ]
        differ = not torch.equal(said[0], said[1])
        assert differ == (family in ("bert", "electra", "albert", "mobilebert")), family


def test_own_type_keeps_the_teachers_proportions(taught: Callable[[str], Material]) -> None:
    teacher = copy.deepcopy(taught("mobilebert").teacher.model.config)
    small = sized_config("teacher", 2, 16, teacher)
    assert (small.intra_bottleneck_size, small.true_hidden_size, small.intermediate_size) == (8, 8, 16)
    assert small.embedding_size == teacher.embedding_size == 16
    same = sized_config("mobilebert", 3, 32, teacher)
    assert same.to_dict() == teacher.to_dict()


@pytest.mark.parametrize(("depth", "every"), [(1, 3), (2, 3), (4, 3), (7, 2)])
def test_a_student_deeper_than_its_teacher_goes_on_in_its_pattern(depth: int, every: int) -> None:
    def made(layers: int) -> PretrainedConfig:
        sizes = {"hidden_size": 32, "num_attention_heads": 4, "vocab_size": 200, "pad_token_id": 0}
        return ModernBertConfig(num_hidden_layers=layers, global_attn_every_n_layers=every, **sizes)

    for layers in range(1, 12):
        assert sized_config("teacher", layers, 32, made(depth)).layer_types == made(layers).layer_types
    AutoModel.from_config(sized_config("modernbert", 9, 16, made(depth)))
