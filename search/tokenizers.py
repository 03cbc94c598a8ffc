"""Which models of a sweep cut texts into tokens of their own; needs `transformers`, unlike a plan."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from distiller.pipelines.checkpoint import load_tokenizer, tokenizer_key
from distiller.pipelines.places import located
from distiller.search.plan import OneTokenizer, Tokenizers, place_of, pretrained_of, teachers_of
from distiller.spaces.space import Space
from distiller.spaces.sweep import SweepConfig


def tokenizers_of(sweep: SweepConfig, dataset: str, base: Path) -> Tokenizers:
    """Who does not share a tokenizer in a dataset's block.

    Raises:
        InputError: a teacher or a pretrained student that is not there, or has no tokenizer.
    """
    space: Space = sweep.space_of(dataset)
    students, teams = pretrained_of(space), teachers_of(space)
    if not students and all(len(set(team)) == 1 for team in teams):
        return OneTokenizer
    names = dict.fromkeys(name for team in teams for name in team)
    keys = {}
    for name in names:
        one = sweep.teachers[name]
        keys[name] = _key(one.model, one.revision, base, f"teachers.{name}.model", one.trust_remote_code)
    place = f"{place_of(sweep, dataset, 'student')}.student.pretrained.checkpoint"
    leads = {keys[team[0]] for team in teams}
    return Tokenizers(
        students=tuple(s for s in students if {_key(s, None, base, place)} != leads),
        teams=tuple(dict.fromkeys(team for team in teams if len({keys[name] for name in team}) > 1)),
    )


@lru_cache(maxsize=64)
def _key(model: str, revision: str | None, base: Path, place: str, trust: bool = False) -> str:
    return tokenizer_key(load_tokenizer(located(model, base, place), revision, place, trust))
