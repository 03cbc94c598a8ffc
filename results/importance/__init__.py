"""Which stages and parameters matter on a dataset, and whether the trials can tell."""

from distiller.results.importance.estimate import importance
from distiller.results.importance.parameters import ParameterShare
from distiller.results.importance.report import Importance, PairShare, StageShare

__all__ = ["Importance", "PairShare", "ParameterShare", "StageShare", "importance"]
