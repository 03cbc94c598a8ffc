"""Random narrowings of the space, as people write them."""

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from distiller.spaces.choice import Choice, Parameter, Union, parts
from distiller.spaces.config import MAX_SLOTS, STAGES
from distiller.spaces.priors import OneOf

settings.register_profile(
    "spaces", derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
settings.load_profile("spaces")

TEACHERS = ["teacher", "big", "1e-3", "1e5", "null", "3"]


@st.composite
def _range(draw: Any, low: float, high: float) -> Any:
    """A sub-range, its ends with all their digits; a log range where it can be one."""
    ends = sorted(draw(st.lists(st.floats(low, high), min_size=2, max_size=2)))
    kinds = ["uniform", "loguniform"] if ends[0] > 0 else ["uniform"]
    return {draw(st.sampled_from(kinds)): ends}


def _prior(parameter: Parameter) -> Any:
    prior = parameter.prior
    if not isinstance(prior, OneOf):
        numbers = st.floats(prior.low, prior.high)
        lists = st.lists(numbers, min_size=1, max_size=3, unique=True)
        return st.one_of(numbers, lists, _range(prior.low, prior.high))
    values = TEACHERS if parameter.name == "checkpoint" else list(prior.values)
    written = [st.sampled_from(values), st.lists(st.sampled_from(values), min_size=1, unique=True)]
    if parameter.python_type is float and len(values) > 1:
        written.append(_range(min(values), max(values)))
    if parameter.name in ("layers", "copies"):
        ends = st.lists(st.integers(1, 16), min_size=2, max_size=2).map(sorted)
        written.append(st.fixed_dictionaries({"integers": ends}))
    return st.one_of(written)


@st.composite
def _part(draw: Any, part: Union | type[Choice]) -> Any:
    if not isinstance(part, Union):
        inner = {n: _prior(p) if isinstance(p, Parameter) else _part(p) for n, p in parts(part).items()}
        return draw(st.fixed_dictionaries({}, optional=inner))
    names = draw(st.lists(st.sampled_from(list(part.choices)), min_size=1, unique=True))
    form = draw(st.sampled_from(["bare", "list", "mapping"]))
    if form == "bare":
        return names[0]
    if form == "list":
        return names
    return {name: draw(st.none() | _part(part.choices[name])) for name in names}


def _stage(name: str) -> Any:
    one = _part(STAGES[name].part)
    if STAGES[name].slots == 1:
        return one
    return one | st.lists(one, min_size=1, max_size=MAX_SLOTS).map(lambda slots: {"slots": slots})


@pytest.fixture(scope="session")
def narrowings() -> Any:
    """A strategy of `space:` mappings, several slots included."""
    return st.fixed_dictionaries({}, optional={name: _stage(name) for name in STAGES})
