"""The teacher and the optimization stage: each one kind of choice, whose parameters are searched."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from distiller.spaces.choice import Choice
from distiller.spaces.priors import LogUniform, OneOf, Uniform


class Teacher(Choice):
    """A teacher by the name that the sweep's `teachers:` gives it; of several slots the mean teaches.

    Logits are averaged: at every temperature the normalised geometric mean of the teachers' probabilities.
    The first teacher by name leads: students have its tokenizer and family, and learn from its hidden states.
    """

    checkpoint: Annotated[str, Field(min_length=1)] = "teacher"


class Optimization(Choice):
    """AdamW over a fixed number of steps, gradients clipped by norm per student."""

    citation: ClassVar[str] = "Loshchilov & Hutter 2019, AdamW, arXiv 1711.05101"
    learning_rate: Annotated[float, Field(gt=0, le=1), LogUniform(2e-4, 4e-3)] = 1e-3
    warmup: Annotated[float, Field(ge=0, le=1), Uniform(0, 0.2)] = 0.1
    """Share of the budget over which the learning rate rises from 0."""
    weight_decay: Annotated[float, Field(ge=0, le=1), OneOf(0.0, 0.01, 0.1)] = 0.01
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    batch_size: Annotated[int, Field(ge=2, le=65536), OneOf(32)] = 32
    max_grad_norm: Annotated[float, Field(gt=0), OneOf(1.0)] = 1.0
    beta1: Annotated[float, Field(ge=0, lt=1), OneOf(0.9)] = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1), OneOf(0.999)] = 0.999
    layer_decay: Annotated[float, Field(gt=0, le=1), OneOf(1.0)] = 1.0
    """Factor on the learning rate from each layer to the one below it (Howard & Ruder 2018, 1801.06146)."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1), OneOf(0.0)] = 0.0
    """Share of a hard label's mass that is spread over all classes (Szegedy et al. 2016, 1512.00567)."""
    dropout: Annotated[float, Field(ge=0, lt=1), OneOf(0.0)] = 0.0
    """Of the student's hidden states and attention; the teacher has none."""
