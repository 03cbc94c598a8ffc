"""The order of the suite: sweeps, which take longest, come first. And a disk with room for caches."""

from __future__ import annotations

import shutil
from collections import namedtuple
from collections.abc import Iterator

import pytest

from distiller.pipelines.room import GIB

Disk = namedtuple("Disk", "total used free")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.parent.name != "search" and item.path.name != "test_readme.py")


@pytest.fixture(scope="session", autouse=True)
def _a_roomy_disk() -> Iterator[None]:
    """What a cache leaves out for want of room must not depend on the machine that runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: Disk(100 * GIB, 0, 100 * GIB))
        yield
