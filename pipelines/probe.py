"""A frozen encoder's view of texts: mean-pooled last states, and what a linear model reads off them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from transformers import PreTrainedModel

from distiller.pipelines.checkpoint import in_batches
from distiller.pipelines.metrics import headline, score
from distiller.pipelines.objectives import reduce_representation
from distiller.pipelines.task import Task
from distiller.pipelines.tokens import Tokens

PENALTIES = tuple(10.0**power for power in range(6))
"""Ridge penalties on standardised states, of which leave-one-out error on train takes one."""

Array = npt.NDArray[Any]


def mean_states(
    model: PreTrainedModel,
    rows: Tokens,
    pad_id: int,
    batch_size: int = 64,
    precision: torch.dtype = torch.float32,
) -> npt.NDArray[np.float32]:
    """[N, H] mean of the last layer's states over each row's tokens, computed in `precision`."""
    states = np.empty((len(rows), int(model.config.hidden_size)), np.float32)
    options = {"output_hidden_states": True}
    for picked, mask, outputs in in_batches(model, rows, pad_id, batch_size, precision, **options):
        states[picked] = reduce_representation(outputs.hidden_states[-1].float(), mask, "mean").cpu()
    return states


def probe_score(task: Task, states: Array, labels: Array, held_out: Array, held_out_labels: Array) -> float:
    """What ridge regression on `states` [N, H] reaches on `held_out` [M, H], in the task's own metric.

    Classes and labels are learned as +1 and -1, one regression each, the penalty common to all. Ridge rather
    than logistic regression: closed form, so that neither many classes nor separable ones take long.
    """
    if task.kind == "classification":
        wanted = 2.0 * (labels[:, None] == np.arange(task.outputs)) - 1
    else:
        wanted = labels.reshape(len(labels), -1).astype(np.float64)
        wanted = 2 * wanted - 1 if task.kind == "multi_label" else wanted
    probe = make_pipeline(StandardScaler(), RidgeCV(PENALTIES))
    probe.fit(states.astype(np.float64), wanted)
    said = probe.predict(held_out.astype(np.float64)).reshape(len(held_out), -1)
    return headline(task, score(task, said, held_out_labels))
