"""Which choice of a stage is better, by how much, and how sure that is."""

from distiller.results.comparison.best_of_n import Estimate
from distiller.results.comparison.matrix import Regret, RegretMatrix, StageByDataset
from distiller.results.comparison.path import AblationPath, AblationStep
from distiller.results.comparison.report import (
    ChoiceSummary,
    ComparisonResult,
    CriticalDifference,
    DatasetComparison,
    Difference,
    Paired,
    SignedRank,
)

__all__ = [
    "AblationPath",
    "AblationStep",
    "ChoiceSummary",
    "ComparisonResult",
    "CriticalDifference",
    "DatasetComparison",
    "Difference",
    "Estimate",
    "Paired",
    "Regret",
    "RegretMatrix",
    "SignedRank",
    "StageByDataset",
]
