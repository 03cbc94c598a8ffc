"""Which stages and parameters matter on a dataset, and whether the trials can tell."""

from distiller.results.importance.estimate import importance
from distiller.results.importance.over import ALL, over_datasets
from distiller.results.importance.parameters import ParameterShare
from distiller.results.importance.report import Importance, PairShare, StageShare, SubsetShare

__all__ = [
    "ALL",
    "Importance",
    "PairShare",
    "ParameterShare",
    "StageShare",
    "SubsetShare",
    "importance",
    "over_datasets",
]
