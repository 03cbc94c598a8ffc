"""SQuAD 1.1 (Rajpurkar et al. 2016, arXiv 1606.05250): its files, and the rules that score its answers."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from distiller.spaces.errors import InputError

ARTICLES = re.compile(r"\b(a|an|the)\b")
WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)
Answer = tuple[str, int]
"""A part of a context, and the character that it starts at."""


def is_published(document: Any) -> bool:
    """Whether a JSON document has the nesting of the published files: data, paragraphs, qas."""
    articles = document.get("data") if isinstance(document, dict) else None
    return isinstance(articles, list) and all(isinstance(a, dict) and "paragraphs" in a for a in articles)


def flattened(document: Any, at: str) -> list[dict[str, Any]]:
    """One record a question: id, title, question, context and, where there are any, answers.

    Raises:
        InputError: a paragraph or question lacks a part.
    """
    records = []
    for number, article in enumerate(document["data"], 1):
        try:
            for paragraph in article["paragraphs"]:
                for asked in paragraph["qas"]:
                    record = {"id": asked.get("id"), "title": article.get("title")}
                    record |= {"question": asked["question"], "context": paragraph["context"]}
                    records.append(record | ({"answers": asked["answers"]} if "answers" in asked else {}))
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{at} article {number}: {error} is missing; write paragraphs with context and qas, "
                "qas with question and answers, as SQuAD 1.1 has them"
            ) from None
    return records


def normalised(text: str) -> str:
    """Lower case, without punctuation and articles, runs of whitespace one space."""
    return " ".join(ARTICLES.sub(" ", text.lower().translate(WITHOUT_PUNCTUATION)).split())


def exact_match(predicted: str, truth: str) -> float:
    """1 where both texts are the same once normalised, else 0."""
    return float(normalised(predicted) == normalised(truth))


def word_f1(predicted: str, truth: str) -> float:
    """Harmonic mean of precision and recall over normalised words, as often as they occur."""
    ours, theirs = normalised(predicted).split(), normalised(truth).split()
    shared = (Counter(ours) & Counter(theirs)).total()
    return 2 * shared / (len(ours) + len(theirs)) if shared else 0.0


def squad_scores(predicted: Sequence[str], answers: Iterable[Sequence[Answer]]) -> dict[str, float]:
    """Means over questions of the best match with any of a question's answers, in [0, 1]."""
    f1s, matches = [], []
    for text, truths in zip(predicted, answers, strict=True):
        f1s.append(max(word_f1(text, truth) for truth, _ in truths))
        matches.append(max(exact_match(text, truth) for truth, _ in truths))
    return {"f1": sum(f1s) / len(f1s), "exact_match": sum(matches) / len(matches)}
