"""Tables whose truth is known: stages with conditions, drawn by a sampler of its own."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from distiller.results.imported.mapping import parse_mapping
from distiller.spaces.files import write_yaml
from distiller.spaces.priors import Integers, OneOf, Uniform

PRIORS = st.one_of(
    st.sampled_from([OneOf("a", "b"), OneOf("none", "x y", "z,'\"\n;"), OneOf(1, 2, 4), OneOf(0.5, 1.5)]),
    st.sampled_from([OneOf(False, True), Integers(3, 40), Uniform(-1, 2), Uniform(1e-5, 1e-1, log=True)]),
)


@dataclass
class Column:
    name: str
    prior: object
    when: dict = field(default_factory=dict)  # by column of the stage, the values that ask for this one


@dataclass
class Made:
    """By stage its columns, those that others depend on first."""

    stages: dict[str, list[Column]]

    def mapping(self, told: bool, **more):
        """The mapping of `csv`; with priors and conditions, or only the names."""
        stages = {}
        for stage, columns in self.stages.items():
            stages[stage] = {
                c.name: {"prior": listed(c.prior), **({"when": c.when} if c.when else {})} if told else {}
                for c in columns
            }
        document = {"name": "made", "score": "score", "stages": stages} | more
        return parse_mapping(write_yaml(document), "mapping.yaml")

    def draw(self, rows, rng):
        """[rows] dicts by column; a column that is not asked is None."""
        found = []
        for _ in range(rows):
            row = {}
            for columns in self.stages.values():
                for column in columns:
                    asked = all(row[p] is not None and row[p] in vs for p, vs in column.when.items())
                    row[column.name] = one_of(column.prior, rng) if asked else None
            found.append(row)
        return found


def one_of(prior, rng):
    if isinstance(prior, OneOf):
        return prior.values[rng.integers(len(prior.values))]
    if isinstance(prior, Integers):
        return int(rng.integers(prior.low, prior.high + 1))
    if prior.log:
        return math.exp(rng.uniform(math.log(prior.low), math.log(prior.high)))
    return float(rng.uniform(prior.low, prior.high))


def listed(prior):
    written = prior.written()
    return written if isinstance(written, (list, dict)) else [written]


@st.composite
def made(draw, conjunctions=True):
    """Up to three stages of up to four columns."""
    stages, number = {}, 0
    for stage in draw(st.lists(st.sampled_from(["augment", "Opt Stage", "head"]), min_size=1, unique=True)):
        columns = []
        for _ in range(draw(st.integers(1, 4))):
            number += 1
            able = [c for c in columns if isinstance(c.prior, OneOf)]
            parents = (
                draw(st.lists(st.sampled_from(able), max_size=2 if conjunctions else 1, unique_by=id))
                if able
                else []
            )
            when = {}
            for parent in parents:
                values = list(parent.prior.values)
                some = draw(st.sets(st.integers(0, len(values) - 1), min_size=1, max_size=len(values) - 1))
                when[parent.name] = [values[i] for i in sorted(some)]
            columns.append(Column(f"c{number}", draw(PRIORS), when))
        stages[stage] = columns
    return Made(stages)


def write_csv(path: Path, rows) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows([{k: "" if v is None else v for k, v in row.items()} for row in rows])
    return path


def scored(rows, rng=None):
    """The rows with a score each."""
    rng = rng or np.random.default_rng(0)
    return [
        row | {"score": float(score)} for row, score in zip(rows, rng.uniform(0, 1, len(rows)), strict=True)
    ]
