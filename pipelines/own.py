"""A user's own parts take their place among the built-in functions, once they have kept the contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from distiller.pipelines.augment import contract as words
from distiller.pipelines.augment.methods import METHODS, WordMethod
from distiller.pipelines.augment.rows import Edited, Editor, Row, by_row
from distiller.pipelines.augment.sources import Sources
from distiller.pipelines.contract import ContractError, check_choice
from distiller.pipelines.contract_cases import settings_of
from distiller.pipelines.objectives import OBJECTIVES
from distiller.pipelines.objectives.objective import Objective
from distiller.pipelines.prediction import SOFT, SoftLoss
from distiller.pipelines.prediction_contract import check_soft_loss
from distiller.spaces.augmentation import Mixup, NoAugmentation
from distiller.spaces.choice import Choice, Union, parts
from distiller.spaces.config import STAGES
from distiller.spaces.errors import InputError
from distiller.spaces.intermediate import NoIntermediate
from distiller.spaces.prediction import LabelsOnly

Function = Callable[..., Any]


def adopt_own_parts() -> list[str]:
    """Give every registered part (`distiller.spaces.own`) its function; names of those that are new.

    Objectives: `function(student, teacher, mask, **settings)`, and as class variables what else
    `Objective` holds: `same_width`, `reads`, `start`, `at_equal` ("least" where nothing is learned).
    Prediction losses: `function(student, teacher, seen, **settings)`. Word-level methods:
    `function(words, protected, rng, **settings)`, a list of pairs (word, index of the original word or None).

    Raises:
        InputError: a part that breaks the contract of its stage, in one line.
    """
    adopted = []
    for stage, table, adopt in (
        ("intermediate", OBJECTIVES, _objective),
        ("prediction", SOFT, _soft_loss),
        ("augmentation", METHODS, _method),
    ):
        part = STAGES[stage].part
        assert isinstance(part, Union)
        functions: dict[str, Any] = table
        for name, model in part.choices.items():
            silent = issubclass(model, (NoIntermediate, LabelsOnly, NoAugmentation, Mixup))
            if name not in functions and not silent:
                functions[name] = adopt(name, model, getattr(model, "function"))  # noqa: B009
                adopted.append(name)
    return adopted


def _objective(name: str, model: type[Choice], function: Function) -> Objective:
    start = getattr(model, "start", None)
    objective = Objective(
        function,
        reads=getattr(model, "reads", None),
        same_width=getattr(model, "same_width", False),
        start=start,
        at_equal=getattr(model, "at_equal", "least" if start is None else None),
    )
    try:
        check_choice(model, objective)
    except ContractError as error:
        raise InputError(f"parts: objective {error}") from None
    return objective


def _soft_loss(name: str, model: type[Choice], function: Function) -> SoftLoss:
    soft = SoftLoss(function, zero_at_equal=False)
    values = {n: v for n, v in settings_of(model).items() if n != "hard_weight"}
    settings: dict[str, Any] = {n: default for n, (default, *_) in values.items()}
    others = {n: legal for n, (_, *legal) in values.items()}
    try:
        check_soft_loss(name, soft, settings, others=others)
    except InputError as error:
        raise InputError(f"parts: {error}") from None
    return soft


def _method(name: str, model: type[Choice], function: Function) -> WordMethod:
    def editor(choice: Any, sources: Sources | None) -> Editor:
        settings = {n: getattr(choice, n) for n in parts(model) if n not in ("copies", "redraw")}

        def edit(row: Row, rng: Any) -> list[Edited]:
            return [Edited(*pair) for pair in function(row.words, row.protected, rng, **settings)]

        return by_row(edit)

    try:
        words.check_augmentation(name, editor(model(), None), getattr(model(), "strength", None))
    except words.ContractError as error:
        raise InputError(f"parts: augmentation {error}") from None
    return WordMethod(editor)
