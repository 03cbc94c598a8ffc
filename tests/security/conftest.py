"""A payload that leaves a mark when something unpickles it."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[Path]:
    """Where a payload that ran leaves its mark; there must be none at the end."""
    mark = tmp_path / "ran"
    yield mark
    assert not mark.exists(), "a pickle was run"


@pytest.fixture
def bomb(mark: Path) -> Bomb:
    return Bomb(mark)


@pytest.fixture
def payload(bomb: Bomb, tmp_path: Path) -> bytes:
    """A pickle that works: it is tried once, elsewhere."""
    proof = tmp_path / "proof"
    pickle.loads(pickle.dumps(Bomb(proof)))
    proof.rmdir()
    return pickle.dumps(bomb)
