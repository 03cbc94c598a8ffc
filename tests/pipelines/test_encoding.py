"""What tokens stand for, windows of long contexts, and the spans and tags that are read off them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import ByteLevelBPETokenizer, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from distiller.pipelines.data import Split
from distiller.pipelines.encoding import encode, encode_windows, encode_words
from distiller.pipelines.spans import LONGEST_ANSWER, answers_of, best_spans, span_in
from distiller.pipelines.tags import tags_of
from distiller.pipelines.task import Task
from distiller.pipelines.tokens import Tokens
from distiller.spaces.errors import InputError
from tests.pipelines.conftest import tokenizer_of

TEXTS = ["Żółw lives in São Paulo .", "unbelievable !", "a", "w1  w2 ünder"]


def wrapped(inner: Tokenizer, **more: Any) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]"
    )


def word_pieces() -> PreTrainedTokenizerFast:
    letters = sorted(set("abcdefghijklmnopqrstuvwxyz0123456789.!"))
    pieces = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        *letters,
        *(f"##{c}" for c in letters),
        "un",
        "##ü",
        "ü",
        "ż",
    ]
    inner = Tokenizer(models.WordPiece({p: i for i, p in enumerate(pieces)}, unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer(lowercase=True)
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return with_ends(inner)


def byte_pairs() -> PreTrainedTokenizerFast:
    trained = ByteLevelBPETokenizer(add_prefix_space=False)
    trained.train_from_iterator(
        TEXTS, 300, show_progress=False, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    )
    return with_ends(trained._tokenizer)


def metaspace() -> PreTrainedTokenizerFast:
    letters = sorted(set("".join(TEXTS).replace(" ", "")) | {"▁"})
    inner = Tokenizer(models.Unigram([("[PAD]", 0.0), ("[UNK]", 0.0), ("[CLS]", 0.0), ("[SEP]", 0.0),
                                      *((c, -3.0) for c in letters), ("▁li", -1.0)], unk_id=1))  # fmt: skip
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    return with_ends(inner)


def with_ends(inner: Tokenizer) -> PreTrainedTokenizerFast:
    marks = [(m, inner.token_to_id(m)) for m in ("[CLS]", "[SEP]")]
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=marks
    )
    return wrapped(inner)


TOKENIZERS = {"word pieces": word_pieces, "byte pairs": byte_pairs, "metaspace": metaspace}


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_the_first_token_of_each_word_speaks_for_it(kind: str) -> None:
    """Every word once, in order, at a token that begins in it; the tokens between begin in the same word."""
    tokenizer, texts = TOKENIZERS[kind](), [TEXTS[0], TEXTS[1], TEXTS[2]]
    tokens = encode_words(tokenizer, texts, 64)
    assert tokens.units is not None
    characters = tokenizer(texts, return_offsets_mapping=True)["offset_mapping"]
    for row, text in enumerate(texts):
        units = tokens.units[tokens.offsets[row] : tokens.offsets[row + 1]]
        spoken = units[units[:, 0] >= 0]
        assert spoken.tolist() == [[i, i + 1] for i in range(len(text.split(" ")))]
        starts = np.cumsum([0, *(len(word) + 1 for word in text.split(" "))])
        for (word, _), (start, end) in zip(units.tolist(), characters[row], strict=True):
            if word >= 0:
                assert start <= starts[word] < end
        assert units[0, 0] == units[-1, 0] == -1  # [CLS] and [SEP]


def test_words_beyond_the_end_are_missed() -> None:
    tokenizer = tokenizer_of(0)
    tokens = encode_words(tokenizer, ["w1 w2 w3 w4 w5", "w6"], 5)
    assert tokens.units is not None
    assert tokens.lengths.tolist() == [5, 3]
    assert tokens.units[:, 0].tolist() == [-1, 0, 1, 2, -1, -1, 0, -1]
    outputs = np.zeros((8, 3))
    outputs[:, 2] = 1
    assert tags_of(tokens, outputs, [5, 1], outside=1) == [[2, 2, 2, 1, 1], [2]]


@pytest.mark.parametrize("kind", ["words", *TOKENIZERS])
def test_windows_hold_all_of_a_context(kind: str) -> None:
    """Each holds the question and consecutive tokens; two neighbours share `overlap`; units give the text."""
    tokenizer = tokenizer_of(0) if kind == "words" else TOKENIZERS[kind]()
    context = " ".join(f"w{i}" for i in range(90)) if kind == "words" else " ".join(TEXTS[:2] * 6)
    question = "w100 w101" if kind == "words" else "a w1"
    tokens = encode_windows(tokenizer, [question, question], [context, "w1"], 32, 10)
    assert tokens.units is not None
    assert tokens.sources is not None
    assert set(tokens.sources.tolist()) == {0, 1}
    assert (tokens.lengths <= 32).all()
    pieces = [
        tokens.units[tokens.offsets[row] : tokens.offsets[row + 1]]
        for row in np.flatnonzero(tokens.sources == 0)
    ]
    inside = [piece[piece[:, 0] >= 0] for piece in pieces]
    assert len(inside) > 2
    whole = tokenizer(context, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    joined = [tuple(unit) for unit in inside[0].tolist()]
    for before, after in pairwise(inside):
        assert before[-10:].tolist() == after[:10].tolist()
        joined += [tuple(unit) for unit in after[10:].tolist()]
    assert joined == whole
    asked = tokenizer(question, add_special_tokens=False)["input_ids"]
    for row in range(len(tokens)):
        ids = tokens.ids[tokens.offsets[row] : tokens.offsets[row + 1]].tolist()
        assert ids[1 : 1 + len(asked)] == asked


def test_a_question_leaves_room_for_its_context() -> None:
    tokenizer = tokenizer_of(0)
    long, context = " ".join(["w7"] * 500), " ".join(f"w{i}" for i in range(20, 60))
    tokens = encode_windows(tokenizer, [long], [context], 32, 10)
    assert tokens.units is not None
    ids = tokens.ids[: tokens.offsets[1]].tolist()
    assert ids.count(tokenizer.convert_tokens_to_ids("w7")) == 16
    covered = {start for start, _ in tokens.units[tokens.units[:, 0] >= 0].tolist()}
    assert len(covered) == 40


def slow_best(tokens: Tokens, outputs: np.ndarray, rows: int) -> list[tuple[int, int]]:
    """By trying every span of every window."""
    best = [(-np.inf, (0, 0))] * rows
    for window, source in enumerate(tokens.sources):  # type: ignore[arg-type]
        first, end = int(tokens.offsets[window]), int(tokens.offsets[window + 1])
        for i in range(first, end):
            for j in range(i, min(end, i + LONGEST_ANSWER)):
                inside = (tokens.units[i : j + 1, 0] >= 0).all()  # type: ignore[index]
                score = outputs[i, 0] + outputs[j, 1]
                if inside and score > best[source][0]:
                    best[source] = (score, (int(tokens.units[i, 0]), int(tokens.units[j, 1])))  # type: ignore[index]
    return [span for _, span in best]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(1, 70), min_size=1, max_size=4))
def test_the_best_span_of_all(seed: int, lengths: list[int]) -> None:
    tokenizer, rng = tokenizer_of(0), np.random.default_rng(seed)
    contexts = [" ".join(f"w{i}" for i in rng.integers(0, 180, n)) for n in lengths]
    tokens = encode_windows(tokenizer, ["w1 w2"] * len(lengths), contexts, 48, 16)
    # Whole numbers make ties, and a slope makes spans long enough to meet their limit.
    outputs = rng.integers(0, 4, (len(tokens.ids), 2)) + 0.5 * np.arange(len(tokens.ids))[:, None] * [-1, 1]
    assert best_spans(tokens, outputs, len(contexts)).tolist() == [
        list(span) for span in slow_best(tokens, outputs, len(contexts))
    ]


def test_an_answer_in_the_second_window_is_found() -> None:
    tokenizer = tokenizer_of(0)
    context = " ".join(f"w{i}" for i in range(60))
    start, answer = context.index("w50"), "w50 w51 w52"
    tokens = encode_windows(tokenizer, ["w99"], [context], 40, 12)
    spans = [span_in(tokens, row, start, start + len(answer)) for row in range(len(tokens))]
    assert spans[0] is None
    assert spans[1] is not None
    outputs = np.zeros((len(tokens.ids), 2))
    first = int(tokens.offsets[1])
    outputs[first + spans[1][0], 0] = outputs[first + spans[1][1], 1] = 5
    assert answers_of(tokens, outputs, [context]) == [answer]
    # A higher score outside of the context, or the wrong way round, is no answer.
    outputs[0] = outputs[first + 1] = 100
    outputs[first + spans[1][1] + 2, 0] = outputs[first + spans[1][0] - 1, 1] = 4.5
    assert answers_of(tokens, outputs, [context]) == [answer]


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_spans_of_every_tokenizer_come_back_as_text(kind: str) -> None:
    tokenizer, context, answer = TOKENIZERS[kind](), TEXTS[0], "São Paulo"
    tokens = encode_windows(tokenizer, ["a"], [context], 64, 8)
    start = context.index(answer)
    span = span_in(tokens, 0, start, start + len(answer))
    assert span is not None
    outputs = np.zeros((len(tokens.ids), 2))
    outputs[span[0], 0] = outputs[span[1], 1] = 3
    assert answers_of(tokens, outputs, [context]) == [answer]


def test_slow_tokenizers_are_refused() -> None:
    class Slow:
        is_fast = False

    task = Task("qa", (), "f1", 2, True)
    with pytest.raises(InputError, match=r"Slow does not say which characters.*tokenizer\.json"):
        encode(Slow(), Split(["q"], ["c"], None), task, 64, 8)
