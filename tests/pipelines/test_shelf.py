"""One content for all nodes: whoever is first, at once or one after another."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from distiller.pipelines.content import DONE, is_complete
from distiller.pipelines.shelf import built_for_all, folder_digest


class FolderShelf:
    """A shelf in a folder; its first record is written exclusively."""

    def __init__(self, folder: Path):
        self.folder = folder

    def first(self, key: str) -> str | None:
        record = self.folder / f"{key}.first"
        return record.read_text() if record.exists() else None

    def offer(self, key: str, folder: Path) -> str:
        digest = folder_digest(folder)
        shutil.copytree(folder, self.folder / f"{key}-{digest}", dirs_exist_ok=True)
        record = self.folder / f".{key}.{threading.get_ident()}"
        record.write_text(digest)
        try:
            (self.folder / f"{key}.first").hardlink_to(record)
        except FileExistsError:
            return (self.folder / f"{key}.first").read_text()
        return digest

    def fetch(self, key: str, digest: str, folder: Path) -> None:
        kept = self.folder / f"{key}-{digest}"
        shutil.copytree(kept, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(DONE))


@pytest.fixture
def shelf(tmp_path: Path) -> FolderShelf:
    (tmp_path / "a shelf").mkdir()
    return FolderShelf(tmp_path / "a shelf")


def build(node: int):
    def fill(part: Path) -> None:
        (part / "weights").write_text(f"of node {node}")
        (part / "more").mkdir()
        (part / "more" / "words").write_text("words")

    return fill


def read(folder: Path) -> tuple[str, str]:
    return (folder / "weights").read_text(), (folder / "more" / "words").read_text()


def test_without_a_shelf_each_node_has_its_own(tmp_path):
    for node in range(2):
        folder = built_for_all(tmp_path / str(node), "k", build(node), None)
        assert read(folder) == (f"of node {node}", "words")


def test_later_nodes_take_what_the_first_built(tmp_path, shelf):
    first = built_for_all(tmp_path / "0", "k", build(0), shelf)
    second = built_for_all(tmp_path / "1", "k", lambda part: pytest.fail("built again"), shelf)
    assert read(first) == read(second) == ("of node 0", "words")
    assert folder_digest(first) == folder_digest(second)
    assert (first.name, second.name) == ("k", f"k-{folder_digest(first)}")
    assert is_complete(second)
    again = built_for_all(tmp_path / "1", "k", lambda part: pytest.fail("built again"), shelf)
    assert again == second


def test_what_a_node_had_before_gives_way_and_what_is_equal_stays(tmp_path, shelf):
    own = built_for_all(tmp_path / "1", "k", build(1), None)
    built_for_all(tmp_path / "0", "k", build(0), shelf)
    assert read(built_for_all(tmp_path / "1", "k", build(1), shelf)) == ("of node 0", "words")
    assert read(own) == ("of node 1", "words")
    equal = built_for_all(tmp_path / "2", "k", build(0), None)
    assert built_for_all(tmp_path / "2", "k", build(2), shelf) == equal


def test_nodes_at_once_agree(tmp_path, shelf):
    nodes = 6
    at_once = threading.Barrier(nodes)

    def run(node: int) -> Path:
        at_once.wait()
        return built_for_all(tmp_path / str(node), "k", build(node), shelf)

    with ThreadPoolExecutor(nodes) as pool:
        folders = list(pool.map(run, range(nodes)))
    assert len({read(folder) for folder in folders}) == 1
    assert len({folder_digest(folder) for folder in folders}) == 1


@pytest.mark.parametrize("change", ["bytes", "name"])
def test_a_digest_changes_with_names_and_bytes(tmp_path, change):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        build(0)(tmp_path / folder)
    assert folder_digest(tmp_path / "a") == folder_digest(tmp_path / "b")
    words = tmp_path / "b" / "more" / "words"
    if change == "bytes":
        words.write_text("Words")
    else:
        words.rename(words.with_name("others"))
    assert folder_digest(tmp_path / "a") != folder_digest(tmp_path / "b")
