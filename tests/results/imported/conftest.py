"""A folder with a difficult name and a store in it."""

import pytest

from distiller.results.store import Store


@pytest.fixture
def place(tmp_path):
    folder = tmp_path / 'it\'s "a" place'
    folder.mkdir()
    return folder


@pytest.fixture
def store(place):
    return Store.create(str(place / "store"))
