"""The surrogate: gradient-boosted trees (Friedman 2001; LightGBM), readable as boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import lightgbm
import numpy as np

from distiller.results.importance.decomposition import Box, Floats, Interval

TREES = (15, 30, 60, 120, 240)
"""Numbers of trees that cross-validation chooses from."""
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


@dataclass(frozen=True)
class Surrogate:
    """Fitted trees; scores are predicted in their own unit."""

    booster: lightgbm.Booster

    @classmethod
    def fit(
        cls, matrix: Floats, score: Floats, *, seed: int, threads: int = 1, trees: int = TREES[-1]
    ) -> Surrogate:
        """Trees for `score` [rows] on `matrix` [rows, features] (NaN: inactive); same input, same trees."""
        settings = {**SETTINGS, **sizes(len(score)), "seed": seed, "num_threads": threads}
        data = lightgbm.Dataset(matrix, score, params=settings)
        return cls(lightgbm.train(settings, data, trees))

    def predict(self, matrix: Floats, trees: int | None = None) -> Floats:
        """[rows] predicted scores, by the first `trees` trees or all."""
        return np.asarray(self.booster.predict(matrix, num_iteration=trees, num_threads=1), dtype=np.float64)

    def leaves(self) -> tuple[list[Box], Floats]:
        """The boxes of all leaves of all trees, and their values; `predict` is the sum over boxes."""
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

        for tree in self.booster.dump_model()["tree_info"]:
            walk(tree["tree_structure"], {})
        return boxes, np.array(values)


def sizes(rows: int) -> dict[str, int]:
    """Leaves per tree and the fewest rows in one: small for small tables, where LightGBM's usual 20 rows
    would forbid every split and its 31 leaves would learn noise."""
    return {"num_leaves": 4 if rows < 2000 else 8, "min_data_in_leaf": int(np.clip(rows // 20, 3, 20))}


def fixed(boxes: list[Box], values: Floats, feature: int, at: float) -> tuple[list[Box], Floats]:
    """The boxes that `feature` = `at` meets, with that feature's condition dropped."""
    point = np.array([at])
    kept = [j for j, box in enumerate(boxes) if feature not in box or box[feature].holds(point)[0]]
    return [{f: i for f, i in boxes[j].items() if f != feature} for j in kept], values[kept]
