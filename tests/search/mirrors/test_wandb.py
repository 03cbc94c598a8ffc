"""Weights & Biases runs, offline; what a run holds is read back from its log, in LevelDB's format."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

pytest.importorskip("wandb", reason="pip install 'kd-distiller[wandb]'")

from wandb.proto import wandb_internal_pb2

from distiller.search.mirrors.feeding import Feed
from distiller.search.mirrors.mirror import Target
from distiller.spaces.config import PipelineConfig

pytestmark = pytest.mark.filterwarnings("ignore")  # its own, of packages that it draws in
HEADER, BLOCK = 7, 32768


def records(path: Path) -> list[wandb_internal_pb2.Record]:
    """Checksum (4 bytes), length (2), kind (1: whole, 2: first, 3: middle, 4: last part), then the part."""
    data, found, at, part = path.read_bytes(), [], HEADER, b""
    while at + HEADER <= len(data):
        if BLOCK - at % BLOCK < HEADER:
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + HEADER])
        part += data[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind in (1, 4):
            found.append(wandb_internal_pb2.Record.FromString(part))
            part = b""
    return found


def values(items):
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def mirrored(made, folder):
    feed = Feed(made.store, "demo", Target("wandb", str(folder)))
    added = feed.step()
    feed.close()
    return added


def test_every_trial_is_an_offline_run_once(demo, tmp_path):
    made, folder = demo(datasets={"trec": "{builtin: trec}"}), tmp_path / "it's runs"
    made.trial("trec", made.config("trec"), 0.5)
    made.trial("trec", made.config("trec"), 0.4, status="stopped")
    made.trial("trec", made.config("trec"), None, status="failed", error="E")
    assert mirrored(made, folder) == 3
    found = {}
    for path in folder.rglob("*.wandb"):
        read = records(path)
        (run,) = [record.run for record in read if record.HasField("run")]
        found[run.display_name] = (run, read, path)
    assert set(found) == {row["trial_id"] for row in made.rows}
    for row in made.rows:
        run, read, _ = found[row["trial_id"]]
        assert (run.project, run.run_group, run.job_type) == ("demo", "trec", "search")
        config = values(run.config.update)
        assert config["trial/status"] == row["status"]
        columns = PipelineConfig.model_validate_json(row["config"]).columns()
        assert {name: config[name] for name in columns} == columns
        history = [values(record.history.item) for record in read if record.HasField("history")]
        curve = {point["_step"]: point["score"] for point in history}
        expected = {s: row["score"] - 0.1 * (1 - s / row["steps"]) for s in range(10, row["steps"] + 1, 10)}
        assert curve == pytest.approx(expected)
        summary = {}
        for record in read:
            if record.HasField("summary"):
                summary |= values(record.summary.update)
        assert summary.get("score") == row["score"]
        (code,) = [record.exit.exit_code for record in read if record.HasField("exit")]
        assert code == (row["status"] == "failed")
    assert mirrored(made, folder) == 0
    done = folder / ".distiller-demo.txt"
    done.write_text("\n".join(done.read_text().splitlines()[:-1]) + "\n")  # as if killed before its name
    assert mirrored(made, folder) == 1
    ids = [path.parent.name.rsplit("-", 1)[1] for path in folder.rglob("*.wandb")]
    assert len(ids) == len(set(ids)) == 3
