"""The files of the tiny sweep: classes in CSV and JSONL, scores in Parquet, a teacher of 2 layers x 32."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tokenizers import BertWordPieceTokenizer
from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast
from transformers.utils.logging import disable_progress_bar

KINDS = {
    "bird": ["wing", "beak", "nest"],
    "fish": ["fins", "gill", "reef"],
    "horse": ["mane", "hoof", "barn"],
}
FILLERS = [f"{a}{b}{c}" for a in "kmtr" for b in "aio" for c in "lns"]
GOODNESS = {"awful": -2.0, "poor": -1.0, "fine": 1.0, "superb": 2.0}


def sentence(rng: np.random.Generator, words: list[str]) -> str:
    """`words` among fillers."""
    found = [*words, *rng.choice(FILLERS, int(rng.integers(1, 6)))]
    rng.shuffle(found)
    return " ".join(found)


def write_animals(folder: Path) -> None:
    """Classes: train in two CSV files (one glob), validation and test in one each, text without labels."""
    rng = np.random.default_rng(1)

    def row(i: int) -> tuple[str, str]:
        kind = list(KINDS)[i % 3]
        return sentence(rng, list(rng.choice(KINDS[kind], 2))), kind

    sizes = {"train-1": 60, "train-2": 60, "validation": 45, "test": 45}
    for name, size in sizes.items():
        with (folder / f"animals-{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("body", "kind"), *(row(i) for i in range(size))])
    lines = [json.dumps({"body": row(i)[0]}) for i in range(60)]
    (folder / "animals-raw.jsonl").write_text("\n".join(lines) + "\n")


def write_opinions(folder: Path) -> None:
    """Scores: one Parquet file, validation and test held out of it."""
    rng = np.random.default_rng(2)
    picked = [list(rng.choice(list(GOODNESS), 2)) for _ in range(160)]
    table = {
        "text": [sentence(rng, words) for words in picked],
        "stars": [sum(map(GOODNESS.get, w)) for w in picked],
    }
    pd.DataFrame(table).to_parquet(folder / "opinions.parquet")


def write_teacher(folder: Path, labels: int | None = None) -> None:
    """A BERT of 2 layers x 32 that knows nothing yet; `labels` makes it pretend to be fine-tuned."""
    words = [*(w for kind in KINDS.values() for w in kind), *FILLERS, *GOODNESS]
    tokenizer = BertWordPieceTokenizer()
    tokenizer.train_from_iterator(words * 9, vocab_size=300, min_frequency=1, show_progress=False)
    vocabulary = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    folder.mkdir(parents=True)
    disable_progress_bar()  # one line of stderr is one line
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.2,
        **({} if labels is None else {"num_labels": labels}),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BertForSequenceClassification(config).save_pretrained(folder)
