"""The SLURM script on this machine: its own lines, three real Ray nodes, `srun` and `scontrol` played.

Each node has a cache of its own, as on machines apart; the store is what they share.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from distiller.pipelines.shelf import folder_digest
from distiller.search.deployment import write_deployment
from tests.search.conftest import ENVIRONMENT, SWEEP, Place, make_place

pytestmark = pytest.mark.chaos

SRUN = """\
#!/bin/bash
# Runs as many copies as there are tasks; each is a node with a folder of its own.
tasks=1
while [[ $1 == -* ]]; do
    [[ $1 == --ntasks=* ]] && tasks=${1#*=}
    shift
done
pids=()
trap 'kill "${pids[@]}" 2>/dev/null; wait; exit 143' TERM INT
for _ in $(seq "$tasks"); do
    number=$(ls "$FAKE" | grep -c '^node-') # `hostname` counts as one
    [[ "$*" == *"ray start"* ]] && mkdir "$FAKE/node-$number-$RANDOM"
    DISTILLER_CACHE="$FAKE/cache-$number" "$@" &
    pids+=($!)
done
wait
"""
SCONTROL = """\
#!/bin/bash
echo "$@" >> "$FAKE/scontrol"
if [[ $1 == show ]]; then printf 'n1\\nn2\\nn3\\n'; fi
"""
NODES = 3


@pytest.fixture
def cluster(tmp_path: Path):
    """A place with the script, and how to run it there."""
    place = make_place(
        tmp_path / "a person's place", SWEEP.replace("{path: cache}", "{path: $DISTILLER_CACHE}")
    )
    fake = tmp_path / "fake"
    fake.mkdir()
    (fake / "commands").mkdir()
    python = sys.executable
    for name, text in {
        "srun": SRUN,
        "scontrol": SCONTROL,
        "ray": f'#!/bin/bash\nexec "{python}" -m ray.scripts.scripts "$@"\n',
        "distiller": f'#!/bin/bash\nexec "{python}" -m distiller.search.cli "$@"\n',
    }.items():
        (fake / "commands" / name).write_text(text)
        (fake / "commands" / name).chmod(0o755)
    (place.folder / "env" / "bin").mkdir(parents=True)
    (place.folder / "env" / "bin" / "activate").write_text(f'PATH="{fake}/commands:$PATH"\n')
    write_deployment("slurm", place.folder / "slurm.sbatch")
    started: list[subprocess.Popen[str]] = []

    def start(job: int) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            **ENVIRONMENT,
            "FAKE": str(fake),
            "USER": "someone",
            "SLURM_JOB_ID": str(job),
            "SLURM_JOB_NUM_NODES": str(NODES),
            "SLURM_JOB_NODELIST": "n[1-3]",
            "SLURM_CPUS_PER_TASK": "1",
            "STORE": "results/data",
            "OMP_NUM_THREADS": "1",
        }
        for name in [name for name in environment if name.startswith("RAY_")]:
            del environment[name]
        with (place.folder / f"{job}.log").open("w") as log:
            process = subprocess.Popen(
                ["env", "--default-signal=INT", "bash", "slurm.sbatch"],  # whatever the tests run under
                cwd=place.folder,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        started.append(process)
        return process

    yield place, fake, start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=60)


def finished(process: subprocess.Popen[str], place: Place, job: int, seconds: float = 900) -> str:
    process.wait(timeout=seconds)
    return (place.folder / f"{job}.log").read_text()


def known(place: Place) -> dict[str, dict[str, Any]]:
    """The rows by trial, less nulls: later rows bring columns that are null in earlier ones."""
    rows = {row["trial_id"]: row for row in place.rows()}
    return {name: {k: v for k, v in row.items() if v is not None} for name, row in rows.items()}


def test_a_sweep_on_three_nodes(cluster) -> None:
    place, fake, start = cluster
    job = 1000 + os.getpid() % 8000
    process = start(job)

    until = time.monotonic() + 600
    while time.monotonic() < until and len(place.rows()) < 3:
        assert process.poll() is None, (place.folder / f"{job}.log").read_text()
        time.sleep(0.2)
    before = known(place)
    assert before
    os.kill(process.pid, signal.SIGUSR1)  # SLURM, some minutes before the job's time is over
    log = finished(process, place, job)
    assert process.returncode == 130, log
    assert f"requeue {job}" in (fake / "scontrol").read_text(), log
    assert "3 nodes carry trials: store, data, teachers and cache are there on each" in log

    process = start(job + 1)  # the queue starts it again, on nodes with empty disks
    log = finished(process, place, job + 1)
    assert process.returncode == 0, log
    rows = known(place)
    assert len(rows) == len(place.rows())
    assert {key: rows[key] for key in before} == before
    assert {row["status"] for row in rows.values()} <= {"completed", "stopped"}
    # Nodes whose workers were slower to start may have found nothing left to do.
    assert len({row["node"] for row in place.rows(table="attempts")}) >= 2
    _check_teachers(place, fake)
    assert (fake / "scontrol").read_text().count("requeue") == 1


def _check_teachers(place: Place, fake: Path) -> None:
    """Each dataset's teacher was fine-tuned on one node of six; all others have copies of that one."""
    own, copies = [], []
    for folder in fake.glob("cache-*/teachers/*"):
        if folder.is_dir() and not folder.name.startswith("."):
            (copies if "-" in folder.name else own).append(folder)
    assert len(own) == 2
    kept = {folder.name: folder_digest(folder) for folder in own}
    assert copies
    for folder in copies:
        key, _, digest = folder.name.partition("-")
        assert folder_digest(folder) == digest == kept[key]
    scores = {
        (row["dataset"], row["teacher_score"]) for row in place.rows() if row["teacher_score"] is not None
    }
    assert len(scores) == 2
