"""Families of datasets whose best pipelines vary with known meta-features.

On a dataset whose traits are s and t (uniform on -1 to 1), a config is worth

    common x (1 - (log10 rate + 3)^2 / 2) + own x (s x side - (width - (t + 1) / 2)^2 x 2)

where `side` is 1 for the objective `near`, -1 for `far` and 0 for `none`: `near` is right where s > 0, and
the best width is (t + 1) / 2. Scores are worths on a scale of the dataset's own, plus noise.

Early scores, at a third of the budget, are worths plus (log10 rate + 3) / 2, since a high rate is fast on
every dataset, and noise of their own; or noise alone.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd

from distiller.results.design import Design, Question
from distiller.results.recommendation import Searched, Tried, read_tried
from distiller.spaces.priors import LogUniform, OneOf, Uniform
from tests.truth.tables import distinct, table
from tests.truth.tree import Floats

SIDES = {"near": 1.0, "far": -1.0, "none": 0.0}
WEIGHT = Question("objective.near.weight", "objective_weight", "objective", Uniform(0, 1))
DESIGN = Design(
    {
        "objective": (
            Question("objective.kind", "objective_kind", "objective", OneOf(*SIDES), {"near": (WEIGHT,)}),
        ),
        "student": (Question("student.width", "student_width", "student", Uniform(0, 1)),),
        "optimization": (
            Question("optimization.rate", "optimization_rate", "optimization", LogUniform(1e-4, 1e-2)),
        ),
    }
)
IRRELEVANT = 3
EARLY = 0.3333
"""Share of the budget, as steps are rounded."""


@dataclass(frozen=True)
class Family:
    """Datasets `d00`, `d01`, … and the full search runs on each.

    Attributes:
        told: whether the meta-features `s` and `t` are the traits; else they are other numbers.
        shared: whether every config ran on every dataset; else each dataset has configs of its own.
        common, own: how much of a config's worth all datasets share, and how much is each one's own.
        outliers: share of datasets whose traits are not those that the meta-features tell.
        noise: standard deviation between seeds, on the scale of worths.
        repeats: seeds on which each dataset's first five configs ran again, as finalists.
        early: what the early scores of the search's runs are; without, there are no learning curves.
    """

    datasets: int = 20
    configs: int = 40
    told: bool = True
    shared: bool = False
    common: float = 1.0
    own: float = 1.0
    outliers: float = 0.0
    noise: float = 0.05
    repeats: int = 0
    early: Literal["telling", "noise"] | None = None
    seed: int = 0

    @cached_property
    def names(self) -> list[str]:
        return [f"d{number:02}" for number in range(self.datasets)]

    @cached_property
    def traits(self) -> Floats:
        """[datasets, 2] s and t."""
        return np.random.default_rng([self.seed, 1]).uniform(-1, 1, (self.datasets, 2))

    @cached_property
    def meta(self) -> pd.DataFrame:
        """Rows of the datasets table: s and t as told, and features that mean nothing."""
        rng = np.random.default_rng([self.seed, 2])
        other = rng.uniform(-1, 1, (self.datasets, 2))
        wrong = rng.random(self.datasets) < (self.outliers if self.told else 1.0)
        seen = np.where(wrong[:, None], other, self.traits)
        frame = pd.DataFrame({"dataset": self.names, "s": seen[:, 0], "t": seen[:, 1]})
        for number in range(IRRELEVANT):
            frame[f"irrelevant_{number}"] = rng.normal(size=self.datasets)
        return frame

    def worth(self, configs: pd.DataFrame, dataset: int) -> Floats:
        """[configs] without noise."""
        s, t = self.traits[dataset]
        rate = np.log10(configs["optimization_rate"].to_numpy(dtype=np.float64))
        side = configs["objective_kind"].map(SIDES).to_numpy(dtype=np.float64)
        width = configs["student_width"].to_numpy(dtype=np.float64)
        own = s * side - 2 * (width - (t + 1) / 2) ** 2
        return np.asarray(self.common * (1 - (rate + 3) ** 2 / 2) + self.own * own)

    @cached_property
    def trials(self) -> pd.DataFrame:
        """Rows of the trials table."""
        rng = np.random.default_rng([self.seed, 3])
        drawn = distinct(DESIGN, self.configs, rng)
        parts = []
        for number, name in enumerate(self.names):
            if not self.shared:
                drawn = distinct(DESIGN, self.configs, rng)
            scale, level = 10 ** rng.uniform(-2, 1), rng.normal()
            worth = self.worth(drawn, number)
            for run in range(1 + self.repeats):
                noisy = level + scale * (worth + self.noise * rng.normal(size=len(worth)))
                rows = table(drawn, noisy, seed=run, role="finalist" if run else "search", dataset=name)
                parts.append(rows.head(5 if run else len(rows)))
        return pd.concat(parts, ignore_index=True)

    @cached_property
    def epochs(self) -> pd.DataFrame | None:
        """Rows of the epochs table: of every search run at a third of the budget, and at its end."""
        if self.early is None:
            return None
        rng = np.random.default_rng([self.seed, 4])
        ran = self.trials[self.trials["role"] == "search"]
        parts = []
        for number, name in enumerate(self.names):
            here = ran[ran["dataset"] == name]
            scale, level = 10 ** rng.uniform(-2, 1), rng.normal()
            worth = self.worth(here, number) + self.ahead(here) if self.early == "telling" else 0.0
            noise = self.noise if self.early == "telling" else 1.0
            score = level + scale * (worth + noise * rng.normal(size=len(here)))
            parts += [here.assign(score=score, fidelity=EARLY), here]
        columns = ["trial_id", "dataset", "config_id", "seed", "role", "fidelity", "score"]
        return pd.concat(parts, ignore_index=True)[columns]

    def ahead(self, configs: pd.DataFrame) -> Floats:
        """[configs] how much better than its worth a config is at a third of the budget."""
        rate = configs["optimization_rate"].to_numpy(dtype=np.float64)
        return np.asarray((np.log10(rate) + 3) / 2)

    def searched(self) -> Searched:
        designs = dict.fromkeys(self.names, DESIGN)
        return Searched("family", self.trials, designs, self.meta, self.epochs)

    def tried(self) -> Tried:
        return read_tried([self.searched()], {name: [name] for name in self.names})


def spoiled(searched: Searched, dataset: str) -> Searched:
    """All that is known of a dataset turned round or made up."""
    trials, meta = searched.trials.copy(), searched.datasets
    assert meta is not None
    here = trials["dataset"] == dataset
    trials.loc[here, "score"] = 1e6 - 7 * trials.loc[here, "score"]
    epochs = searched.epochs
    if epochs is not None:
        turned = 1e6 - 7 * epochs["score"]
        epochs = epochs.assign(score=epochs["score"].mask(epochs["dataset"] == dataset, turned))
    meta = meta.copy()
    meta.loc[meta["dataset"] == dataset, ["s", "t", "irrelevant_0"]] = 1e3
    return dataclasses.replace(searched, trials=trials, datasets=meta, epochs=epochs)


def deleted(searched: Searched, dataset: str) -> Searched:
    """As if the dataset had never been."""
    assert searched.datasets is not None
    return Searched(
        searched.name,
        searched.trials[searched.trials["dataset"] != dataset],
        {name: design for name, design in searched.designs.items() if name != dataset},
        searched.datasets[searched.datasets["dataset"] != dataset],
        None if searched.epochs is None else searched.epochs[searched.epochs["dataset"] != dataset],
    )
