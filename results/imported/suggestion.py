"""A first mapping of a table, by the names and cells of its columns, for a person to mend."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from distiller.results.imported.cells import numbers, shown, texts, typed
from distiller.results.imported.conditions import Levels, found_when
from distiller.results.imported.mapping import MOMENTS, SCORES, snake
from distiller.results.imported.tables import Table
from distiller.results.imported.trials import WORDS
from distiller.spaces.config import STAGES
from distiller.spaces.errors import InputError
from distiller.spaces.files import write_yaml
from distiller.spaces.sweep import NAME

_SCORES = ("score", "value", "val_score", "validation_score", "accuracy", "acc", "val_accuracy", "val_acc",
           "f1", "auc", "matthews", "mcc", "spearman", "pearson", "objective", "result", "metric", "loss",
           "val_loss", "error_rate", "perplexity")  # fmt: skip
_LOWER = re.compile(r"loss|error|perplexity|rmse|mae|mse|wer|cer")
_GUESSES = {
    "dataset": ("dataset", "data_set", "task", "data", "corpus", "benchmark"),
    "seed": ("seed", "random_seed", "random_state"),
    "trial": ("trial", "trial_id", "number", "trial_number", "run_id", "run", "config_id", "id"),
    "fidelity": ("fidelity", "epoch", "epochs", "step", "steps", "iteration", "iterations", "budget",
                 "training_iteration"),
    "status": ("status", "state", "trial_state"),
    "error": ("error", "error_message", "exception"),
    "started_at": ("started_at", "start_time", "datetime_start", "start"),
    "ended_at": ("ended_at", "end_time", "datetime_complete", "end"),
    **{name: (name,) for name in SCORES if name != "test_score"},
    "test_score": ("test_score", *(f"test_{name}" for name in _SCORES),
                   *(f"{name}_test" for name in _SCORES)),
}  # fmt: skip
_COSTS = {
    "parameters": ("parameters", "n_params", "num_parameters", "n_parameters"),
    "flops": ("flops",),
    "latency_ms": ("latency_ms", "latency"),
    "peak_memory_bytes": ("peak_memory_bytes",),
    "train_seconds": ("train_seconds", "train_time", "training_time"),
    "wall_seconds": ("wall_seconds", "wall_time", "duration", "runtime", "seconds", "secs", "elapsed"),
}
_ASIDE = re.compile(r"(tags|metrics|user_attrs|system_attrs|attributes)\.|(experiment_id|artifact_uri)$")
_OUTCOME = re.compile(
    rf"(test|train|val|valid|validation|dev|eval|best|final|last|mean|max|min)_({'|'.join(_SCORES)})"
    rf"|({'|'.join(_SCORES)})(_test|_train|_val|_validation|_std|_sd|_err)|host(name)?|node|machine|worker|pid"
)
"""What a trial came to, or where it ran: as a setting it would explain the score by itself."""
MOST_STAGES = 8
"""More groups than these are taken together."""
MOST_SHOWN = 6


def suggest(table: Table) -> str:
    """YAML of a mapping, with a comment on each column of a stage.

    Raises:
        InputError: no column looks like a score.
    """
    plain = {
        column: snake(re.sub(r"^(metrics|params|tags)\.", "", column), digits=True)
        for column in table.columns
    }
    chosen: dict[str, Any] = dict(table.hints)
    used = set(_columns_in(chosen))
    if "score" not in chosen:
        chosen["score"] = _score(table, plain, used)
        if _LOWER.search(plain[chosen["score"]]):
            chosen["higher_is_better"] = False
    used |= set(_columns_in(chosen))
    for key, names in _GUESSES.items():
        column = next((c for name in names for c in plain if plain[c] == name and c not in used), None)
        if key in chosen or column is None or not _suits(table, key, column, chosen):
            continue
        chosen[key] = {"column": column} if key in ("fidelity", "status") else column
        used.add(column)
    if (
        "fidelity" in chosen
        and "trial" not in chosen
        and "status" not in chosen
        and _is_budget(table, chosen)
    ):
        used.discard(chosen.pop("fidelity")["column"])
    costs = {}
    for key, names in _COSTS.items():
        column = next(
            (c for c in plain if plain[c] in names and c not in used and _is_numeric(table, c)), None
        )
        if column is not None:
            costs[key] = column
            used.add(column)
    changing = _changing(table, chosen.get("trial"))
    left = [column for column in table.columns if column not in used]
    asides = [
        column
        for column in left
        if plain[column] in _GUESSES["trial"] or _OUTCOME.fullmatch(plain[column]) or column in changing
    ]
    sound = _sound(table, chosen)
    stages, ignored = _stages(sound, [column for column in left if column not in asides])
    ignored = dict.fromkeys(asides, "no setting, by its name or because it changes within a trial") | ignored
    head = {"name": table.name} if NAME.fullmatch(table.name) else {"name": snake(table.name) or "imported"}
    order = ["score", "higher_is_better", "metric", "dataset", "seed", "trial", "fidelity", "status", "error",
             *SCORES, *MOMENTS]  # fmt: skip
    head |= {key: chosen[key] for key in order if key in chosen} | ({"costs": costs} if costs else {})
    unknown = _unknown_status(table, chosen)
    lines = [
        f"# A first mapping of {shown(table.source)}, by names and cells: look at each line, then",
        "# distiller import TABLE --mapping THIS.yaml --dry-run",
        write_yaml(head).rstrip(),
        *(
            [f"# status: write what {unknown} means: completed, stopped, failed or unfinished"]
            if unknown
            else []
        ),
        "stages:  # your own names; parts that were chosen independently of each other",
    ]
    for stage, columns in stages.items():
        lines.append(write_yaml({stage: None}).replace(" null", "").rstrip().replace("\n", "\n  "))
        lines[-1] = f"  {lines[-1]}"
        for column in columns:
            lines.append(f"    {_in_a_line(column)}:  # {_said(table, column)}")
    if ignored:
        lines.append("ignore:")
        lines += [f"- {_in_a_line(column)}  # {why}" for column, why in ignored.items()]
    return "\n".join(lines) + "\n"


def _in_a_line(column: str) -> str:
    """A name as YAML; where that would take several lines, in double quotes as JSON has it."""
    plain = write_yaml({column: None})
    if plain.startswith("? ") or plain.count("\n") > 1:
        return json.dumps(column, ensure_ascii=False)
    return plain.rstrip().removesuffix(": null")


def _columns_in(chosen: Mapping[str, Any]) -> list[str]:
    found = []
    for key, one in chosen.items():
        column = one.get("column") if isinstance(one, dict) else one
        if isinstance(column, str) and key != "metric":
            found.append(column)
    return found


def _score(table: Table, plain: Mapping[str, str], used: set[str]) -> str:
    free = [column for column in plain if column not in used and _is_numeric(table, column)]
    for name in _SCORES:
        for column in free:
            if plain[column] == name:
                return column
    for column in free:
        if column.startswith("metrics.") or any(name in plain[column].split("_") for name in _SCORES):
            return column
    raise InputError(
        f"{table.source}: no column of numbers is named like a score; columns: "
        f"{', '.join(map(shown, list(table.columns)[:20]))}; write the mapping's `score:` yourself"
    )


def _is_numeric(table: Table, column: str) -> bool:
    try:
        return any(value is not None for value in numbers(table.columns[column], column))
    except InputError:
        return False


def _suits(table: Table, key: str, column: str, chosen: Mapping[str, Any]) -> bool:
    """Whether a column's cells are what its name says."""
    cells = texts(table.columns[column])
    if key == "trial":  # of a table with one row a trial, it is only a name
        return "fidelity" in chosen or len(set(cells)) < len(cells)
    if key == "status":
        return any(cell is not None and _meaning(cell) for cell in cells)
    if key in ("fidelity", "seed", *SCORES):
        return _is_numeric(table, column) and (key != "seed" or None not in cells)
    return key not in ("dataset",) or None not in cells


def _unknown_status(table: Table, chosen: Mapping[str, Any]) -> str:
    """Cells of the status that no word is known for."""
    if "status" not in chosen:
        return ""
    cells = dict.fromkeys(texts(table.columns[chosen["status"]["column"]]))
    return ", ".join(shown(cell or "") for cell in cells if cell is None or not _meaning(cell))


def _meaning(cell: str) -> str | None:
    plain = cell.rsplit(".", 1)[-1].lower()
    return next((kind for kind, words in WORDS.items() if plain in words), None)


def _is_budget(table: Table, chosen: Mapping[str, Any]) -> bool:
    """Whether a fidelity that nothing else speaks of was searched itself: at most 4 rows reach it."""
    read = [v for v in numbers(table.columns[chosen["fidelity"]["column"]], "fidelity") if v is not None]
    return len(set(read)) > 1 and sum(v == max(read) for v in read) <= 4


def _sound(table: Table, chosen: Mapping[str, Any]) -> Table:
    """The rows of trials that ended with a score: others may lack settings. All rows, if none."""
    rows = {
        n for n, score in enumerate(numbers(table.columns[chosen["score"]], "score")) if score is not None
    }
    if "status" in chosen:
        cells = texts(table.columns[chosen["status"]["column"]])
        rows = {n for n in rows if _meaning(cells[n] or "") not in ("failed", "unfinished")}
    if not rows:
        return table
    columns = {name: [cells[n] for n in sorted(rows)] for name, cells in table.columns.items()}
    return replace(table, columns=columns)


def _changing(table: Table, trial: str | None) -> set[str]:
    """Columns that are no settings: they change within a trial."""
    if trial is None:
        return set()
    first: dict[str | None, int] = {}
    of = [first.setdefault(name, number) for number, name in enumerate(texts(table.columns[trial]))]
    return {
        column
        for column, cells in table.columns.items()
        if any(cells[number] != cells[start] for number, start in enumerate(of))
    }


def _stages(table: Table, columns: Sequence[str]) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Columns by stage, and those that are left out, with the reason.

    A column belongs where its name begins with that of one of KD's stages, else where a `stage.` or `stage/`
    says; columns whose empty cells follow another one's belong to it.
    """
    ignored, levels = dict[str, str](), dict[str, Levels]()
    for column in columns:
        try:
            cells = typed(table.columns[column], column)
        except InputError:
            ignored[column] = "mixes types; under a stage {type: text} takes all for names"
            continue
        found = Levels(cells.values)
        filled = int(found.present.sum())
        names = len(found.levels) > max(10, 0.5 * filled) and cells.kind is str
        if not filled:
            ignored[column] = "empty"
        elif _ASIDE.match(column) or names:
            ignored[column] = "no setting, by its name" if _ASIDE.match(column) else "a name in most rows"
        else:
            levels[column] = found
    stage = {column: _stage_of(column) for column in levels}
    few = [column for column, one in levels.items() if len(one.levels) <= 30]
    for column in levels:
        if levels[column].present.all():
            continue
        when = found_when(column, levels, few)
        if when is None:
            ignored[column] = "empty in some rows, but no column says when; write its `when:`"
            continue
        for parent in when:
            old, new = stage[column], stage[parent]
            stage = {name: new if one == old else one for name, one in stage.items()}
    groups: dict[str, list[str]] = {}
    for column in levels:
        if column not in ignored:
            groups.setdefault(stage[column], []).append(column)
    if len(groups) > MOST_STAGES:
        alone = [name for name, members in groups.items() if len(members) == 1]
        gathered = [column for name in alone for column in groups.pop(name)]
        groups["settings"] = [*groups.get("settings", []), *gathered]
    if not groups:
        raise InputError(
            f"{table.source}: no column is left for a stage; write the mapping's `stages:` yourself"
        )
    return groups, ignored


def _stage_of(column: str) -> str:
    plain = column.removeprefix("params.").removeprefix("params_")
    name = snake(plain)
    known = next((stage for stage in STAGES if name == stage or name.startswith(f"{stage}_")), None)
    if known is not None:
        return known
    first = snake(re.split(r"[./]", plain, maxsplit=1)[0])
    return first or f"stage_{snake(plain, digits=True)}".rstrip("_")


def _said(table: Table, column: str) -> str:
    cells = typed(table.columns[column], column)
    values = [value for value in cells.values if value is not None]
    levels = list(dict.fromkeys(values))
    empty = len(cells.values) - len(values)
    if cells.kind is not str and len(levels) > MOST_SHOWN:
        text = f"{min(values)} to {max(values)}"
    else:
        more = f", {len(levels) - MOST_SHOWN} more" if len(levels) > MOST_SHOWN else ""
        text = ", ".join(str(level)[:40] for level in levels[:MOST_SHOWN]) + more
    return " ".join(text.split()) + (f"; {empty} empty" if empty else "")
