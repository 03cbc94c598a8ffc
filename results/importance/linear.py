"""The linear surrogate: `terms` fitted by `regression`.

Interactions of stages enter one after another, each if it is significant beside what is there (Bonferroni
over all that were asked).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from distiller.results.importance.decomposition import Floats
from distiller.results.importance.noise import whole_groups
from distiller.results.importance.regression import (
    Fit,
    ScoreTest,
    Whitened,
    covariance,
    draws,
    expected_squares,
    fit,
)
from distiller.results.importance.terms import Basis, Candidate, Part

SIGNIFICANCE = 0.05
"""Chance that any interaction enters where there is none."""
MOST_INTERACTIONS = 8
MOST_SELECTING = 2000
"""Rows that interactions are chosen on; what was chosen is fitted to all."""


@dataclass(frozen=True)
class Linear:
    """A fitted surrogate.

    Attributes:
        parts: with the terms on all rows of the table, training or not.
        asked: how many interactions might have entered.
    """

    parts: Sequence[Part]
    asked: int
    found: Fit
    white: Whitened

    @classmethod
    def fit(
        cls,
        basis: Basis,
        score: Floats,
        group: npt.NDArray[np.intp],
        train: npt.NDArray[np.bool_] | None = None,
    ) -> Linear:
        """The surrogate of the rows `train` (all by default); `group` tells which belong together."""
        train = np.ones(len(score), dtype=bool) if train is None else train
        rows = whole_groups(group, train, MOST_SELECTING)
        small = basis.at(rows)
        number = together(small, group[rows])
        parts, chosen, most = small.mains(), list[Candidate](), 1
        found, white = fit([part.term for part in parts], score[rows], number, noise=small.noise)
        for _ in range(MOST_INTERACTIONS):
            width = {part.stages: len(part.term.weight) for part in parts}
            asked = [(candidate, candidate.on(small)) for candidate in small.candidates(parts, found)]
            # Of one interaction there is one form at a time; a wider one takes the place of a narrower.
            asked = [one for one in asked if len(one[1].term.weight) > width.get(one[1].stages, 0)]
            most = max(most, len(asked))
            test = ScoreTest(found, white)
            chances = [test.p_value(part.term) for _, part in asked]
            if not chances or min(chances) > SIGNIFICANCE / len(chances):
                break
            candidate, part = asked[int(np.argmin(chances))]
            kept = [j for j, one in enumerate(parts) if one.stages != part.stages]
            parts = [*(parts[j] for j in kept), part]
            chosen = [one for one in chosen if frozenset(one.stages) != part.stages] + [candidate]
            start = replace(found, variance=found.variance[kept])
            found, white = fit([one.term for one in parts], score[rows], number, start, small.noise)
        parts = [*basis.mains(), *(candidate.on(basis) for candidate in chosen)]
        if rows.sum() < train.sum():
            cut = [replace(part.term, matrix=part.term.matrix[train]) for part in parts]
            whole = basis.at(train)
            found, white = fit(cut, score[train], together(whole, group[train]), noise=whole.noise)
        return cls(parts, most, found, white)

    def predict(self) -> Floats:
        """[rows] of all rows of the table."""
        return self.found.predict([part.term for part in self.parts])

    def variances(self) -> list[Floats]:
        """[k] of each part the posterior expectation of every squared coefficient."""
        return expected_squares(self.found, self.white)

    def covariance(self, rows: npt.NDArray[np.intp]) -> Floats:
        """[rows, rows] of the whitened scores of some training rows, as far as the terms go."""
        return covariance(self.found, self.white, rows)

    def drawn(self, count: int, rng: np.random.Generator) -> list[Floats]:
        """[count, k] coefficients of each part from the posterior."""
        return draws(self.found, self.white, count, rng)

    def p_values(self, stage: int, noise: float = 0.0) -> tuple[float, float]:
        """Of "the stage alone has no effect" and "neither alone nor with others": the smallest over its
        terms, each tested beside all other stages' terms (Bonferroni over the stage's own terms, and for
        interactions over all that might have entered)."""
        mine = [j for j, part in enumerate(self.parts) if stage in part.stages]
        test = ScoreTest(self.found, self.white, mine, noise)
        chances = {j: test.p_value_of(j) for j in mine}
        own = [chance for j, chance in chances.items() if len(self.parts[j].stages) == 1]
        alone = min(1.0, len(own) * min(own, default=1.0))
        together = [self.asked * chance for j, chance in chances.items() if len(self.parts[j].stages) > 1]
        return alone, min(1.0, 2 * min([alone, *together])) if together else alone


def together(basis: Basis, group: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """[rows] numbers of what shares an effect: seeds of a config; of runs the noise says what they share."""
    return (
        np.arange(len(group)) if basis.noise.carries else np.unique(group, return_inverse=True)[1].reshape(-1)
    )
