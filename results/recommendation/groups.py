"""Which datasets are related, so that none of them may help to predict another one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from distiller.spaces.errors import InputError
from distiller.spaces.narrowing import nearest

_SIZED = re.compile(r"(?P<source>.+)-\d+")


def grouped(
    datasets: Sequence[str],
    sources: Mapping[str, str] | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
) -> tuple[str, ...]:
    """The group of each dataset: as the user says, else its source, else its name without a train size
    (`trec-500` and `trec-2000` are of `trec`).

    Args:
        sources: by dataset, where a table knows them.
        groups: datasets by the name of their group; others keep the group that they have.

    Raises:
        InputError: a group names a dataset that there is not, or one that is in another group.
    """
    found = {name: (sources or {}).get(name) or _source(name) for name in datasets}
    given: dict[str, str] = {}
    for group, members in (groups or {}).items():
        for name in members:
            if name not in found:
                raise InputError(f"group {group}: there is no dataset {name!r}; {nearest(name, found)}")
            if given.setdefault(name, group) != group:
                raise InputError(f"group {group}: {name} is in {given[name]} too; name it once")
    return tuple(given.get(name, found[name]) for name in datasets)


def _source(name: str) -> str:
    sized = _SIZED.fullmatch(name)
    return sized["source"] if sized else name
