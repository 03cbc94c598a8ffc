"""Own parts are frozen with their sweep: by content, and for every machine that sees the store.

Each step runs in a process of its own: parts stay registered.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from distiller.results.frozen import frozen_parts, is_over
from distiller.results.store import Store
from distiller.search.frozen import mark_over
from distiller.spaces.errors import InputError
from tests.results.simulated import row, trial
from tests.spaces.test_own import HUBER

LAUNCH = """
from tests.results.conftest import Demo
from distiller.search.frozen import freeze

more = "parts: [own parts.py]\\nspace_for: {trec: {intermediate: {huber: {}}}}\\n"
demo = Demo(store, {"trec": "{builtin: trec}"}, "own", more, folder)
freeze(demo.store, demo.sweep, demo.text, folder)
demo.filled()
"""
RELAUNCH = """
from distiller.results.store import Store
from distiller.search.frozen import check_same
from distiller.spaces.errors import InputError
from distiller.spaces.sweep import parse_sweep

opened = Store.open(str(store))
text = opened.read_text("own", "sweep.yaml")
try:
    check_same(opened, parse_sweep(text, "own.yaml", folder), folder)
    print("the same")
except InputError as error:
    print(error)
"""
WORK = """
from distiller.results.frozen import load_frozen_parts
from distiller.results.store import Store
from distiller.spaces.config import STAGES
from distiller.spaces.sweep import read_sweep

opened = Store.open(str(store))
load_frozen_parts(opened, read_sweep(opened.read_text("own", "sweep.yaml"), "own"), folder)
print(STAGES["intermediate"].part.choices["huber"].summary())
"""
READ = """
from typer.testing import CliRunner
from distiller.search.cli import app

out = ["--out", str(folder / "best")]
for command in (["status"], ["importance"], ["export", *out], ["report", "--out", str(folder / "r.html")]):
    done = CliRunner().invoke(app, [*command, "--store", str(store)])
    assert done.exit_code == 0, (command, done.output, done.exception)
assert "huber" in (folder / "best/trec.yaml").read_text()
assert "intermediate_delta" in (folder / "r.html").read_text()
"""


def run(code: str, store: Path, folder: Path) -> str:
    start = "import sys\nfrom pathlib import Path\nstore, folder = map(Path, sys.argv[1:])\n"
    command = [sys.executable, "-c", start + code, str(store), str(folder)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A store, and the folder that a sweep with own parts was launched from."""
    folder = tmp_path_factory.mktemp("frozen") / "a person's own"
    folder.mkdir()
    (folder / "own parts.py").write_text(HUBER)
    store = folder.parent / "store"
    run(LAUNCH, store, folder)
    return store, folder


def test_a_copied_folder_goes_on(launched: tuple[Path, Path], tmp_path: Path) -> None:
    store, folder = launched
    shutil.copytree(folder, tmp_path / "copy")
    assert run(RELAUNCH, store, tmp_path / "copy") == "the same"


def test_a_changed_module_is_another_sweep(launched: tuple[Path, Path], tmp_path: Path) -> None:
    store, _ = launched
    (tmp_path / "own parts.py").write_text(HUBER.replace("Huber loss", "Another loss"))
    said = run(RELAUNCH, store, tmp_path)
    assert said == (
        "sweep 'own' was launched before with another module own parts.py; "
        "undo the change in it or give the sweep another name"
    )


def test_workers_take_the_module_as_launched(launched: tuple[Path, Path], tmp_path: Path) -> None:
    store, _ = launched
    (tmp_path / "own parts.py").write_text(HUBER.replace("Huber loss", "Another loss"))
    assert run(WORK, store, tmp_path) == "Huber loss between hidden states."


def test_any_machine_that_sees_the_store_reads_it(launched: tuple[Path, Path], tmp_path: Path) -> None:
    store, folder = launched
    away = folder.rename(folder.with_name("away"))
    try:
        run(READ, store, tmp_path)
    finally:
        away.rename(folder)


def test_a_kept_module_that_is_gone_is_missed(launched: tuple[Path, Path], tmp_path: Path) -> None:
    """Rather than replaced by whatever file lies where the sweep was launched."""
    store = shutil.copytree(launched[0], tmp_path / "store")
    (kept,) = store.glob("sweeps/own/part-*.py")
    kept.unlink()
    with pytest.raises(InputError, match=rf"{kept.name} is gone, the module own parts.py as launched"):
        frozen_parts(Store.open(str(store)), "own")


def test_a_sweep_with_a_torn_row_is_not_over(tmp_path: Path) -> None:
    """Its trial would be neither run again nor counted; a stranger's file beside the rows is no such loss."""
    store = Store.create(str(tmp_path / "store"))
    for name in "abc":
        store.write_attempt(row(name))
        store.write_trial(trial(name))
    folder = tmp_path / "store/trials/s"
    (folder / "foreign.parquet").write_bytes(b"no Parquet")
    whole = folder / "trec-b-0-search.parquet"
    kept = whole.read_bytes()
    whole.write_bytes(kept[: len(kept) // 2])
    said = mark_over(store, "s")
    assert said is not None
    assert said.startswith("1 trials have ended and have no row: trials/s/")
    assert not is_over(store, "s")
    assert store.write_trial(trial("b", attempt=2))  # as whoever launches again has it run
    assert mark_over(store, "s") is None
    assert is_over(store, "s")
    path = trial("a") | {"role": "ablation", "trial_id": "trec-a-0-ablation"}
    assert store.write_attempt(row("a") | {"role": "ablation", "trial_id": "trec-a-0-ablation"})
    assert store.write_trial(path)  # as a path that was begun and is not whole yet
    assert is_over(store, "s")
    whole.with_name("trec-b-0-search~1.parquet").unlink()
    assert not is_over(store, "s")
