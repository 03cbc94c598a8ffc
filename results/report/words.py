"""How the report writes numbers, times and configs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from shlex import quote
from typing import Any

from distiller.results.entries import Entry, Gain, Scores
from distiller.results.leaderboard import DatasetBoard, pareto_label
from distiller.results.report.searched import answers
from distiller.spaces.choice import KIND, Union
from distiller.spaces.config import STAGES

TAGS = {KIND, *(stage.part.tag for stage in STAGES.values() if isinstance(stage.part, Union))}
"""Fields that say which choice it is."""


def score(value: float | Scores | Gain | None) -> str:
    """`0.731 ± 0.012`, broken before the sign or not at all; a dash where there is none."""
    if value is None or isinstance(value, float):
        return "–" if value is None else f"{value:.3f}"
    return str(value).replace("± ", "±\N{NO-BREAK SPACE}")


def size(value: float | None) -> str:
    """`4.4 M`."""
    for limit, unit in ((1e9, " B"), (1e6, " M"), (1e3, " k")):
        if value is not None and value >= limit:
            return f"{value / limit:.3g}{unit}"
    return "–" if value is None else f"{value:.0f}"


def milliseconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} ms" if value < 10 else f"{value:.0f} ms"


def duration(seconds: float | None) -> str:
    """`8 s`, `4 min`, `3.2 h`."""
    if seconds is None:
        return "–"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def percent(share: float) -> str:
    """`12%`."""
    return f"{share:.0%}"


def signed(value: float) -> str:
    """`+0.012`."""
    return f"{value:+.3g}"


def capital(text: str) -> str:
    """The text with a capital letter first, unless names (`mi_alpha is`, `trec, sst: 3 trials`) are."""
    first = text.split(maxsplit=1)[0] if text.strip() else ""
    if "_" in first or re.match(r"[^\s,:]+(, [^\s,:]+)*:(\s|$)", text):
        return text
    return text[:1].upper() + text[1:]


def sentence(text: str) -> str:
    """The text as a sentence of its own."""
    return capital(text) + ("" if text[-1:] in ".?!" else ".")


def when(value: datetime | str | None) -> str:
    """`2026-01-02 03:04 UTC`."""
    if value is None:
        return "–"
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment.strftime("%Y-%m-%d %H:%M %Z").strip()


def chosen(section: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Each stage of a dataset's best config with one text per slot: `mi_alpha, alpha 0.3, weight 0.2`.

    A config that no pipeline has, of a table from elsewhere, is told by its columns.
    """
    best, design = section["board"].best, section["design"]
    try:
        config = best.config
    except ValueError:
        return [(stage, [", ".join(said)]) for stage, said in answers(design, best.rows[0])] if design else []
    return [
        (stage, [_choice(slot.model_dump(mode="json")) for slot in config.slots(stage)]) for stage in STAGES
    ]


def _choice(written: Mapping[str, Any]) -> str:
    """The choice's own name first, whichever field of its model it is."""
    said = []
    for name, value in sorted(written.items(), key=lambda one: one[0] not in TAGS):
        if isinstance(value, dict):
            first, *more = (_choice({key: inner}) for key, inner in value.items())
            said.append(f"{name} {first}" + (f" ({', '.join(more)})" if more else ""))
        elif name in TAGS:
            said.append(str(value))
        else:
            said.append(f"{name.replace('_', ' ')} {value:.3g}" if isinstance(value, float)
                        else f"{name.replace('_', ' ')} {value}")  # fmt: skip
    return ", ".join(said)


TRIVIAL = {
    "regression": "Mean predictor",
    "multi_label": "Most frequent labels",
    "qa": "Most frequent answer",
    "token_classification": "Most frequent tag",
}
"""By kind of task, the predictor that ignores the text, where it says no class."""


def is_distilled(board: DatasetBoard) -> bool:
    """Whether a teacher or a baseline is known: a table from elsewhere need not have one."""
    return bool(board.baselines) or board.teacher_validation is not None


def standings(board: DatasetBoard) -> list[dict[str, Any]]:
    """Rows of a dataset's table, from the teacher down to the trivial predictor; `at` is in percent of a
    common track that shows test where the best student has it, else validation."""
    test = board.best is not None and board.best.test is not None
    teacher = board.teacher_test if test else board.teacher_validation
    rows = [_standing("Teacher", None, board.teacher_validation, board.teacher_test, teacher)]
    if board.winner:
        rows.append(_of("Best student", board.winner, test, best=True))
    elif board.best:
        rows.append(_of("Best search trial", board.best, test, best=True))
    others = [e for e in board.pareto if board.best is None or e.config_id != board.best.config_id]
    rows += [_of(pareto_label(board, entry), entry, test) for entry in others]
    for label, entry in (("Plain Hinton KD", board.hinton), ("No teacher", board.no_teacher)):
        rows.append(_of(label, entry, test) if entry else _standing(label, None, None, None, None))
    label = TRIVIAL.get(board.task_kind or "", "Majority class")
    majority = board.majority_score
    rows.append(_standing(label, None, majority, None, None if test else majority))
    if not is_distilled(board):
        rows = [row for row in rows if row["entry"] or row["validation"] is not None]
    marks = [row["mark"] + sign * row["sd"] for row in rows if row["mark"] is not None for sign in (-1, 1)]
    low, high = (min(marks), max(marks)) if marks else (0.0, 1.0)
    wide = (high - low) or 1.0
    for row in rows:
        if row["mark"] is not None:
            row["at"] = 4 + 92 * (row["mark"] - low) / wide
            row["reach"] = 92 * row["sd"] / wide
    return rows


def _of(label: str, entry: Entry, test: bool, best: bool = False) -> dict[str, Any]:
    shown = entry.test if test else entry.validation
    row = _standing(label, entry, entry.validation, entry.test, shown.mean if shown else None, best)
    return {**row, "sd": (shown.sd or 0.0) if shown else 0.0}


def _standing(
    label: str, entry: Entry | None, validation: Any, test: Any, mark: float | None, best: bool = False
) -> dict[str, Any]:
    shown = {"label": label, "entry": entry, "validation": validation, "test": test, "best": best}
    return {**shown, "mark": mark, "sd": 0.0}


FILTERS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        score,
        size,
        milliseconds,
        duration,
        percent,
        signed,
        capital,
        sentence,
        when,
        chosen,
        standings,
        quote,
    )
}
