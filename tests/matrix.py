"""Cases of one test, of which `make test` runs some and `make test-slow` the others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def most_slow(cases: Iterable[Any], first: int) -> list[Any]:
    """The cases, marked `slow` but for the `first` ones."""
    return [
        case if number < first else pytest.param(*_values(case), marks=pytest.mark.slow)
        for number, case in enumerate(cases)
    ]


def _values(case: Any) -> tuple[Any, ...]:
    return case if isinstance(case, tuple) else (case,)
