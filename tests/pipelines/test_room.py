"""Room in a node's cache: what goes, what stays, and that no more is taken than there may be."""

from __future__ import annotations

import logging
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller.pipelines import room
from distiller.pipelines.cache import cached_outputs
from distiller.pipelines.content import DONE, built_once, is_complete
from distiller.pipelines.demand import Demand
from distiller.pipelines.material import Material
from distiller.pipelines.room import GIB, NoRoomError, Reader, held_folder, reserve, spare_bytes

KB = 1000


def built(cache: Path, name: str, size: int, most: float) -> Reader:
    """Outputs of `size` bytes, set aside before they are written."""

    def build(part: Path) -> None:
        reserve(cache, part, size, most)
        (part / "states.npy").write_bytes(b"x" * size)
        (part / room.RESERVED).unlink()

    return held_folder(cache / "outputs" / name, build)


def there(cache: Path) -> set[str]:
    return {path.parent.name for path in (cache / "outputs").glob(f"*/{DONE}")}


def age(cache: Path, *names: str) -> None:
    """These were used one after another, long ago."""
    for number, name in enumerate(names):
        os.utime(cache / "outputs" / name / DONE, (number, number))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "it's a cache"


def test_the_longest_unused_makes_way(cache: Path) -> None:
    readers = [built(cache, name, 100 * KB, 350 * KB) for name in "abc"]
    readers.clear()
    age(cache, "b", "a", "c")
    built(cache, "d", 100 * KB, 350 * KB)
    assert there(cache) == {"a", "c", "d"}
    assert Reader.of(cache / "outputs" / "a") is not None  # used again
    built(cache, "e", 150 * KB, 350 * KB)
    assert there(cache) == {"a", "e"}
    assert not list((cache / "outputs").glob(".*.gone"))


def test_what_is_read_stays_and_nothing_goes_in_vain(cache: Path) -> None:
    held = built(cache, "a", 200 * KB, 400 * KB)
    built(cache, "b", 100 * KB, 400 * KB)
    with pytest.raises(NoRoomError, match=r"it's a cache \(cache\.total_gb\) lacks"):
        built(cache, "c", 250 * KB, 400 * KB)
    assert there(cache) == {"a", "b"}
    del held
    built(cache, "c", 250 * KB, 400 * KB)
    assert there(cache) == {"b", "c"}  # a is older, and enough


def test_the_reader_may_be_another_process(cache: Path) -> None:
    built(cache, "a", 200 * KB, 400 * KB)
    code = (
        "import sys, time; from pathlib import Path; from distiller.pipelines.room import Reader\n"
        "held = Reader.of(Path(sys.argv[1])); print(held is not None, flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", code, str(cache / "outputs" / "a")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        with pytest.raises(NoRoomError):
            built(cache, "b", 300 * KB, 400 * KB)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
    built(cache, "b", 300 * KB, 400 * KB)
    assert there(cache) == {"b"}


def test_all_of_the_cache_counts_but_only_outputs_go(cache: Path) -> None:
    built_once(cache / "teachers" / "t", lambda part: (part / "w").write_bytes(b"x" * 300 * KB) and None)
    with pytest.raises(NoRoomError):
        built(cache, "a", 200 * KB, 400 * KB)
    built(cache, "a", 50 * KB, 400 * KB)
    assert is_complete(cache / "teachers" / "t")


def test_what_others_set_aside_counts_before_it_is_written(cache: Path) -> None:
    part = cache / "outputs" / f".a.{platform.node()}.01234567.part"
    part.mkdir(parents=True)
    with FileLock(cache / "outputs" / ".a.lock"):
        reserve(cache, part, 300 * KB, 400 * KB)
        with pytest.raises(NoRoomError):
            built(cache, "b", 200 * KB, 400 * KB)
        (part / "states.npy").write_bytes(b"x" * 300 * KB)  # which does not count twice
        built(cache, "c", 50 * KB, 400 * KB)
    built(cache, "b", 200 * KB, 400 * KB)  # nobody builds a any more
    assert not part.exists()


def test_a_disk_is_never_filled(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built(cache, "a", 300 * KB, 1e12)
    disk = SimpleNamespace(total=10_000 * KB, free=500 * KB)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: disk)
    assert spare_bytes(cache / "not yet") == 300 * KB
    with pytest.raises(NoRoomError, match=r"^the disk of .* lacks"):
        built(cache, "b", 700 * KB, 1e12)
    built(cache, "c", 200 * KB, 1e12)
    assert there(cache) == {"a", "c"}
    built(cache, "d", 400 * KB, 1e12)
    assert "a" not in there(cache)
    disk.total = 10_000 * GIB
    disk.free = 3 * GIB
    assert spare_bytes(cache) == GIB


def test_a_folder_that_made_way_is_built_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes between the look at it and the lock on it."""
    place, builds = cache / "outputs" / "a", []

    def build(part: Path) -> None:
        builds.append(part)
        (part / "x").write_bytes(b"x")

    held_folder(place, build)
    held = Reader.of

    def late(folder: Path) -> Reader | None:
        if len(builds) == 1:
            shutil.rmtree(folder)
        return held(folder)

    monkeypatch.setattr(Reader, "of", late)
    assert held_folder(place, build)
    assert len(builds) == 2
    assert is_complete(place)


STEPS = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.integers(1, 60), st.booleans()), min_size=1, max_size=8
)


@given(STEPS, st.integers(40, 120))
@settings(max_examples=20, deadline=None)
def test_the_limit_holds_whatever_comes(steps: list[tuple[str, int, bool]], most: int) -> None:
    """Sizes in tens of kilobytes, so that records of files do not matter."""
    with tempfile.TemporaryDirectory() as folder:
        cache, held, unit = Path(folder), dict[str, Reader](), 10 * KB
        for name, size, keeps in steps:
            before, known = there(cache), name in there(cache)
            try:
                reader = built(cache, name, size * unit, most * unit)
            except NoRoomError:
                assert not known
                assert there(cache) == before
                kept = sum(f.stat().st_size for n in held for f in (cache / "outputs" / n).iterdir())
                assert kept + size * unit > (most - 1) * unit
            else:
                if keeps:
                    held[name] = reader
                else:
                    held.pop(name, None)
                del reader
            assert set(held) <= there(cache)
            total = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file())
            assert total <= (most + 1) * unit


ALL = Demand.grid((1, 2, 3), ("cls", "tokens"))


def test_outputs_without_room_are_computed_live(
    material: Material, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def outputs(view: str, rows: range, total: float) -> object:
        tokens = material.tokens().take(list(rows))  # type: ignore[arg-type]
        return cached_outputs(material.teacher, tokens, ALL, tmp_path, 1e9, view, total)

    first = outputs("first", range(60), 1e9)
    room_for_one = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) + 20 * KB
    with caplog.at_level(logging.WARNING):
        second = outputs("second", range(40, 101), room_for_one)
    assert (first.demand, second.demand) == (ALL, ALL.without("tokens"))  # type: ignore[attr-defined]
    assert "view second: tokens computed live instead of cached" in caplog.text
    assert "(cache.total_gb) lacks" in caplog.text
    expected = {key: value.clone() for key, value in first.hidden.items()}  # type: ignore[attr-defined]
    kept = [first]
    del first, second
    assert outputs("second", range(40, 101), room_for_one).demand == ALL.without("tokens")  # type: ignore[attr-defined]
    kept.clear()
    assert outputs("second", range(40, 101), room_for_one).demand == ALL  # type: ignore[attr-defined]
    again = outputs("first", range(60), 1e9)
    assert all((again.hidden[key] == value).all() for key, value in expected.items())  # type: ignore[attr-defined]
    assert outputs("third", range(5), 1).demand == Demand()  # type: ignore[attr-defined]


def test_disk_blocks_are_there_before_they_are_written(
    material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a full disk would end the process with a signal, not the trial with an error."""

    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        cached_outputs(material.teacher, material.tokens(), ALL, tmp_path, 1e9, "original")
    assert there(tmp_path) == set()
