"""What every intermediate objective promises, checked on made-up states: ours and those that users add.

    check_objective("mse", OBJECTIVES["mse"])
    check_choice(MyTerm, Objective(my_loss))

A check is a function of the objective and of how it is called; its docstring is the promise. One clear
line says which promise is broken. That a loss computes what its paper says needs a truth of its own.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import grad_and_value, vmap

from distiller.pipelines.contract_cases import STUDENT_HEADS, Maker, settings_of
from distiller.pipelines.objectives.objective import Objective
from distiller.spaces.choice import Choice, id_of
from distiller.spaces.priors import Value


class ContractError(Exception):
    """A promise that an objective breaks: one line that names the objective and the promise."""


def check_choice(choice: type[Choice], objective: Objective) -> None:
    """`check_objective` with the settings and the representations that a choice of the stage offers."""
    settings = settings_of(choice)
    representations = settings.pop("representation", ("cls",))
    tokens = objective.reads is not None or "tokens" in representations
    check_objective(id_of(choice), objective, settings, tokens)


def check_objective(
    name: str,
    objective: Objective,
    settings: Mapping[str, Sequence[Value]] | None = None,
    tokens: bool = True,
) -> None:
    """Raise ContractError, with one line, where an objective breaks a promise.

    Args:
        settings: by name, the value at which the objective is checked and others, of which at least one
            must change the loss.
        tokens: whether an objective without `reads` takes token-wise states, beside one vector an example.
    """
    makers = [Maker(objective, "tokens", dict(settings or {}))] if tokens or objective.reads else []
    if objective.reads is None:
        makers.append(Maker(objective, "vectors", dict(settings or {})))
    if objective.reads_heads:
        makers.append(dataclasses.replace(makers[0], teacher_heads=STUDENT_HEADS))
    for maker in makers:
        for promise in PROMISES:
            try:
                promise(maker)
            except ContractError as broken:
                raise ContractError(f"{name}, {maker.form}: {broken}") from None
            except Exception as error:
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                kept = promise.__name__.replace("_", " ")
                raise ContractError(f"{name}, {maker.form}: as to whether {kept}, raises {reason}") from error


def _require(kept: bool | Tensor, broken: str) -> None:
    if not bool(kept):
        raise ContractError(broken)


def _near(found: Tensor, expected: Tensor, tolerance: float = 1e-8) -> bool:
    return torch.allclose(found, expected.to(found.dtype), rtol=tolerance, atol=tolerance)


def it_is_a_pure_function(maker: Maker) -> None:
    """A scalar that is the same each time, without changes to what is given or to the random state."""
    case = maker.case()
    state, given = torch.get_rng_state(), [t.clone() for t in case.tensors()]
    first, second = case.value(), case.value()
    _require(first.shape == (), f"the loss has shape {tuple(first.shape)}; it must be a scalar")
    _require(first == second, "two calls with the same states give two values")
    _require(torch.equal(state, torch.get_rng_state()), "the loss draws from torch's global generator")
    kept = all(torch.equal(now, before) for now, before in zip(case.tensors(), given, strict=True))
    _require(kept, "the loss writes into what it is given")


def parameters_start_from_the_generator(maker: Maker) -> None:
    """Equal generators give equal parameters, others give others; torch's global generator is left alone."""
    start = maker.objective.start
    if start is None:
        return
    state = torch.get_rng_state()
    one, same, other = (start(5, 7, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    _require(len(one) > 0, "`start` gives no parameters")
    _require(torch.equal(state, torch.get_rng_state()), "`start` draws from torch's global generator")
    _require(all(torch.equal(one[n], same[n]) for n in one), "`start` differs under one seed")
    _require(any(not torch.equal(one[n], other[n]) for n in one), "`start` is the same under two seeds")


def precision_is_kept(maker: Maker) -> None:
    """float64 stays float64; half-precision states count as the float32 numbers that they are."""
    double = maker.case(dtype=torch.float64).value()
    _require(double.dtype is torch.float64, f"float64 states give {double.dtype}")
    single = maker.case(dtype=torch.float32).value()
    _require(single.dtype is torch.float32, f"float32 states give {single.dtype}")
    _require(_near(single, double, 1e-3), f"float32 gives {single:.6g}, float64 {double:.6g}")
    for dtype in (torch.bfloat16, torch.float16):
        half = maker.case(dtype=dtype)
        wide = dataclasses.replace(half, student=half.student.float(), teacher=half.teacher.float())
        (value, gradient), (expected, _) = half.solved(), wide.solved()
        _require(value.dtype is torch.float32, f"{dtype} states give {value.dtype}; widen them to float32")
        _require(
            _near(value, expected, 1e-5),
            f"{dtype} states give {value:.7g}, the same in float32 {expected:.7g}",
        )
        _require(gradient.isfinite().all(), f"{dtype} states give a gradient that is not finite")


def all_is_finite(maker: Maker) -> None:
    """Value and gradients are finite, at zero vectors, equal states, one example and one real token too."""
    for dtype in (torch.float32, torch.float64):
        case = maker.case(dtype=dtype)
        equal = maker.case(dtype=dtype, equal=True)
        cases = {
            "random states": case,
            "student equal to teacher": equal,
            "a student of zeros": dataclasses.replace(case, student=torch.zeros_like(case.student)),
            "a teacher of zeros": dataclasses.replace(case, teacher=torch.zeros_like(case.teacher)),
            "both of zeros": dataclasses.replace(
                equal, student=torch.zeros_like(equal.student), teacher=torch.zeros_like(equal.teacher)
            ),
            "the same state for all examples": dataclasses.replace(
                case, student=_repeated(case.student), teacher=_repeated(case.teacher)
            ),
            "a batch of one": maker.case(dtype=dtype, lengths=(3,)),
            "a batch of two": maker.case(dtype=dtype, lengths=(3, 4)),
        }
        if case.mask is not None:
            cases["one real token"] = maker.case(dtype=dtype, lengths=(1, 1, 1))
            cases["an example without tokens"] = maker.case(dtype=dtype, lengths=(0, 3, 2))
        for where, given in cases.items():
            value, gradients = given.solved_with_parameters()
            _require(value.isfinite(), f"the loss is not finite with {where}, {dtype}")
            for of, gradient in gradients.items():
                _require(
                    gradient.isfinite().all(), f"the gradient of {of} is not finite with {where}, {dtype}"
                )


def _repeated(states: Tensor) -> Tensor:
    return states[:1].expand_as(states).clone()


def gradients_reach_all_of_the_student(maker: Maker) -> None:
    """Every example, every real token and every state that is read gets a gradient."""
    case = maker.case()
    _, gradient = case.solved()
    moved = gradient != 0
    real = torch.ones(gradient.shape[:-1], dtype=torch.bool) if case.mask is None else case.mask > 0
    _require(moved.any(), "no gradient reaches the student")
    _require(moved.any(-1)[real].all(), "some of the real vectors get no gradient")
    reads = maker.objective.reads or (None,)
    for state, part in zip(reads, moved.chunk(len(reads), -1), strict=True):
        _require(part.any(), f"{state} is read and gets no gradient")


def the_teacher_is_a_constant_that_matters(maker: Maker) -> None:
    """The teacher gets no gradient, but another teacher, or the teacher of another example, another loss."""
    case = maker.case(lengths=(5, 5, 5, 5))
    teacher = case.teacher.clone().requires_grad_()
    student = case.student.clone().requires_grad_()
    value = dataclasses.replace(case, student=student, teacher=teacher).value()
    (gradient,) = torch.autograd.grad(value, teacher, allow_unused=True) if value.requires_grad else (None,)
    _require(gradient is None or not gradient.any(), "the teacher gets a gradient; detach it")
    other = dataclasses.replace(case, teacher=maker.case(lengths=(5, 5, 5, 5), seed=7).teacher)
    _require(not _near(other.value(), case.value()), "another teacher gives the same loss")
    rolled = dataclasses.replace(case, teacher=case.teacher.roll(1, 0))
    _require(not _near(rolled.value(), case.value()), "the teachers of other examples give the same loss")


def the_least_is_where_student_equals_teacher(maker: Maker) -> None:
    """What `at_equal` says: 0 or the least value, below that of states nearby and far away."""
    if maker.objective.at_equal is None:
        return
    for seed in range(3):
        equal = maker.case(equal=True, seed=seed)
        least, scale = equal.value(), maker.case(equal=False, seed=seed).value().abs()
        if maker.objective.at_equal == "zero":
            _require(least.abs() <= 1e-9 * (1.0 + scale), f"teacher == student gives {least:.3g}, not 0")
        noise = torch.randn(
            equal.student.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(100 + seed)
        )
        for distance in (0.01, 0.1, 1.0, 3.0):
            away = dataclasses.replace(equal, student=equal.student + distance * noise).value()
            _require(
                away > least,
                f"student {distance} from the teacher gives {away:.3g}, at the teacher {least:.3g}",
            )


def padding_is_invisible(maker: Maker) -> None:
    """What the mask hides, how much of it there is, and NaN in it, change neither value nor gradient."""
    case = maker.case()
    if case.mask is None:
        return
    expected, expected_gradient = case.solved()
    hidden = (case.mask <= 0).unsqueeze(-1)
    for rubbish in (0.0, 1e6, math.inf, math.nan):
        value, gradient = dataclasses.replace(
            case,
            student=case.student.masked_fill(hidden, rubbish),
            teacher=case.teacher.masked_fill(hidden, rubbish),
        ).solved()
        _require(_near(value, expected), f"{rubbish} in the padding changes the loss")
        _require(not gradient.masked_select(hidden).any(), "padding gets a gradient")
        _require(_near(gradient, expected_gradient), f"{rubbish} in the padding changes the gradient")
    counted = dataclasses.replace(case, mask=case.mask.long()).value()
    _require(_near(counted, expected), "a mask of integers gives another loss than one of booleans")
    longer, gradient = case.padded(4).solved()
    _require(_near(longer, expected), "more padding changes the loss")
    _require(_near(gradient[:, :-4], expected_gradient), "more padding changes the gradient")


def packed_tokens_are_the_same(maker: Maker) -> None:
    """Real tokens end to end, [N, H] without a mask, give what [B, T, H] with a mask gives."""
    case = maker.case()
    if case.mask is None or maker.objective.reads is not None:
        return
    real = case.mask > 0
    packed = dataclasses.replace(case, student=case.student[real], teacher=case.teacher[real], mask=None)
    (value, gradient), (expected, expected_gradient) = packed.solved(), case.solved()
    _require(_near(value, expected), f"packed tokens give {value:.6g}, masked ones {expected:.6g}")
    _require(_near(gradient, expected_gradient[real]), "packed tokens get another gradient than masked ones")


def the_order_of_examples_does_not_matter(maker: Maker) -> None:
    """Examples in another order give the same loss, and the gradient in that order."""
    case = maker.case()
    order = torch.randperm(len(case.student), generator=torch.Generator().manual_seed(1))
    (value, gradient), (expected, expected_gradient) = case.permuted(order).solved(), case.solved()
    _require(_near(value, expected), f"in another order the loss is {value:.6g}, not {expected:.6g}")
    _require(_near(gradient, expected_gradient[order]), "in another order examples get another gradient")


def the_loss_is_a_mean_over_examples(maker: Maker) -> None:
    """The summed length of the examples' gradients does not grow with the batch, as that of a sum would."""

    def pull(copies: int) -> float:
        total = 0.0
        for seed in range(4):
            _, gradient = maker.case(lengths=(5, 2, 3, 4, 2, 5) * copies, seed=seed).solved()
            total += gradient.flatten(1).norm(dim=-1).sum().item()
        return total

    ratio = pull(4) / pull(1)
    _require(ratio < 2, f"a batch of 24 pulls {ratio:.2g} times as hard as one of 6; take the mean")


def vmap_equals_a_loop(maker: Maker) -> None:
    """Members on a leading axis, mask and teacher shared or of their own, get what each gets alone."""
    own = [maker.case(seed=seed, scale=1.0 - 0.1 * seed) for seed in range(3)]
    first = own[0]
    shared = [
        dataclasses.replace(c, teacher=first.teacher, mask=first.mask, memory=first.memory) for c in own
    ]
    for cases, axis in ((own, 0), (shared, None)):
        axes = (0, axis, None if first.mask is None else axis, 0, 0, axis)
        columns = zip(axes, zip(*(c.arguments() for c in cases), strict=True), strict=True)
        stacked = [column[0] if axis is None else _stacked(column) for axis, column in columns]
        gradients, values = vmap(grad_and_value(first.called, (0, 3)), axes)(*stacked)
        for number, case in enumerate(cases):
            (student, parameters), value = grad_and_value(case.called, (0, 3))(*case.arguments())
            _require(_near(values[number], value), f"vmap gives {values[number]:.6g}, a loop {value:.6g}")
            _require(_near(gradients[0][number], student), "vmap gives the student another gradient")
            for name, gradient in parameters.items():
                _require(_near(gradients[1][name][number], gradient), f"vmap gives {name} another gradient")


def _stacked(members: Sequence[Any]) -> Any:
    """Tensors, or dicts of tensors, on a new leading axis."""
    if isinstance(members[0], dict):
        return {name: torch.stack([m[name] for m in members]) for name in members[0]}
    return torch.stack(list(members))


def steps_bring_it_down(maker: Maker) -> None:
    """Thirty steps on the states and the parameters lower the loss and move all parameters."""
    case = maker.case()
    leaves = {"student": case.student, **case.parameters}
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in leaves.items()}
    learned = {name: leaf for name, leaf in leaves.items() if name != "student"}
    moving = dataclasses.replace(case, student=leaves["student"], parameters=learned)
    optimizer = torch.optim.Adam(list(leaves.values()), lr=0.02)
    for _ in range(30):
        optimizer.zero_grad()
        torch.autograd.backward(moving.value())
        optimizer.step()
    before, after = case.value(), moving.value()
    _require(after < before, f"30 steps lead from {before:.6g} to {after:.6g}")
    for name, parameter in case.parameters.items():
        _require(not torch.equal(learned[name], parameter), f"the parameter {name} never gets a gradient")


def settings_matter(maker: Maker) -> None:
    """Each setting has a value that changes the loss."""
    for name, (_, *others) in maker.settings.items():
        values = [maker.case(changed={name: other}).value() for other in others]
        changed = any(not _near(value, maker.case().value()) for value in values)
        _require(changed or not others, f"{name} changes nothing: {maker.settings[name]} give one loss")


PROMISES: tuple[Callable[[Maker], None], ...] = (
    it_is_a_pure_function,
    parameters_start_from_the_generator,
    precision_is_kept,
    all_is_finite,
    gradients_reach_all_of_the_student,
    the_teacher_is_a_constant_that_matters,
    the_least_is_where_student_equals_teacher,
    padding_is_invisible,
    packed_tokens_are_the_same,
    the_order_of_examples_does_not_matter,
    the_loss_is_a_mean_over_examples,
    vmap_equals_a_loop,
    steps_bring_it_down,
    settings_matter,
)
