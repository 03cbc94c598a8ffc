"""Good pipelines for a dataset that was never seen, from the trials of earlier ones."""

from distiller.results.recommendation.choose import Chosen, choose
from distiller.results.recommendation.evaluation import Evaluation, Measure, OnDataset, Result, evaluate
from distiller.results.recommendation.methods import METHODS
from distiller.results.recommendation.recommender import Method, Ranking, Recommender
from distiller.results.recommendation.suggest import Advice, Suggestion, suggest
from distiller.results.recommendation.table import Searched, TooLittleError, Tried, read_tried
from distiller.results.recommendation.training import Training

__all__ = [
    "METHODS",
    "Advice",
    "Chosen",
    "Evaluation",
    "Measure",
    "Method",
    "OnDataset",
    "Ranking",
    "Recommender",
    "Result",
    "Searched",
    "Suggestion",
    "TooLittleError",
    "Training",
    "Tried",
    "choose",
    "evaluate",
    "read_tried",
    "suggest",
]
