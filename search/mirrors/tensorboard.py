"""TensorBoard: a run per trial, `<place>/<sweep>/<dataset>/<role>/<trial_id>`, for scalars and HParams.

A run is written beside its place under a hidden name and renamed when it is whole.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import RecordWriter
from tensorboardX.summary import hparams, scalar

from distiller.results.ended import EndedTrial
from distiller.results.store import Store
from distiller.search.mirrors.mirror import points, summary
from distiller.spaces.errors import InputError


def open_mirror(store: Store, sweep: str, place: str) -> TensorBoardMirror:
    """A local folder.

    Raises:
        InputError: `place` is a URL.
    """
    if "://" in place:
        raise InputError(f"mirror tensorboard:{place}: TensorBoard runs go to a folder; name a path")
    return TensorBoardMirror(Path(place) / sweep)


class TensorBoardMirror:
    """Writes event files, one folder per trial."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def known(self) -> set[str]:
        return {path.name for path in self.folder.glob("*/*/*") if not path.name.startswith(".")}

    def add(self, trial: EndedTrial) -> None:
        final = self.folder / trial.row["dataset"] / trial.row["role"] / trial.name
        part = final.with_name(f".{trial.name}")
        if part.exists():
            shutil.rmtree(part)
        part.mkdir(parents=True)
        write_events(part / "events.out.tfevents.distiller", events_of(trial))
        part.rename(final)

    def close(self) -> None:
        """Nothing is open between two trials."""


def write_events(path: Path, events: Sequence[Any]) -> None:
    """A file of TensorBoard events."""
    writer = RecordWriter(str(path))
    try:
        for event in events:
            writer.write(event.SerializeToString())
    finally:
        writer.close()


def events_of(trial: EndedTrial) -> list[Any]:
    """Its parameters, its curve by step, and at the last step what became of it."""
    ended = (trial.row["ended_at"] or datetime.now(UTC)).timestamp()
    began = trial.row["started_at"].timestamp() if trial.row["started_at"] else ended
    numbers = {f"trial/{name}": value for name, value in summary(trial).items()}
    experiment, start, end = hparams(trial.config.columns(), numbers)
    events = [Event(wall_time=began, file_version="brain.Event:2")]
    events += [Event(wall_time=began, step=0, summary=one) for one in (experiment, start)]
    for step, seconds, values in points(trial):
        for name, value in values.items():
            events.append(Event(wall_time=began + seconds, step=step, summary=scalar(name, value)))
    last = int(trial.row["steps"] or 0)
    for name, value in numbers.items():
        events.append(Event(wall_time=ended, step=last, summary=scalar(name, value)))
    return [*events, Event(wall_time=ended, step=last, summary=end)]
