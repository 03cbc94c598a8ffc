"""The state of a cohort in training between two steps: taken out of one run, put into a fresh one.

What follows from the configs, the seeds and the step is not kept but found again: views, batches, the
masks of dropout, schedules, the stage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from distiller.pipelines.optimizer import SoloAdamW

if TYPE_CHECKING:
    from distiller.pipelines.cohort import CohortRun


def run_state(run: CohortRun) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Copies of all tensors by name, and what JSON holds."""
    leaves = _leaves(run)
    moments, optimizer = _moments(run)
    sums = {f"sum.{part}": total for part, total in run.sums.items()}
    tensors = {**leaves, **_others(run), **sums}
    for name, pair in zip(leaves, moments, strict=True):
        tensors |= {f"{moment}.{name}": value for moment, value in pair.items()}
    rest = {
        "names": run.names,
        "step": run.step,
        "rates": run.rates,
        "train_seconds": run.train_seconds,
        "mixing": run.mixing.bit_generator.state,
        "contrasting": run.contrasting.bit_generator.state,
        "optimizer": optimizer,
        "sums": list(run.sums),  # in their order, which the losses of reports have too
        "sum_steps": run.sum_steps,
        "errors": {str(name): error for name, error in run.errors.items()},
    }
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}, rest


@torch.no_grad()
def put_run_state(run: CohortRun, tensors: dict[str, Tensor], rest: dict[str, Any]) -> None:
    """Turn a run that has just begun into the one that `run_state` saw.

    Raises:
        ValueError, KeyError, TypeError, IndexError, RuntimeError: the state is not of such a run.
    """
    if run.step or not rest["step"]:
        raise ValueError("a state goes from a step on into a run that has just begun")
    run.keep(rest["names"])
    run.seek(rest["step"])
    run.rates, run.train_seconds = [float(rate) for rate in rest["rates"]], float(rest["train_seconds"])
    run.mixing.bit_generator.state = rest["mixing"]
    run.contrasting.bit_generator.state = rest["contrasting"]
    run.sum_steps, run.errors = int(rest["sum_steps"]), {int(n): str(e) for n, e in rest["errors"].items()}
    leaves = _leaves(run)
    left = dict(tensors)
    run.sums = {part: left.pop(f"sum.{part}").to(run.material.device) for part in rest["sums"]}
    for name, tensor in {**leaves, **_others(run)}.items():
        _copy(tensor, left.pop(name), name)
    # After the leaves: the flat tensors of a single student's optimizer take their values over.
    _put_moments(run, list(leaves), left, rest["optimizer"])
    if left:
        raise ValueError(f"nothing here is called {sorted(left)[0]}")


def _copy(tensor: Tensor, saved: Tensor, name: str) -> None:
    if (tensor.shape, tensor.dtype) != (saved.shape, saved.dtype):
        raise ValueError(
            f"{name} is {saved.dtype} {list(saved.shape)}, not {tensor.dtype} {list(tensor.shape)}"
        )
    tensor.copy_(saved)


def _leaves(run: CohortRun) -> dict[str, Tensor]:
    """What is learned, in the order of the optimizer's parameters."""
    found = {f"student.{name}": tensor for name, tensor in run.students.parameters.items()}
    for number, group in enumerate(run.terms):
        found |= {f"term.{number}.{name}": tensor for name, tensor in group.parameters.items()}
    return found


def _others(run: CohortRun) -> dict[str, Tensor]:
    """What else training changes: buffers, the layer weights of mappings, memories."""
    students = run.students
    buffers = students.buffers if students.stacked else dict(students.module.named_buffers())
    found = {f"buffer.{name}": tensor for name, tensor in buffers.items()}
    for number, group in enumerate(run.terms):
        found |= {f"mapping.{number}.{side}": tensor for side, tensor in (group.state or {}).items()}
        if group.memory is not None:
            found |= {f"memory.{number}.{side}": tensor for side, tensor in group.memory.sides.items()}
    return found


def _moments(run: CohortRun) -> tuple[list[dict[str, Tensor]], dict[str, Any]]:
    """For each leaf {"first", "second"}, empty where the optimizer has none; and steps, sparse leaves."""
    optimizer = run.optimizer
    if not isinstance(optimizer, SoloAdamW):
        pairs = zip(optimizer.first, optimizer.second, strict=True)
        return [{"first": m1, "second": m2} for m1, m2 in pairs], {"steps": optimizer.steps}
    own: dict[int, dict[str, Tensor]] = {}
    sparse, steps = set[int](), [0]
    for flat in optimizer.flats:
        state = optimizer.optimizer.state[flat.tensor]
        steps = [int(state["step"])]
        views = (flat.views(state[name]) for name in ("exp_avg", "exp_avg_sq"))
        for parameter, m1, m2 in zip(flat.parameters, *views, strict=True):
            own[id(parameter)] = {"first": m1, "second": m2}
        sparse |= {id(table.parameter) for table in flat.tables}
    numbers = [n for n, p in enumerate(optimizer.parameters) if id(p.tensor) in sparse]
    return [own.get(id(p.tensor), {}) for p in optimizer.parameters], {"steps": steps, "sparse": numbers}


def _put_moments(run: CohortRun, leaves: list[str], left: dict[str, Tensor], said: dict[str, Any]) -> None:
    """Give the optimizer its moments, taken from `left`, and its steps."""
    optimizer, steps = run.optimizer, [int(step) for step in said["steps"]]
    if len(steps) != len(run.names):
        raise ValueError(f"steps of {len(steps)} members, not {len(run.names)}")
    saved = {
        number: (left.pop(f"first.{name}"), left.pop(f"second.{name}"), name)
        for number, name in enumerate(leaves)
        if f"first.{name}" in left
    }
    if not isinstance(optimizer, SoloAdamW):
        optimizer.steps = steps
        for number, (m1, m2) in enumerate(zip(optimizer.first, optimizer.second, strict=True)):
            first, second, name = saved[number]
            _copy(m1, first, f"first.{name}")
            _copy(m2, second, f"second.{name}")
        return
    optimizer.lay_out(saved, said["sparse"])
    numbers = {id(p.tensor): number for number, p in enumerate(optimizer.parameters)}
    for flat in optimizer.flats:
        averages = [torch.zeros_like(flat.tensor) for _ in range(2)]
        views = (flat.views(average) for average in averages)
        for parameter, m1, m2 in zip(flat.parameters, *views, strict=True):
            first, second, name = saved[numbers[id(parameter)]]
            _copy(m1, first, f"first.{name}")
            _copy(m2, second, f"second.{name}")
        optimizer.optimizer.state[flat.tensor] = {
            "step": torch.tensor(float(steps[0]), device=flat.tensor.device),
            "exp_avg": averages[0],
            "exp_avg_sq": averages[1],
        }
