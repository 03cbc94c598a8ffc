"""crd against loops over anchors and remembered rows, and its memory."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from distiller.pipelines.objectives.crd import MEMORY_WIDTH, crd, crd_embed, crd_parameters, remembered


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def parameters_of(seed: int) -> dict[str, Tensor]:
    start = crd_parameters(4, 6, torch.Generator().manual_seed(seed))
    return {name: tensor.double() for name, tensor in start.items()}


def probability(score: float, temperature: float, negatives: int, mean: float) -> float:
    """h of Tian et al. eq. 19, with Z = N times the mean of raised scores of others."""
    raised = math.exp(score / temperature)
    return raised / (raised + negatives * mean)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**16), st.integers(1, 4), st.integers(1, 6), st.floats(0.1, 2))
def test_equals_loops(seed: int, size: int, drawn: int, temperature: float) -> None:
    student, teacher, parameters = normal(seed, size, 4), normal(seed + 1, size, 6), parameters_of(seed)
    memories = [F.normalize(normal(seed + n, drawn, MEMORY_WIDTH)) for n in (2, 3)]
    own = normal(seed + 4, size, drawn) > 1
    own[0, 0] = False  # some other there is
    vectors = [
        F.normalize(F.linear(states, parameters[f"{side}_weight"], parameters[f"{side}_bias"]))
        for side, states in (("student", student), ("teacher", teacher))
    ]
    total = 0.0
    for anchors, memory in ((vectors[0], memories[1]), (vectors[1], memories[0])):
        others = [
            (i, torch.dot(anchors[i], memory[k]).item())
            for i in range(size)
            for k in range(drawn)
            if not own[i, k]
        ]
        mean = sum(math.exp(score / temperature) for _, score in others) / len(others)
        for i in range(size):
            pair = torch.dot(vectors[0][i], vectors[1][i]).item()
            total -= math.log(probability(pair, temperature, drawn, mean))
        for _, score in others:
            total -= math.log(1 - probability(score, temperature, drawn, mean))
    found = crd(
        student,
        teacher,
        None,
        parameters=parameters,
        temperature=torch.tensor(temperature, dtype=torch.float64),
        negatives=drawn,
        student_others=memories[0],
        teacher_others=memories[1],
        own=own,
    )
    assert found.item() == pytest.approx(total / size, rel=1e-8)


def test_embeddings_are_unit_vectors_of_their_heads() -> None:
    student, teacher, parameters = normal(0, 5, 4), normal(1, 5, 6), parameters_of(2)
    own, said = crd_embed(student, teacher, parameters)
    assert own.shape == said.shape == (5, MEMORY_WIDTH)
    torch.testing.assert_close(own, F.normalize(student @ parameters["student_weight"].T))
    torch.testing.assert_close(said, F.normalize(teacher @ parameters["teacher_weight"].T))


def test_a_memory_follows_at_half_speed() -> None:
    old, new = F.normalize(normal(0, 3, MEMORY_WIDTH)), F.normalize(normal(1, 3, MEMORY_WIDTH))
    after = remembered(old, new.requires_grad_())
    assert not after.requires_grad
    torch.testing.assert_close(after, F.normalize(old + new.detach()))
    for _ in range(60):
        after = remembered(after, new)
    torch.testing.assert_close(after, new.detach())


def test_its_size_is_that_of_a_few_classes() -> None:
    """Whatever the number of others: with strangers for pairs, about log K + 1 each way."""
    for drawn in (16, 256, 4096):
        memories = [F.normalize(normal(n, drawn, MEMORY_WIDTH)) for n in (2, 3)]
        found = crd(
            normal(0, 64, 4),
            normal(1, 64, 6),
            None,
            parameters=parameters_of(2),
            temperature=0.3,
            negatives=drawn,
            student_others=memories[0],
            teacher_others=memories[1],
            own=torch.zeros(64, drawn, dtype=torch.bool),
        )
        assert found.item() == pytest.approx(2 * (math.log(drawn) + 1), rel=0.15)


def test_training_tells_pairs_from_strangers() -> None:
    """With a student that is linear in the teacher, most examples come to match their own teacher best."""
    teacher = normal(3, 16, 6).float()
    student = teacher @ normal(4, 6, 4).float()
    parameters = {name: p.float().requires_grad_() for name, p in parameters_of(5).items()}
    optimizer = torch.optim.Adam(list(parameters.values()), lr=0.01)

    def told_right() -> float:
        own, said = crd_embed(student, teacher, parameters)
        return ((own @ said.T).argmax(-1) == torch.arange(16)).float().mean().item()

    assert told_right() < 0.2
    for _ in range(150):
        with torch.no_grad():
            memory = crd_embed(student, teacher, parameters)
        loss = crd(
            student,
            teacher,
            None,
            parameters=parameters,
            temperature=0.07,
            negatives=16,
            student_others=memory[0],
            teacher_others=memory[1],
            own=torch.eye(16, dtype=torch.bool),
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert told_right() > 0.6
