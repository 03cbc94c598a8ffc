"""A view: one deterministic augmented copy of a split, shared by all trials that ask for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from distiller.pipelines.augment import AUGMENTATIONS, row_generator


@dataclass(frozen=True)
class View:
    """Which copy of the texts: `policy` at `strength` in (0, 1), `seed`, `round`; round 0 is the original.

    Views of one round differ by seed and policy only, never by trial, so that trials share them.
    """

    policy: str = "none"
    strength: float = 0.0
    seed: int = 0
    round: int = 0

    def __post_init__(self) -> None:
        if self.round < 0:
            raise ValueError(f"view round {self.round} is negative")
        if self.round == 0:
            return
        if self.policy not in AUGMENTATIONS:
            raise ValueError(f"no text augmentation {self.policy!r}; there are {', '.join(AUGMENTATIONS)}")
        if not 0 < self.strength < 1:
            raise ValueError(f"view strength {self.strength} is not between 0 and 1")

    @property
    def key(self) -> str:
        """Stable name, fit for a file: equal keys, equal texts."""
        if self.round == 0:
            return "original"
        return f"{self.policy}-{float(self.strength)!r}-seed{self.seed}-round{self.round}"


ORIGINAL = View()


def materialise(
    text_a: Sequence[str], text_b: Sequence[str] | None, view: View
) -> tuple[list[str], list[str] | None]:
    """The view's texts, made from the original ones; the two sides of a pair are edited on their own."""
    if view.round == 0:
        return list(text_a), None if text_b is None else list(text_b)
    edit = AUGMENTATIONS[view.policy]

    def side(texts: Sequence[str], name: str) -> list[str]:
        key = (name, view.seed, view.policy, view.round)
        return [edit(text, view.strength, row_generator(text, *key)) for text in texts]

    return side(text_a, "a"), None if text_b is None else side(text_b, "b")
