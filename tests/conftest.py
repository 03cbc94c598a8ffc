"""The order of the suite: sweeps, which take longest, come first."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.parent.name != "search" and item.path.name != "test_readme.py")
