"""TensorBoard runs, read back record by record: TFRecord files of protocol buffers."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

from distiller.search.mirrors.feeding import Feed
from distiller.search.mirrors.mirror import Target
from distiller.spaces.config import PipelineConfig
from distiller.spaces.errors import InputError


def records(path: Path) -> list[Event]:
    """Length (8 bytes), its checksum (4), the record, its checksum (4)."""
    data, found, at = path.read_bytes(), [], 0
    while at < len(data):
        (length,) = struct.unpack("<Q", data[at : at + 8])
        found.append(Event.FromString(data[at + 12 : at + 12 + length]))
        at += length + 16
    return found


def scalars(events):
    found = {}
    for event in events:
        for value in event.summary.value:
            if value.HasField("simple_value"):
                found.setdefault(value.tag, {})[event.step] = (value.simple_value, event.wall_time)
    return found


def mirrored(made, folder):
    return Feed(made.store, "demo", Target("tensorboard", str(folder))).step()


def test_every_trial_is_a_run(made, tmp_path):
    folder = tmp_path / "it's runs"
    assert mirrored(made, folder) == len(made.rows)
    for row in made.rows:
        run = folder / "demo" / row["dataset"] / row["role"] / row["trial_id"]
        (file,) = run.iterdir()
        assert "tfevents" in file.name
        events = records(file)
        assert events[0].file_version == "brain.Event:2"
        found = scalars(events)
        curve = {step: value for step, (value, _) in found.get("score", {}).items()}
        expected = {s: row["score"] - 0.1 * (1 - s / row["steps"]) for s in range(10, row["steps"] + 1, 10)}
        assert curve == pytest.approx(expected)
        if row["score"] is None:
            assert "trial/score" not in found
        else:
            ((value, moment),) = found["trial/score"].values()
            assert value == pytest.approx(row["score"])
            assert moment == pytest.approx(row["ended_at"].timestamp())
        (start,) = [
            HParamsPluginData.FromString(value.metadata.plugin_data.content).session_start_info.hparams
            for event in events
            for value in event.summary.value
            if value.tag == "_hparams_/session_start_info"
        ]
        columns = PipelineConfig.model_validate_json(row["config"]).columns()
        assert set(start) == set(columns)
        for name, value in columns.items():
            assert (start[name].string_value or start[name].number_value) == value


def test_each_trial_once_also_where_one_was_cut_off(made, tmp_path):
    mirrored(made, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*tfevents*")}
    assert mirrored(made, tmp_path) == 0
    row = made.rows[0]
    run = tmp_path / "demo" / row["dataset"] / row["role"] / row["trial_id"]
    run.rename(run.with_name(f".{run.name}"))  # as if killed before the rename
    assert mirrored(made, tmp_path) == 1
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*tfevents*")}
    assert set(after) == set(before)
    assert sum(after[path] != before[path] for path in before) == 1


def test_runs_go_to_a_folder(made):
    with pytest.raises(InputError, match="name a path"):
        Feed(made.store, "demo", Target("tensorboard", "s3://bucket")).step()


def test_tensorboard_itself_reads_them(made, tmp_path):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="pip install 'kd-distiller[tensorboard]'",
    )
    mirrored(made, tmp_path)
    row = made.rows[0]
    read = accumulator.EventAccumulator(
        str(tmp_path / "demo" / row["dataset"] / row["role"] / row["trial_id"])
    )
    read.Reload()
    assert [point.step for point in read.Scalars("score")] == list(range(10, row["steps"] + 1, 10))
    assert read.Scalars("trial/score")[0].value == pytest.approx(row["score"])
