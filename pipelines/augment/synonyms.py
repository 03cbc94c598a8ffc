"""`synonym`: words replaced by synonyms of WordNet (Zhang et al. 2015, arXiv 1509.01626).

Departures: a share `strength` of the free words is replaced, where Zhang et al. draw the number; a word is
looked up in the form in which it stands, so that inflected forms stay (`films` is no lemma) and no verb
loses its ending; only single words in lower case stand in, so that labels per word carry over and no
name is changed.
"""

from __future__ import annotations

import functools
import re

import numpy as np

from distiller.pipelines.augment.replacement import Alternatives, by_halves, replace_words
from distiller.pipelines.augment.rows import Edited, Row
from distiller.pipelines.augment.wordnet import WordNet

PLAIN = re.compile(r"[a-z]+(?:-[a-z]+)*")
FEWEST_LETTERS = 3
"""Shorter words are mostly grammar or abbreviations: WordNet takes `as` for arsenic."""

_STOP_WORDS = """
about above after again against ain all also and any are aren because been before being below between
both but can cannot could couldn did didn does doesn doing don down during each ever few for from
further had hadn has hasn have haven having hence her here hers herself him himself his how however into
isn its itself just may might mightn more most must mustn myself needn neither never nobody none nor not
nothing now off once one only other ought our ours ourselves out over own per same shall shan she should
shouldn since some such than that the their theirs them themselves then there therefore these they this
those though three thus too two under unless until upon very was wasn were weren what when where whether
which while who whom whose why will with without won would wouldn yes yet you your yours yourself
yourselves
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
"""Words that carry a sentence's grammar or its negation; their senses in WordNet are other words."""


@functools.cache
def synonyms(wordnet: WordNet) -> Alternatives:
    """Synonyms of a word, those of its most frequent meaning first; what was looked up is kept."""

    @functools.cache
    def of(word: str) -> tuple[str, ...]:
        if not PLAIN.fullmatch(word) or len(word) < FEWEST_LETTERS or word in STOP_WORDS:
            return ()
        found = [other for sense in wordnet.senses(word) for other in sense.words]
        return tuple(other for other in dict.fromkeys(found) if other != word and PLAIN.fullmatch(other))

    return lambda word: of(word.lower())


def synonym_edit(
    row: Row, alternatives: Alternatives, strength: float, rng: np.random.Generator
) -> list[Edited]:
    """Replace words by synonyms, each half as likely as the one before it."""
    return replace_words(row, alternatives, by_halves, strength, rng)
