"""A student as an ordinary Hugging Face directory: weights, tokenizer, model card."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from transformers import PreTrainedModel

from distiller.pipelines.checkpoint import longest_input
from distiller.pipelines.families import tells_segments
from distiller.pipelines.heads import MODELS, PIPELINE_TAGS
from distiller.pipelines.material import Material
from distiller.pipelines.student import fold_scale
from distiller.pipelines.task import described
from distiller.spaces.config import PipelineConfig
from distiller.spaces.errors import InputError


def check_target(folder: Path) -> None:
    """Raise InputError unless a student can be saved at `folder`: new, empty, or a student's before."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; name a folder to save the student in")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "config.json").exists():
        raise InputError(f"{folder}: holds other files; name a new or empty folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); name another folder") from None


def save_student(
    model: PreTrainedModel,
    material: Material,
    config: PipelineConfig,
    folder: Path,
    scores: Mapping[str, Any],
) -> None:
    """Write `folder` so that `transformers` loads it, with its head, with no code of ours.

    A regression's last layer absorbs the scale, so that the student predicts scores in the task's unit.
    """
    check_target(folder)
    saved = copy.deepcopy(model)
    fold_scale(saved, material.dataset.task, *material.scale)
    saved.save_pretrained(folder)
    tokenizer = copy.deepcopy(material.origin(config.student).tokenizer)
    tokenizer.model_max_length = min(tokenizer.model_max_length, longest_input(saved))
    if not tells_segments(saved):  # else `model(**tokenizer(a, b))` would fail
        names = [name for name in tokenizer.model_input_names if name != "token_type_ids"]
        tokenizer.model_input_names = tokenizer.init_kwargs["model_input_names"] = names
    tokenizer.save_pretrained(folder)
    (folder / "README.md").write_text(model_card(model, material, config, scores), encoding="utf-8")


def model_card(
    model: PreTrainedModel, material: Material, config: PipelineConfig, scores: Mapping[str, Any]
) -> str:
    """The model card: what it is, how well it does, how it was made, how to load it."""
    task = material.dataset.task
    front = {
        "library_name": "transformers",
        "pipeline_tag": PIPELINE_TAGS[task.kind],
        "tags": ["knowledge-distillation", "distiller"],
    }
    rows = [f"| {name} | {_shown(value)} |" for name, value in scores.items()]
    recipe = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", recipe)), default=0))  # nothing in it ends it
    parameters = sum(p.numel() for p in model.parameters())
    kind, auto = described(task), MODELS[task.kind].__name__
    return "\n".join(
        [
            "---",
            yaml.safe_dump(front, sort_keys=False).strip(),
            "---",
            "",
            f"# Student for {material.dataset.name}",
            "",
            f"{kind[0].upper()}{kind[1:]}, {parameters:,} parameters, distilled from {material.teacher_name} "
            f"({material.teacher.layers} layers) with Distiller {version('kd-distiller')}.",
            "",
            f"| {task.metric} | score |",
            "| --- | --- |",
            *rows,
            "",
            "```python",
            f"from transformers import {auto}, AutoTokenizer",
            f'model = {auto}.from_pretrained("PATH")',
            'tokenizer = AutoTokenizer.from_pretrained("PATH")',
            "```",
            "",
            "The config that it was distilled with:",
            "",
            f"{fence}yaml",
            recipe.strip(),
            fence,
            "",
        ]
    )


def _shown(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) and math.isfinite(value) else str(value)
