"""Failed trials grouped by cause: error lines with all that differs between two of a kind taken out."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from distiller.results.store import Row

NO_ERROR = "no error was recorded"
_VARYING = re.compile(
    r"0x[0-9a-f]+"
    r"|\b(?=[a-f]*\d)[0-9a-f]{8,}\b"  # ids of nodes, configs and commits
    r"|\d+(?:\.\d+)*(?:e[+-]?\d+)?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Failure:
    """Trials that failed of one cause, one of them as the example.

    Attributes:
        cause: the error's line, numbers, addresses and ids replaced by `#`.
        error: the example's line as it was recorded.
        datasets: failed trials by dataset.
        trial: the example's trial_id.
    """

    cause: str
    error: str
    datasets: dict[str, int]
    trial: str
    traceback: str | None

    @property
    def count(self) -> int:
        return sum(self.datasets.values())

    @property
    def where(self) -> str:
        """The command that shows the example's traceback; without one, its whole row."""
        columns, trial = "*" if self.traceback is None else "traceback", self.trial.replace("'", "''")
        sql = f"SELECT {columns} FROM trials WHERE trial_id = '{trial}'"
        return f"distiller query {shlex.quote(sql)} --format json"

    def to_dict(self) -> dict[str, Any]:
        shown = {"count": self.count, "datasets": self.datasets, "trial": self.trial, "where": self.where}
        return {"cause": self.cause, "error": self.error, **shown}


def failures(trials: Sequence[Row]) -> list[Failure]:
    """One entry per cause, most frequent first; of equal ones, the cause that came first in `trials`."""
    groups: dict[str, list[Row]] = {}
    for row in trials:
        if row["status"] == "failed":
            groups.setdefault(cause_of(row["error"]), []).append(row)
    return [
        Failure(
            cause,
            rows[0]["error"] or NO_ERROR,
            dict(Counter(row["dataset"] for row in rows)),
            rows[0]["trial_id"],
            rows[0]["traceback"],
        )
        for cause, rows in sorted(groups.items(), key=lambda group: -len(group[1]))
    ]


def cause_of(error: str | None) -> str:
    """The error's line less what differs between two failures of one cause."""
    return _VARYING.sub("#", " ".join((error or NO_ERROR).split()))
