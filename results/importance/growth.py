"""How scores grow over the budget, as learning curves tell.

A score at a rung is modelled as w f + (1 - z^g) e + d + noise: f is the score at the full budget, z the
rung's share of it, e a function of its own of what shows early, d one of each rung but the first, where the
scores ask for it. The noise carries on from rung to rung of a run. The w of each rung, g and the noise are
those that make the scores most likely, so what a stopped trial showed bears on the full budget as far as the
trials that went on say that it does.

The likelihood has several peaks, and the search starts from more than one: w a power of z and little carried
on, or each score a multiple of the run's last one. A rung's new noise is never taken for very small: what is
wrong with this model is in it too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import optimize

from distiller.results.importance.decomposition import Floats
from distiller.results.importance.linear import together
from distiller.results.importance.noise import LEAST_NEW, Noise, whole_groups
from distiller.results.importance.regression import Fit, Whitened, fit, log_evidence, noise_of
from distiller.results.importance.rows import Rows
from distiller.results.importance.terms import STEERED, Basis

MOST_SETTLING = 2000
"""Rows that the growth is settled on."""
PERSISTENCES, ONSETS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0), (-0.5, -0.25, 0.25, 0.5, 1.0, 2.0)
"""Powers of z that w is first supposed to be; those that g may be."""
FEWEST = 10
"""Rows that what all kinds of rows have in common counts for, beside a kind's own."""
NEAR, CLOSE = 0.3, 0.005
"""How far w may move at once, and how exactly it is found."""


def settled(basis: Basis, rows: Rows) -> Basis:
    """The basis with the w, g and noise that make the scores of these rows likely."""
    if not basis.rungs:
        return basis
    some = whole_groups(rows.group, np.ones(len(rows.score), dtype=bool), MOST_SETTLING, rows.full)
    small = basis.at(some)
    seen = _Seen(
        rows.score[some], together(small, rows.group[some]), np.where(rows.prior[some], 1.0, STEERED)
    )
    starts = [seen.grown(small), *([seen.kept(small)] if small.noise.carries else [])]
    if basis.rungs > 1:
        starts += [replace(start, apart=True) for start in starts]
    tried = [seen.improved(start) for start in starts]
    # A variance for each of so many terms makes any scores likelier (Akaike 1974).
    best = max(tried, key=lambda one: seen.likelihood(one) - len(one.mains()))
    best = seen.improved(best)
    return _spread_over(basis, best, seen.steered)


@dataclass(frozen=True)
class _Seen:
    """Attributes:
    score: [rows].
    group: [rows] as `fit` takes it.
    steered: [rows] noise of trials that a sampler chose, beside that of others.
    """

    score: Floats
    group: npt.NDArray[np.intp]
    steered: Floats

    def grown(self, basis: Basis) -> Basis:
        """With w a power of the budget, the noise of each rung being its own."""
        basis = self.with_noise(basis)
        start = self.start(basis)
        tried = [replace(basis, alike=basis.shares**power) for power in PERSISTENCES]
        return max(tried, key=lambda one: self.evidence(one, start))

    def kept(self, basis: Basis) -> Basis:
        """With each score a multiple of the last one of its run, but for little noise."""
        carried, spread = basis.noise.carried.copy(), basis.noise.spread.copy()
        alike = basis.alike.copy()
        kinds = kinds_of(basis)
        for rung in (-1, *range(basis.rungs - 1, 0, -1)):
            for kind in np.unique(kinds[(basis.rung == rung) & (basis.noise.before >= 0)]):
                at = kinds == kind
                last = basis.noise.before[at]
                now, was = self.score[at] - self.score[at].mean(), self.score[last] - self.score[last].mean()
                slope = float(np.clip(now @ was / max(was @ was, 1e-300), 0.05, 20.0))
                carried[at] = slope
                spread[at] *= np.clip((now - slope * was).std() / max(was.std(), 1e-300), LEAST_NEW, 1.0)
                alike[basis.rung[last[0]]] = alike[rung] / slope
        return replace(basis, alike=alike, noise=Noise(spread, basis.noise.before, carried))

    def improved(self, basis: Basis) -> Basis:
        """With a likelier noise, g and w, one after another."""
        basis = self.with_noise(basis)
        start = self.start(basis)
        tried = [replace(basis, onset=onset) for onset in ONSETS]
        basis = max(tried, key=lambda one: self.evidence(one, start))
        for rung in range(basis.rungs):
            basis = self._nearer(basis, rung, start)
        return self.with_noise(basis)

    def _nearer(self, basis: Basis, rung: int, start: Fit) -> Basis:
        def at(weight: float) -> Basis:
            alike = basis.alike.copy()
            alike[rung] = weight
            return replace(basis, alike=alike)

        now = float(basis.alike[rung])
        found = optimize.minimize_scalar(
            lambda weight: -self.evidence(at(weight), start),
            bounds=(now - NEAR, now + NEAR),
            method="bounded",
            options={"xatol": CLOSE},
        )
        return at(float(found.x)) if -found.fun > self.evidence(basis, start) else basis

    def start(self, basis: Basis) -> Fit:
        """A fit with no variance at 0."""
        found, _ = self.fit(basis)
        return replace(found, variance=np.maximum(found.variance, 0.01 * float(found.variance.mean())))

    def likelihood(self, basis: Basis) -> float:
        """Log likelihood of the scores under the variances that suit this basis best."""
        return log_evidence(*self.fit(basis))

    def evidence(self, basis: Basis, under: Fit) -> float:
        """The same under given variances, which is quicker by far."""
        terms = [part.term for part in basis.mains()]
        return log_evidence(under, Whitened(terms, self.score, self.group, under.ratio, basis.noise))

    def fit(self, basis: Basis) -> tuple[Fit, Whitened]:
        """Main effects alone."""
        return fit([part.term for part in basis.mains()], self.score, self.group, noise=basis.noise)

    def with_noise(self, basis: Basis) -> Basis:
        """With what is carried and what is new of each kind of row, from residuals."""
        kinds, late = kinds_of(basis), basis.noise.before >= 0
        for _ in range(2):
            if late.any():
                found, _ = self.fit(basis)
                left = (self.score - found.predict([part.term for part in basis.mains()])) / self.steered
                carried = _carried(left, basis.noise.before, kinds)
                basis = replace(basis, noise=replace(basis.noise, carried=carried))
            found, white = self.fit(basis)
            usual = basis.noise.spread / self.steered
            spread = usual.copy()
            for some in (late, ~late):
                if some.any():
                    overall = noise_of(found, white, some) / found.noise
                    for kind in np.unique(kinds[some]):
                        at = kinds == kind
                        own = noise_of(found, white, at) / found.noise
                        spread[at] *= np.sqrt((at.sum() * own + FEWEST * overall) / (at.sum() + FEWEST))
            spread = np.maximum(spread / np.sqrt(np.mean(spread**2)), LEAST_NEW)
            basis = replace(basis, noise=replace(basis.noise, spread=spread * self.steered))
        return basis


def _carried(left: Floats, before: npt.NDArray[np.intp], kinds: npt.NDArray[np.intp]) -> Floats:
    """[rows] slopes of residuals on those of the rows before, by kind, few rows drawn to the slope of all."""
    late = before >= 0
    square, product = np.where(late, left[before] ** 2, 0.0), np.where(late, left * left[before], 0.0)
    carried = np.zeros(len(left))
    if not square.sum() > 0:
        return carried
    usual, few = product.sum() / square.sum(), FEWEST * square.sum() / late.sum()
    for kind in np.unique(kinds[late]):
        at = kinds == kind
        carried[at] = (product[at].sum() + few * usual) / (square[at].sum() + few)
    return carried


def kinds_of(basis: Basis) -> npt.NDArray[np.intp]:
    """[rows] a number for each rung and the one that its rows go on from."""
    before = basis.noise.before
    last = np.where(before >= 0, basis.rung[before] + 1, -1)
    return np.asarray((basis.rung + 1) * (basis.rungs + 2) + last + 1, dtype=np.intp)


def _spread_over(basis: Basis, small: Basis, steered: Floats) -> Basis:
    """What was settled on some of the rows, for all."""
    kinds, known = kinds_of(basis), kinds_of(small)
    carried, spread = basis.noise.carried.copy(), basis.noise.spread.copy()
    for kind in np.unique(known):
        one = int(np.argmax(known == kind))
        carried[kinds == kind] = small.noise.carried[one]
        spread[kinds == kind] *= small.noise.spread[one] / steered[one]
    noise = Noise(spread, basis.noise.before, carried)
    return replace(basis, alike=small.alike, onset=small.onset, noise=noise, apart=small.apart)
