"""Names of sweeps, datasets and trials, and links, that would lead out of the store's folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller.pipelines.shelf import built_for_all, folder_digest
from distiller.results.failures import failures
from distiller.results.files import LocalFiles
from distiller.results.fragments import encode, fragment_path
from distiller.results.schema import check_name, trial_id
from distiller.results.store import Store
from distiller.search.teacher_shelf import TeacherShelf
from distiller.spaces.errors import InputError
from distiller.spaces.sweep import read_sweep
from tests.results.test_fragments import row, trial

NAMES = [
    "",
    ".",
    "..",
    "...",
    "../x",
    "..\\x",
    "/etc",
    "C:\\x",
    "C:x",
    "\\\\host\\share",
    "a/b",
    "a\\b",
    "a\0b",
    "a\n",
    "\na",
    "~",
    "$HOME",
    "a b",
    ".hidden",
    "․․/x",  # one-dot leaders
    "‥",  # two-dot leader
    "．．／x",  # full-width
    "a∕b",  # division slash
    "a⁄b",
    "ａ",
    "a\u202eb",  # right-to-left override
    "a\u200b",
    "%2e%2e%2fx",
    "x" * 101,
    "x" * 100_000,
    "‮",
    "a;b",
    "a|b",
    "a'b",
    'a"b',
    "<script>",
    "*",
    "?",
]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(str(tmp_path / "outer" / "store"))


def everything(store: Store) -> list[str]:
    """What lies around the store and in it."""
    return sorted(str(path) for path in Path(store.url).parent.parent.rglob("*"))


@pytest.mark.parametrize("name", NAMES, ids=[ascii(name)[:20] for name in NAMES])
def test_no_name_leads_out(store: Store, name: str) -> None:
    before = everything(store)
    attempts = [
        lambda: store.write_text(name, "sweep.yaml", "x"),
        lambda: store.write_text("s", name, "x"),
        lambda: store.read_text(name, "sweep.yaml"),
        lambda: store.read_text("s", name),
        lambda: store.read("trials", name),
        lambda: store.finished(name),
        lambda: store.write_dataset({"sweep": "s", "dataset": name}),
        lambda: store.write_dataset({"sweep": name, "dataset": "d"}),
        lambda: store.write_trial(row(status="stopped") | {"sweep": name}),
        lambda: store.write_attempt(row() | {"dataset": name, "trial_id": f"{name}-abc123-0-search"}),
    ]
    for number, attempt in enumerate(attempts):
        with pytest.raises(InputError) as refused:
            attempt()
        assert "\n" not in str(refused.value), number
        assert len(str(refused.value)) < 600, number
    with pytest.raises(ValueError, match="config_id"):
        trial_id("d", name, 0, "search")
    assert everything(store) == before


YAML = "name: {name}\ndatasets: {{{dataset}: {{builtin: trec}}}}\nteachers: {{{teacher}: {{model: m}}}}\n"


@pytest.mark.parametrize("name", [n for n in NAMES if n.isprintable() and len(n) < 999 and "'" not in n])
@pytest.mark.parametrize("place", ["name", "dataset", "teacher"])
def test_a_sweep_with_such_a_name_is_refused(name: str, place: str) -> None:
    names = {"name": "n", "dataset": "d", "teacher": "t", place: f"'{name}'"}
    with pytest.raises(InputError, match=r"^sweep\.yaml: "):
        read_sweep(YAML.format(**names), "sweep.yaml")


@given(st.text(st.sampled_from("aZ0._-/\\\0\n é‥ａ"), max_size=8) | st.text("x", min_size=95, max_size=105))
@settings(max_examples=60, deadline=None)
def test_a_name_that_passes_is_one_path_component(name: str) -> None:
    try:
        check_name("sweep", name)
    except InputError:
        return
    assert os.path.basename(name) == name
    assert name.isascii()
    assert os.path.normpath(os.path.join("/store", name)) == f"/store/{name}"
    assert len(os.fsencode(name)) <= 100


@settings(max_examples=60, deadline=None)
@given(st.text(st.sampled_from("ab./\\\0"), max_size=12))
def test_a_path_that_passes_stays_inside(path: str) -> None:
    try:
        found = LocalFiles("/store")._inside(path)
    except InputError:
        return
    assert os.path.normpath(found) == str(found)
    assert str(found).startswith("/store/")


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd", "a//b", "", "a\0", "a/./b", "a\\..\\b"])
def test_no_path_leads_out(store: Store, path: str) -> None:
    files = store.files
    for attempt in (
        lambda: files.read(path),
        lambda: files.put(path, b"x"),
        lambda: files.put_new(path, b"x"),
        lambda: files.remove(path),
        lambda: files.names(path),
    ):
        with pytest.raises(InputError, match="is no path in it"):
            attempt()
    (found,) = files.read_many([path])  # which reads the others all the same
    assert isinstance(found, InputError)


def test_rows_whose_names_lead_out_are_skipped(store: Store) -> None:
    """A fragment that others put there may say anything; exports are named by its dataset."""
    store.write_trial(trial())
    for dataset in ("x\\..\\y", "a b", "<script>"):
        name = f"{dataset}-abc123-0-search"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("distiller.results.fragments.trial_id", lambda *parts: name)  # noqa: B023
            data = encode("trials", [{**trial(), "dataset": dataset, "trial_id": name}])
        (Path(store.url) / "trials" / "s" / f"{name}.parquet").write_bytes(data)
    rows, bad = store.read_with_report("trials")
    assert rows.column("dataset").to_pylist() == ["trec"]
    reasons = {Path(item.path).name[:3]: item.reason for item in bad}
    assert reasons["a b"].startswith("foreign: dataset 'a b': not a usable name")
    assert reasons["<sc"].startswith("foreign: dataset '<script>': not a usable name")
    assert "is no path in it" in reasons["x\\."]
    assert len(bad) == 3


@pytest.mark.parametrize("place", ["trials", "trials/s", "sweeps", "sweeps/s", "epochs/s"])
def test_a_folder_that_is_a_link_is_not_entered(store: Store, tmp_path: Path, place: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "sweep.yaml").write_text("secret: 1\n")
    folder = Path(store.url) / place
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.symlink_to(outside)
    attempts = {
        "trials": [lambda: store.write_trial(trial())],
        "sweeps": [lambda: store.write_text("s", "a.yaml", "x"), lambda: store.read_text("s", "sweep.yaml")],
        "epochs": [lambda: store.write_epochs([row(step=1)])],
    }
    for attempt in attempts[place.split("/")[0]]:
        with pytest.raises(InputError, match="is a link, and links in a store are not followed"):
            attempt()
    assert os.listdir(outside) == ["sweep.yaml"]


def test_one_link_does_not_hide_the_other_sweeps(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.write_trial(trial())
    (tmp_path / "outside").mkdir()
    (Path(store.url) / "trials" / "evil").symlink_to(tmp_path / "outside")
    assert store.sweeps() == ["s"]
    assert store.read("trials").num_rows == 1
    assert "links in a store are not followed" in caplog.text


def test_a_file_that_is_a_link_is_not_read(store: Store, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("password: 1\n")
    store.write_text("s", "mine.yaml", "x")
    (Path(store.url) / "sweeps" / "s" / "sweep.yaml").symlink_to(secret)
    with pytest.raises(OSError, match=r"[Ss]ymbolic|link"):
        store.read_text("s", "sweep.yaml")
    store.write_text("s", "sweep.yaml", "mine")  # the link is replaced, not what it leads to
    assert (secret.read_text(), store.read_text("s", "sweep.yaml")) == ("password: 1\n", "mine")
    store.write_trial(trial(config_id="good"))
    copied = tmp_path / "copied"
    before = encode("trials", [trial()])
    copied.write_bytes(before)
    fragment = Path(store.url, fragment_path("trials", trial()))
    fragment.symlink_to(copied)
    rows, bad = store.read_with_report("trials")
    assert rows.column("config_id").to_pylist() == ["good"]
    assert [item.path for item in bad] == [fragment_path("trials", trial())]
    assert store.write_trial(trial(score=0.5)) is True  # a link is no terminal row
    assert store.read("trials").num_rows == 2
    assert copied.read_bytes() == before


def test_a_store_that_is_itself_a_link_is_fine(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "store").symlink_to(tmp_path / "disk")
    store = Store.create(str(tmp_path / "store"))
    assert store.write_trial(trial())
    assert store.read("trials").num_rows == 1


@pytest.mark.parametrize(
    "digest", ["/../../../../mine", "../../../mine", "x/../../../../mine", "0" * 16, "", None, 7]
)
@pytest.mark.parametrize("files", [{}, {"model.safetensors": "0" * 64}])
def test_a_record_of_a_teacher_that_leads_out_of_the_cache(
    store: Store, tmp_path: Path, digest: Any, files: dict[str, str]
) -> None:
    """The digest is part of a folder's name on each node, where an unfinished folder is built anew."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    store.files.put("teachers/key/first.json", json.dumps({"digest": digest, "files": files}).encode())

    def build(folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"weights")

    shelf = TeacherShelf(store, keeps=True)
    folder = built_for_all(tmp_path / "node" / "cache" / "teachers", "key", build, shelf)
    assert folder == tmp_path / "node" / "cache" / "teachers" / "key"
    assert [path.name for path in mine.iterdir()] == ["thesis.txt"]
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "node", "outer"}
    assert shelf.first("key") == folder_digest(folder)  # as any torn record, it is replaced


def test_the_command_that_is_shown_for_a_failure_runs_nothing_else() -> None:
    evil = "x' OR 1=1 --\"; rm -rf ~ #$(touch x)`touch y`"
    (found,) = failures(
        [{"status": "failed", "error": "E", "dataset": "d", "trial_id": evil, "traceback": None}]
    )
    import shlex

    words = shlex.split(found.where)
    assert (words[:2], len(words)) == (["distiller", "query"], 5)
    assert words[2].endswith("trial_id = '" + evil.replace("'", "''") + "'")
