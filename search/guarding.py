"""Errors in what Ray Tune calls back: they end the launch, as themselves.

Tune wraps what a callback raises in errors of its own, and what is raised while a trial is stopped it takes
for a failure of that trial, which it then runs again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Protocol, TypeVar


class Guarded(Protocol):
    """Whose callbacks are guarded: `fail` is told what went wrong, and sees to it that the launch ends."""

    @property
    def fail(self) -> Callable[[Exception], None]: ...


Method = TypeVar("Method", bound=Callable[..., Any])


def ends_the_launch(answer: Any = None) -> Callable[[Method], Method]:
    """A callback that never raises: its object's `fail` takes the error, and Tune gets `answer`."""

    def guard(method: Method) -> Method:
        @wraps(method)
        def guarded(self: Guarded, *given: Any, **named: Any) -> Any:
            try:
                return method(self, *given, **named)
            except Exception as error:
                self.fail(error)
                return answer

        return guarded  # type: ignore[return-value]

    return guard
