"""Storage that fails under the driver alone, for longer than it waits: the launch ends with the one line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest

from distiller.results.store import Store
from tests.search.clusters import ROOT
from tests.search.quick import KILLED, SECONDS, TRAINER, WELL, write_quick

DRIVER = """
import errno, sys
from rich.console import Console
from distiller.results.local_files import LocalFiles
from distiller.results.patience import PatientFiles
from distiller.search import cli, launch

sweep, url, trainer, fails = sys.argv[1:]
put_new = LocalFiles.put_new

def full(self, path, data):  # only here: workers are processes of their own
    if fails == "yes" and path.startswith("trials/"):
        raise OSError(errno.ENOSPC, "No space left on device", path)
    return put_new(self, path, data)

LocalFiles.put_new = full
PatientFiles.__init__.__defaults__ = (0.2, *PatientFiles.__init__.__defaults__[1:])
cli.app = lambda: launch.launch_sweep(sweep, url, None, Console(), trainer=trainer)
cli.main()
"""


def launched(path, url, fails):
    return subprocess.run(
        [sys.executable, "-c", DRIVER, str(path), url, TRAINER, fails],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
             SECONDS: "0.02"},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["stopped by the scheduler", "given up"])
def test_the_launch_ends_with_one_line_and_goes_on_when_launched_again(tmp_path, kind):
    """Rows that the driver writes: of trials that ASHA stopped, and of one that killed its worker thrice."""
    search = {"trials": 12, "scheduler": {"asha": {"reduction": 2, "min_share": 0.25}}}
    faults = (WELL,)
    if kind == "given up":
        faults, search = (WELL, KILLED), {"sampler": "grid", "grid_levels": 1}
    path, url = write_quick(tmp_path / "it's away", faults, search=search), str(tmp_path / "store")
    ended = launched(path, url, "yes")
    assert ended.returncode == 2, ended.stdout + ended.stderr
    lines = ended.stderr.strip().splitlines()
    line = lines[-1]
    assert line.startswith(f"distiller: --store {url}: trials/quick/letters-")
    assert line.endswith("mend the storage and launch again: nothing finished is lost")
    assert "OSError: [Errno 28] No space left on device" in line
    assert "StorageError" not in ended.stdout + ended.stderr  # in a traceback of Ray's
    store = Store.open(url)
    before = store.read("trials", "quick").to_pylist()
    again = launched(path, url, "no")
    assert again.returncode == 0, again.stdout + again.stderr
    rows = store.read("trials", "quick").to_pylist()
    assert [row for row in rows if row in before] == before
    status = Counter(row["status"] for row in rows if row["role"] == "search")
    assert status["failed"] == (kind == "given up")
    assert (status["stopped"] > 0) == (kind != "given up")
    assert store.unfinished_attempts("quick") == []
