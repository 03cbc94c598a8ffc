"""Tags of words: the entities that they mark, and how well those are found.

Tags are `O` or PREFIX-TYPE. Read as the CoNLL shared tasks do (Tjong Kim Sang & De Meulder 2003), IOB1, IOB2,
IOBES and BILOU all mark the same entities: one begins at B, S or U, or where another type or nothing stood
before; it ends where the next begins, at E, S, L or U, or where nothing follows. Read strictly as IOB2, an
entity is B-X and the I-X that follow it, and any other I is none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

TAG = re.compile(r"[BIESLU]-.+")
OUTSIDE = "O"
Entity = tuple[str, int, int]
"""Type, first word, last word."""


def is_tag(tag: str) -> bool:
    """Whether a tag is of one of the schemes that are read here."""
    return tag == OUTSIDE or TAG.fullmatch(tag) is not None


def entities(tags: Sequence[str]) -> set[Entity]:
    """The entities of one sentence."""
    found: set[Entity] = set()
    kind, start = "", -1  # of the entity that is open
    for i, tag in enumerate([*tags, OUTSIDE]):
        prefix, _, here = tag.partition("-")
        goes_on = kind != "" and prefix in ("I", "E", "L") and here == kind
        if kind and not goes_on:
            found.add((kind, start, i - 1))
            kind = ""
        if not goes_on and prefix != OUTSIDE:
            kind, start = here, i
        if kind and prefix in ("E", "L", "S", "U"):
            found.add((kind, start, i))
            kind = ""
    return found


def strict_entities(tags: Sequence[str]) -> set[Entity]:
    """The entities of one sentence by IOB2 alone: each begins at a B."""
    found: set[Entity] = set()
    for i, tag in enumerate(tags):
        if tag.startswith("B-"):
            end = i
            while end + 1 < len(tags) and tags[end + 1] == f"I-{tag[2:]}":
                end += 1
            found.add((tag[2:], i, end))
    return found


def entity_scores(
    predicted: Iterable[Sequence[str]],
    truth: Iterable[Sequence[str]],
    read: Callable[[Sequence[str]], set[Entity]] = entities,
) -> tuple[float, float, float]:
    """F1, precision and recall of entities over all sentences; 0 where there is nothing to divide by."""
    hits = ours = theirs = 0
    for said, meant in zip(predicted, truth, strict=True):
        found, wanted = read(said), read(meant)
        hits, ours, theirs = hits + len(found & wanted), ours + len(found), theirs + len(wanted)
    return (
        2 * hits / (ours + theirs) if ours + theirs else 0.0,
        hits / ours if ours else 0.0,
        hits / theirs if theirs else 0.0,
    )
