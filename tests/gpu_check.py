"""`make gpu-check`: cohorts on a GPU, right and fast. Says so and ends where there is no CUDA.

Needs only torch, transformers, pydantic, POT and the scientific stack: a random teacher of MiniLM's size and
random texts stand in for real ones, which cost the same.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForSequenceClassification, BertConfig, PreTrainedTokenizerFast

from distiller.pipelines.cohort import CohortRun, Member
from distiller.pipelines.data import Dataset, Split, Task
from distiller.pipelines.demand import Demand
from distiller.pipelines.material import Material
from distiller.pipelines.teacher import Teacher
from distiller.pipelines.tokens import tokenize
from distiller.spaces.config import PipelineConfig

WORDS, CLASSES, POOL, LABELED = 30_000, 6, 4096, 1024
BF16_BOUND = 0.05
"""Relative difference of the first 20 steps' losses, bf16 autocast against float32."""
FUSED_BOUND = 1e-8
TERMS = [
    {"objective": "none"},
    {"objective": "mse", "representation": "tokens", "weight": 1.0},
    {"objective": "cosine", "representation": "mean", "weight": 0.5},
    {"objective": "mi_alpha", "alpha": 0.5, "weight": 0.1},
]


def made_up_material(device: torch.device, cache: Path) -> Material:
    """Texts of 8 to 30 words and a teacher of 6 layers x 384, both random."""
    rng = np.random.default_rng(0)
    vocabulary = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3} | {f"w{i}": i + 4 for i in range(WORDS)}
    raw = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    raw.pre_tokenizer = Whitespace()
    raw.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    texts = [" ".join(f"w{w}" for w in rng.zipf(1.3, rng.integers(8, 31)) % WORDS) for _ in range(POOL + 512)]
    labels = rng.integers(CLASSES, size=POOL + 512)
    splits = {
        "train": Split(texts[:LABELED], None, labels[:LABELED]),
        "unlabeled": Split(texts[LABELED:POOL], None, None),
        "validation": Split(texts[POOL : POOL + 256], None, labels[POOL : POOL + 256]),
        "test": Split(texts[POOL + 256 :], None, labels[POOL + 256 :]),
    }
    task = Task("classification", tuple(str(i) for i in range(CLASSES)), "accuracy", CLASSES, False)
    config = BertConfig(
        vocab_size=WORDS + 4,
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=1536,
        num_labels=CLASSES,
    )
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config).to(device).eval().requires_grad_(False)
    teacher = Teacher("random", model, tokenizer, "random", "random", torch.arange(CLASSES))
    return Material(
        dataset=Dataset("made-up", task, splits, "made-up", ()),
        teacher=teacher,
        demand=Demand.grid((3, 6), ("cls", "mean", "tokens")),
        cache=cache,
        limit_bytes=8e9,
        max_length=64,
        scale=(0.0, 1.0),
        teacher_scores={},
        majority_scores={},
        held_out={s: tokenize(tokenizer, splits[s].text_a, None, 64) for s in ("validation", "test")},
    )


def member(number: int) -> Member:
    """A student of 2 layers x 128; neighbours differ in term, temperature and learning rate."""
    config = PipelineConfig.model_validate(
        {
            "intermediate": TERMS[number % len(TERMS)],
            "prediction": {"loss": "kl", "temperature": 1.0 + number % 3},
            "student": {"initialization": "svd", "layers": 2, "width": 128},
            "optimization": {"learning_rate": 5e-4 * (1 + number % 4)},
        }
    )
    return Member(config, number)


def fused_against_solo(material: Material) -> float:
    """Largest difference of any parameter after 20 float64 steps, fused and alone."""
    fused = CohortRun([member(i) for i in range(4)], material, 20, 0, dtype=torch.float64)
    fused.advance(20)
    worst = 0.0
    for i in range(4):
        solo = CohortRun([member(i)], material, 20, 0, dtype=torch.float64)
        solo.advance(20)
        for name, parameter in solo.students.parameters.items():
            worst = max(worst, float((fused.students.parameters[name][i] - parameter).abs().max()))
    return worst


def bf16_against_float32(material: Material) -> float:
    """Largest relative difference of a member's mean loss over 20 steps."""
    members = [member(i) for i in range(4)]
    losses = []
    for dtype in (torch.float32, torch.float64):  # float32 runs under bf16 autocast on a GPU
        reports = CohortRun(members, material, 20, 0, dtype=dtype).advance(20)
        losses.append([sum(abs(v) for v in r.losses.values()) for r in reports])
    return max(abs(a - b) / abs(b) for a, b in zip(*losses, strict=True))


def throughput(material: Material, size: int, steps: int = 150) -> tuple[float, float, int]:
    """Milliseconds a cohort step, students of 1,000 steps per hour, and bytes of GPU memory."""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run = CohortRun([member(i) for i in range(size)], material, steps + 50, 0)
    run.advance(50)
    laps = []
    for until in range(75, steps + 51, 25):
        before_lap = run.train_seconds
        run.advance(until)
        laps.append((run.train_seconds - before_lap) / 25)
    step = statistics.median(laps)
    return 1000 * step, size * 3600 / (1000 * step), torch.cuda.max_memory_allocated() - before


def main() -> int:
    if not torch.cuda.is_available():
        print("gpu-check: skipped, this machine has no CUDA device")
        return 0
    device = torch.device("cuda")
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as cache:
        material = made_up_material(device, Path(cache))
        fused = fused_against_solo(material)
        print(f"fused against solo, 20 float64 steps: {fused:.1e} (bound {FUSED_BOUND:.0e})")
        bf16 = bf16_against_float32(material)
        print(f"bf16 autocast against float64 losses, 20 steps: {bf16:.2%} (bound {BF16_BOUND:.0%})")
        print("cohort   ms/step   students/hour (1,000 steps of 32)   MiB")
        for size in (1, 4, 16):
            step, hourly, held = throughput(material, size)
            print(f"{size:6d} {step:9.2f} {hourly:35.0f} {held / 2**20:5.0f}")
    return 0 if fused <= FUSED_BOUND and bf16 <= BF16_BOUND else 1


if __name__ == "__main__":
    sys.exit(main())
