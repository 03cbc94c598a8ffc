"""Tree surrogates: gradient boosting (Friedman 2001) and random forests (Breiman 2001) by LightGBM, readable
as boxes, whose decomposition is then put right by what held-out trials say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm
import numpy as np

from distiller.results.importance.decomposition import (
    Block,
    Box,
    Floats,
    Interval,
    components,
    membership,
    merged,
)

TREES = (15, 30, 60, 120, 240)
"""Numbers of boosted trees that cross-validation chooses from."""
FOREST = 60
"""Trees of a forest."""
SETTINGS: dict[str, Any] = {
    "objective": "regression",
    "learning_rate": 0.1,
    "min_sum_hessian_in_leaf": 0.0,
    "max_bin": 63,
    "feature_pre_filter": False,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}
GROWN: dict[str, Any] = {
    "boosting": "rf",
    "bagging_fraction": 0.632,
    "bagging_freq": 1,
    "feature_fraction": 0.7,
    "num_leaves": 24,
}
Parts = dict[frozenset[int], float]


@dataclass(frozen=True)
class Surrogate:
    """Fitted trees; scores are predicted in their own unit."""

    booster: lightgbm.Booster

    @classmethod
    def fit(
        cls, matrix: Floats, score: Floats, *, seed: int, threads: int = 1, kind: str = "boosting"
    ) -> Surrogate:
        """Trees for `score` [rows] on `matrix` [rows, features] (NaN: inactive); same input, same trees."""
        settings = {**SETTINGS, **sizes(len(score)), "seed": seed, "num_threads": threads}
        if kind == "forest":
            settings |= GROWN
        data = lightgbm.Dataset(matrix, score, params=settings)
        return cls(lightgbm.train(settings, data, FOREST if kind == "forest" else TREES[-1]))

    def predict(self, matrix: Floats, trees: int | None = None) -> Floats:
        """[rows] predicted scores, by the first `trees` trees or all."""
        return np.asarray(self.booster.predict(matrix, num_iteration=trees, num_threads=1), dtype=np.float64)

    def leaves(self, trees: int | None = None) -> tuple[list[Box], Floats]:
        """The boxes of all leaves of the first `trees` trees, and their values, which `predict` adds up."""
        boxes: list[Box] = []
        values: list[float] = []

        def walk(node: dict[str, Any], box: Box) -> None:
            if "leaf_value" in node:
                boxes.append(box)
                values.append(node["leaf_value"])
                return
            feature, threshold = node["split_feature"], node["threshold"]
            was = box.get(feature, Interval())
            # LightGBM reads NaN as 0 where training saw none (missing_type "None")
            left = node["default_left"] if node["missing_type"] == "NaN" else threshold >= 0
            below = Interval(was.low, min(was.high, threshold), was.missing and left)
            above = Interval(max(was.low, threshold), was.high, was.missing and not left)
            walk(node["left_child"], {**box, feature: below})
            walk(node["right_child"], {**box, feature: above})

        dumped = self.booster.dump_model(num_iteration=trees)
        for tree in dumped["tree_info"]:
            walk(tree["tree_structure"], {})
        averaged = len(dumped["tree_info"]) if dumped.get("average_output") else 1
        return boxes, np.array(values) / averaged

    def at_full_budget(self, features: int, trees: int | None = None) -> tuple[list[Box], Floats]:
        """The boxes over the first `features` features, log fidelity (the next) being 0; equals merged."""
        boxes, values = fixed(*self.leaves(trees), feature=features, at=0.0)
        return merged(boxes, values, range(features))


def sizes(rows: int) -> dict[str, int]:
    """Leaves per tree and the fewest rows in one: small for small tables, where LightGBM's usual 20 rows
    would forbid every split and its 31 leaves would learn noise."""
    return {"num_leaves": 4 if rows < 2000 else 8, "min_data_in_leaf": int(np.clip(rows // 20, 3, 20))}


def fixed(boxes: list[Box], values: Floats, feature: int, at: float) -> tuple[list[Box], Floats]:
    """The boxes that `feature` = `at` meets, with that feature's condition dropped."""
    point = np.array([at])
    kept = [j for j, box in enumerate(boxes) if feature not in box or box[feature].holds(point)[0]]
    return [{f: i for f, i in boxes[j].items() if f != feature} for j in kept], values[kept]


def component_functions(
    boxes: Sequence[Box],
    values: Floats,
    blocks: Sequence[Block],
    stages: Sequence[Sequence[int]],
    rows: Floats,
) -> dict[frozenset[int], Floats]:
    """[rows] f_U at `rows` [rows, features] for every non-empty set U of blocks: the terms of the functional
    ANOVA, f_U = sum_l v_l prod_{s in U} (1[x_s in l] - P_s[l]) prod_{s not in U} P_s[l]."""
    centred = [
        membership(boxes, rows, set(features)).astype(np.float32) - block.mass.astype(np.float32)
        for features, block in zip(stages, blocks, strict=True)
    ]
    found: dict[frozenset[int], Floats] = {}

    def descend(s: int, chosen: frozenset[int], v: Floats, product: Any) -> None:
        if s == len(blocks):
            if product is not None:
                found[chosen] = np.asarray(product @ v, dtype=np.float64)
            return
        descend(s + 1, chosen, v * blocks[s].mass, product)
        descend(s + 1, chosen | {s}, v, centred[s] if product is None else product * centred[s])

    descend(0, frozenset(), values, None)
    return found


def corrected(
    models: Sequence[tuple[Surrogate, Floats, Floats]],
    trees: int | None,
    stages: Sequence[Sequence[int]],
    reference: Floats,
) -> tuple[Parts, dict[frozenset[int], Floats]]:
    """The variance V_U of each set of stages, and what each held-out trial contributes to it.

    The trees' own variance of f_U is too small by shrinkage; one step along the efficient influence function,

        V_U = V_U(trees) + 2 mean_i f_U(x_i) (y_i - f(x_i))      over trials i that the trees never saw,

    takes out the first-order error (one-step estimation, Williamson et al. 2021, Biometrics 77(1), for a
    design that is known); what is left is minus the squared error of f_U.

    Args:
        models: each with the encoded configs [rows, features + 1] and scores [rows] of the held-out full runs
            that were drawn from the prior.
        reference: [rows, features] encoded draws from the prior.
    """
    features = reference.shape[1]
    plain: dict[frozenset[int], list[float]] = {}
    steps: dict[frozenset[int], list[Floats]] = {}
    for model, matrix, score in models:
        boxes, values = model.at_full_budget(features, trees)
        blocks = [Block(boxes, reference, some) for some in stages]
        for chosen, value in components(values, blocks).items():
            plain.setdefault(chosen, []).append(value)
        residual = score - model.predict(matrix, trees)
        for chosen, part in component_functions(boxes, values, blocks, stages, matrix[:, :features]).items():
            steps.setdefault(chosen, []).append(2 * part * residual)
    each = {chosen: np.concatenate(parts) for chosen, parts in steps.items()}
    found = {
        chosen: float(np.mean(values)) + (float(each[chosen].mean()) if len(each[chosen]) else 0.0)
        for chosen, values in plain.items()
    }
    return found, each
