"""What all tests share: how they are spread over processes."""

from __future__ import annotations

from pathlib import Path

import pytest

RAY = Path(__file__).parent / "search"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that start Ray stay in one process: two clusters on two cores would starve each other."""
    for item in items:
        if RAY in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("ray"))
