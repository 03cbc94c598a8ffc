"""How the suite is spread over processes: a file's tests stay together, and the sweeps come first."""

from __future__ import annotations

import pytest

SHARE_A_SWEEP = ("test_launch.py", "test_cli.py", "test_train.py")
"""Files that look at one and the same finished sweep, which takes half a minute to make."""


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.parent.name != "search")
    for item in items:
        group = "sweep" if item.path.name in SHARE_A_SWEEP else f"{item.path.parent.name}-{item.path.stem}"
        item.add_marker(pytest.mark.xdist_group(group))
