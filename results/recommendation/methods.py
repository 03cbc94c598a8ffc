"""Every way to recommend, from the simplest on."""

from __future__ import annotations

from distiller.results.recommendation.curve import Curve
from distiller.results.recommendation.learned import learned
from distiller.results.recommendation.nearest import Nearest
from distiller.results.recommendation.recommender import Method
from distiller.results.recommendation.simple import AverageRank, Chance, Portfolio

RANDOM, PORTFOLIO = "random", "portfolio"
METHODS = (
    Method(RANDOM, "any order", Chance),
    Method("average", "best average rank on earlier datasets", AverageRank),
    Method(PORTFOLIO, "configs that complement each other on earlier datasets", Portfolio),
    Method("nearest", "best on the earlier datasets with the most alike meta-features", Nearest),
    Method("learned", "boosted trees on configs and meta-features", learned),
    Method("curve", "the same, and a few cheap trials on the dataset", Curve, asks=True),
)
"""Of two that are as good as each other, the earlier one is taken."""
