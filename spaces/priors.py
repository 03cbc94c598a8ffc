"""Priors of single parameters: what may be drawn, how it is drawn, and how a person writes it.

In YAML a scalar is a constant, a list a choice among values, and `{uniform: [a, b]}`,
`{loguniform: [a, b]}` and `{integers: [a, b]}` are ranges, both ends included.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from distiller.spaces.errors import InputError

Value = float | int | str | bool


class SuggestingTrial(Protocol):
    """The part of `optuna.trial.Trial` that a prior needs (this package does not import Optuna)."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float: ...
    def suggest_int(self, name: str, low: int, high: int) -> int: ...
    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...


def significant(value: float) -> float:
    """`value` to 6 significant digits, so that configs stay short in YAML and tables."""
    return float(f"{value:.6g}")


@dataclass(frozen=True)
class Uniform:
    """A float, uniform on [low, high]; with `log`, uniform in its logarithm."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        """`Uniform(0, 1)` is written with integers and still a range of floats."""
        object.__setattr__(self, "low", float(self.low))
        object.__setattr__(self, "high", float(self.high))

    def sample(self, rng: np.random.Generator) -> float:
        if self.log:
            return self.rounded(math.exp(rng.uniform(math.log(self.low), math.log(self.high))))
        return self.rounded(rng.uniform(self.low, self.high))

    def suggest(self, trial: SuggestingTrial, name: str) -> float:
        if self.low == self.high:
            return self.low
        return self.rounded(trial.suggest_float(name, self.low, self.high, log=self.log))

    def rounded(self, value: float) -> float:
        return min(max(significant(value), self.low), self.high)

    def contains(self, value: Value) -> bool:
        return not isinstance(value, (bool, str)) and self.low <= value <= self.high

    def grid(self, levels: int) -> tuple[float, ...]:
        """At most `levels` values from low to high, evenly spaced (in the logarithm, with `log`)."""
        if levels == 1:
            middle = math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2
            return (self.rounded(middle),)
        space = np.geomspace if self.log else np.linspace
        return tuple(dict.fromkeys(self.rounded(float(v)) for v in space(self.low, self.high, levels)))

    def written(self) -> Any:
        return {"loguniform" if self.log else "uniform": [self.low, self.high]}

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}" + (" (log)" if self.log else "")


def LogUniform(low: float, high: float) -> Uniform:  # noqa: N802  (reads as the prior that it makes)
    """A float whose logarithm is uniform on [log low, log high]; needs 0 < low."""
    return Uniform(low, high, log=True)


@dataclass(frozen=True)
class Integers:
    """An integer, uniform on low, low + 1, …, high."""

    low: int
    high: int

    def sample(self, rng: np.random.Generator) -> int:
        return int(rng.integers(self.low, self.high + 1))

    def suggest(self, trial: SuggestingTrial, name: str) -> int:
        if self.low == self.high:
            return self.low
        return int(trial.suggest_int(name, self.low, self.high))

    def contains(self, value: Value) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high

    def grid(self, levels: int) -> tuple[int, ...]:
        """At most `levels` integers from low to high, evenly spaced."""
        return tuple(sorted({round(float(v)) for v in np.linspace(self.low, self.high, levels)}))

    def written(self) -> Any:
        return {"integers": [self.low, self.high]}

    def __str__(self) -> str:
        return f"{self.low} to {self.high} (integers)"


class OneOf:
    """One of the given values, each as likely as the others; with one value, a constant."""

    def __init__(self, *values: Value):
        if not values:
            raise ValueError("OneOf needs at least one value")
        self.values = values

    def sample(self, rng: np.random.Generator) -> Value:
        return self.values[int(rng.integers(len(self.values)))]

    def suggest(self, trial: SuggestingTrial, name: str) -> Value:
        if len(self.values) == 1:
            return self.values[0]
        value: Value = trial.suggest_categorical(name, self.values)
        return value

    def contains(self, value: Value) -> bool:
        return any(value == v and isinstance(value, bool) == isinstance(v, bool) for v in self.values)

    def grid(self, levels: int) -> tuple[Value, ...]:
        """All the values, whatever `levels` says: they have no order to thin out by."""
        return self.values

    def written(self) -> Any:
        return self.values[0] if len(self.values) == 1 else list(self.values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OneOf) and self.values == other.values

    def __hash__(self) -> int:
        return hash(self.values)

    def __repr__(self) -> str:
        return f"OneOf{self.values!r}"

    def __str__(self) -> str:
        return " | ".join(str(v) for v in self.values)


Prior = Uniform | Integers | OneOf


def is_constant(prior: Prior) -> bool:
    """Whether nothing is left to search."""
    return (isinstance(prior, OneOf) and len(prior.values) == 1) or (
        not isinstance(prior, OneOf) and prior.low == prior.high
    )


def values_of(prior: Prior) -> Iterator[Value]:
    """The values that decide whether a prior is legal: all of a choice, the ends of a range."""
    if isinstance(prior, OneOf):
        yield from prior.values
    else:
        yield prior.low
        yield prior.high


def _finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer past the largest float
        return False


def parse_prior(written: Any, path: str) -> Prior:
    """The prior that a person wrote at `path`; raises InputError where it is none."""
    for value in written if isinstance(written, list) else [written]:
        if isinstance(value, (int, float)) and not _finite(value):
            raise InputError(f"{path}: {written!r} holds a number that is not finite; write finite numbers")
    if isinstance(written, (str, int, float, bool)):
        return OneOf(written)
    if isinstance(written, list):
        if not written or not all(isinstance(v, (str, int, float, bool)) for v in written):
            raise InputError(f"{path}: {written!r} is no list of values; write for example [1, 2, 4]")
        if len({(type(v) is bool, v) for v in written}) < len(written):
            raise InputError(f"{path}: {written!r} names a value twice; name each once")
        return OneOf(*written)
    if isinstance(written, dict) and len(written) == 1:
        ((kind, ends),) = written.items()
        if kind in ("uniform", "loguniform", "integers"):
            return _parse_range(kind, ends, path)
    raise InputError(
        f"{path}: {written!r} is no prior; write a value, a list of values, "
        "{uniform: [a, b]}, {loguniform: [a, b]} or {integers: [a, b]}"
    )


def _parse_range(kind: str, ends: Any, path: str) -> Prior:
    number = int if kind == "integers" else (int, float)
    if (
        not isinstance(ends, list)
        or len(ends) != 2
        or not all(isinstance(v, number) and not isinstance(v, bool) and _finite(v) for v in ends)
    ):
        what = "two integers" if kind == "integers" else "two finite numbers"
        raise InputError(f"{path}.{kind}: {ends!r} is not {what}; write [low, high]")
    low, high = ends
    if low > high:
        raise InputError(f"{path}.{kind}: {low} is above {high}; write the lower end first")
    if kind == "loguniform" and low <= 0:
        raise InputError(f"{path}.{kind}: {low} is not above 0; a log range needs a positive lower end")
    if kind == "integers":
        return Integers(low, high)
    return Uniform(float(low), float(high), log=kind == "loguniform")
