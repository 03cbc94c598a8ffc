"""The contract over everything registered, and over objectives of a user's own."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import pytest
import torch
from pydantic import Field
from torch import Tensor

from distiller.pipelines.contract import ContractError, check_choice, check_objective
from distiller.pipelines.contract_cases import settings_of
from distiller.pipelines.objectives import OBJECTIVES, Objective, State
from distiller.pipelines.objectives.masking import comparable, mean_over_real
from distiller.spaces.choice import id_of, members
from distiller.spaces.intermediate import Intermediate, NoIntermediate, Term
from distiller.spaces.priors import LogUniform

CHOICES = {id_of(choice): choice for choice in members(Intermediate) if choice is not NoIntermediate}


def test_every_choice_has_its_objective_and_no_other() -> None:
    assert set(OBJECTIVES) == set(CHOICES)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_contract_holds(name: str) -> None:
    check_choice(CHOICES[name], OBJECTIVES[name])


@pytest.mark.parametrize("name", OBJECTIVES)
def test_widths_may_differ_where_nothing_says_otherwise(name: str) -> None:
    """What the registry says of widths is what the choice offers: a projection, or no need of one."""
    assert OBJECTIVES[name].same_width == ("projection" in CHOICES[name].model_fields)


def test_settings_are_read_off_the_choice() -> None:
    assert settings_of(CHOICES["attention"]) == {"target": ("scores", "maps")}
    alpha = settings_of(CHOICES["mi_alpha"])["alpha"]
    assert alpha[0] == 0.5
    assert all(0 <= value <= 1 for value in alpha)
    assert len(alpha) > 1
    assert "weight" not in settings_of(CHOICES["mse"])


class Power(Term):
    """A user's choice: the mean of |difference| to some power."""

    citation: ClassVar[str] = "nobody"
    objective: Literal["power"] = "power"
    exponent: Annotated[float, Field(ge=1, le=4), LogUniform(1, 4)] = 2
    halved: bool = False
    representation: Literal["cls", "mean", "tokens"] = "tokens"


def power(student: Tensor, teacher: Tensor, mask: Tensor | None, *, exponent: Tensor, halved: bool) -> Tensor:
    student, teacher = comparable(student, teacher, mask)
    # |0|^p has no finite gradient in p below 1, nor the logarithm in it at all.
    losses = ((student - teacher).square() + 1e-18) ** (exponent / 2) - 1e-18 ** (exponent / 2)
    return mean_over_real(losses.mean(-1), mask) * (0.5 if halved else 1.0)


def test_a_users_objective_that_keeps_the_contract() -> None:
    check_choice(Power, Objective(power, same_width=True, at_equal="zero"))


def test_what_a_users_objective_breaks_is_said_in_one_line() -> None:
    def forgets(
        student: Tensor, teacher: Tensor, mask: Tensor | None, *, exponent: Tensor, halved: bool
    ) -> Tensor:
        return power(student, teacher, mask, exponent=2 * torch.ones_like(exponent), halved=halved)

    with pytest.raises(ContractError) as broken:
        check_choice(Power, Objective(forgets, same_width=True, at_equal="zero"))
    assert str(broken.value).startswith("power, tokens: exponent changes nothing")
    assert "\n" not in str(broken.value)


def test_an_error_in_a_loss_is_a_broken_contract() -> None:
    def crashes(student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
        return (student - teacher).square().mean(7)

    with pytest.raises(ContractError, match=r"mine, tokens: as to whether .* raises IndexError") as broken:
        check_objective("mine", Objective(crashes, same_width=True))
    assert isinstance(broken.value.__cause__, IndexError)


def test_only_states_of_attention_come_with_heads() -> None:
    assert not Objective(power, reads=(State("hidden", below=1),)).reads_heads
    assert Objective(power, reads=(State("hidden"), State("values"))).reads_heads
    assert not Objective(power).reads_heads
