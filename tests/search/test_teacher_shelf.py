"""Fine-tuned teachers in the store: the same weights on nodes whose hardware would train others."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from distiller.pipelines import teacher as teachers
from distiller.pipelines.data import load_dataset
from distiller.pipelines.shelf import digest_of, folder_digest
from distiller.results.store import Store
from distiller.search.teacher_shelf import TeacherShelf
from distiller.spaces.errors import InputError

CPU = torch.device("cpu")


@pytest.fixture
def shelf(tmp_path: Path) -> TeacherShelf:
    return TeacherShelf(Store.create(str(tmp_path / "the store")), keeps=True)


@pytest.fixture
def tuned(tmp_path: Path) -> Path:
    folder = tmp_path / "tuned"
    (folder / "templates").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 40)
    (folder / "templates" / "chat").write_text("hello")
    return folder


def fetched(shelf: TeacherShelf, folder: Path) -> Path:
    folder.mkdir()
    digest = shelf.first("key")
    assert digest is not None
    shelf.fetch("key", digest, folder)
    return folder


def test_what_was_offered_comes_back_and_stays_the_first(shelf, tuned, tmp_path):
    assert shelf.first("key") is None
    digest = shelf.offer("key", tuned)
    assert (digest, shelf.first("key")) == (folder_digest(tuned), digest)
    assert folder_digest(fetched(shelf, tmp_path / "copy")) == digest
    (tuned / "model.safetensors").write_bytes(b"another")
    assert shelf.offer("key", tuned) == digest
    assert folder_digest(fetched(shelf, tmp_path / "again")) == digest


def test_a_launch_of_one_machine_keeps_nothing_and_still_takes_what_is_there(shelf, tuned, tmp_path):
    alone = TeacherShelf(shelf.store, keeps=False)
    assert alone.offer("key", tuned) == folder_digest(tuned)
    assert (alone.first("key"), shelf.store.files.folders("teachers")) == (None, [])
    shelf.offer("key", tuned)
    assert folder_digest(fetched(alone, tmp_path / "copy")) == folder_digest(tuned)


@pytest.mark.parametrize("damage", ["gone", "damaged"])
def test_a_damaged_teacher_is_refused_by_file(shelf, tuned, tmp_path, damage):
    digest = shelf.offer("key", tuned)
    path = f"teachers/key/{digest}/model.safetensors"
    if damage == "gone":
        shelf.store.files.remove(path)
    else:
        shelf.store.files.put(path, b"torn")
    with pytest.raises(InputError, match=rf"{path} is {damage}"):
        fetched(shelf, tmp_path / "copy")


@pytest.mark.parametrize("name", ["../../out", "/out", "a/../../out", "", ".."])
def test_no_file_is_written_outside_of_the_nodes_folder(shelf, tuned, tmp_path, name):
    shelf.offer("key", tuned)
    files = {name: "0" * 64}
    record = {"digest": digest_of(files), "files": files}
    shelf.store.files.put("teachers/key/first.json", json.dumps(record).encode())
    before = set(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=r"the record of teachers/key is gone or damaged"):
        shelf.fetch("key", record["digest"], tmp_path / "copy")
    assert set(tmp_path.rglob("*")) == before


def torn(record: bytes) -> list[bytes]:
    """What a crash, or a server's, leaves of a record."""
    halves = [record[:length] for length in (0, 1, len(record) // 2, len(record) - 1)]
    return [*halves, b"\0" * len(record), b"[]", b'{"digest": 1}', b'{"digest": "x", "files": []}']


def test_a_torn_record_is_none_and_is_written_again_beside_it(shelf, tuned, tmp_path, caplog):
    digest = shelf.offer("whole", tuned)
    record = shelf.store.files.read("teachers/whole/first.json")
    for number, data in enumerate(torn(record)):
        key = f"k{number}"
        shelf.store.files.put(f"teachers/{key}/first.json", data)
        assert shelf.first(key) is None
        assert shelf.offer(key, tuned) == shelf.first(key) == digest
        assert f"teachers/{key}/first.json: torn" in caplog.text
    shelf.fetch("k0", digest, tmp_path / "copy")
    assert folder_digest(tmp_path / "copy") == digest
    with pytest.raises(InputError, match="is gone or damaged"):
        shelf.fetch("k0", "another", tmp_path / "other")


def test_nodes_that_mend_a_record_at_once_agree(shelf, tuned, tmp_path):
    """Each with a teacher of its own; the record beside the torn one is torn too."""
    for name in ("first", "first~1"):
        shelf.store.files.put(f"teachers/key/{name}.json", b'{"dig')
    offers = []
    for number in range(6):
        folder = tmp_path / f"tuned{number}"
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(bytes([number]))
        offers.append(folder)
    with ThreadPoolExecutor(len(offers)) as pool:
        taken = set(pool.map(lambda folder: shelf.offer("key", folder), offers))
    assert taken == {shelf.first("key")}
    assert taken < set(map(folder_digest, offers))


def test_nodes_that_would_tune_differently_share_one_teacher(shelf, bench, tmp_path, monkeypatch):
    """Each node's training is disturbed as other hardware would."""
    sweep, base = bench.launch.sweep, bench.place.folder
    data = load_dataset("animals", sweep.datasets["animals"], base)
    tune, tunings = teachers.fine_tune, []

    def disturbed(*arguments, **options):
        made = tune(*arguments, **options)
        tunings.append(made)
        with torch.no_grad():
            for parameter in made.model.parameters():
                parameter.add_(1e-4 * len(tunings))
        return made

    monkeypatch.setattr(teachers, "fine_tune", disturbed)

    def on_node(name, shelf):
        cache = tmp_path / name
        return teachers.prepare_teacher("bert", sweep.teachers["bert"], data, cache, base, 16, CPU, 0, shelf)

    first, second = on_node("one", shelf), on_node("two", shelf)
    assert len(tunings) == 1
    assert first.fingerprint == second.fingerprint
    pairs = zip(first.model.parameters(), second.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert on_node("three", None).fingerprint != first.fingerprint  # or the disturbance shows nothing
