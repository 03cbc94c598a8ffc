"""The report in a few sentences: what was found, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from distiller.results.importance.over import ALL
from distiller.results.leaderboard import DatasetBoard
from distiller.results.report.analysis import Analysis
from distiller.results.report.shares import ranked
from distiller.results.report.words import capital, is_distilled

VERDICTS = {
    "supported": "good",
    "not supported": "bad",
    "can be read": "good",
    "cannot tell": "unsure",
}
"""How a verdict's chip looks; the words say the same."""


class Point(NamedTuple):
    """One sentence of the summary, with its verdict where it has one."""

    about: str
    text: str
    verdict: str = ""


def summary(found: Sequence[DatasetBoard], analysis: Analysis) -> list[Point]:
    """Best students, what matters, findings and regrets, one sentence each."""
    points = [*_best(found)]
    points += [importance_point(dataset, one) for dataset, one in analysis.importance.items()]
    if any(point.verdict == "can be read" for point in points):
        points.append(
            Point(
                "reading the shares",
                "A share is the part of the variance of the score, as far as it can be explained over what "
                "was searched, that a stage accounts for alone; in brackets its 95% interval.",
            )
        )
    if analysis.findings is not None:
        share = analysis.findings.beats_no_teacher
        if share.share is not None:
            points.append(
                Point(
                    "distillation",
                    f"{share.beat} of {share.trials} full search trials ({share.share:.0%}, 95% interval "
                    f"{_percent(share.low)} to {_percent(share.high)}) beat the same student without a "
                    "teacher.",
                )
            )
        points += [
            Point(one.claim, f"{_sentence(one.reason)}", one.verdict) for one in analysis.findings.findings
        ]
    return points


def _best(found: Sequence[DatasetBoard]) -> list[Point]:
    done = [board for board in found if board.best is not None]
    if not done:
        return [Point("students", "No full run has completed on any dataset: there is no student yet.")]
    gains = [(board, board.gain) for board in done if board.gain is not None]
    better = [board.dataset for board, gain in gains if gain.beats_by_more_than_noise]
    distilled = any(map(is_distilled, done))
    verb = "has" if len(found) == 1 else "have"
    said = f"{len(done)} of {len(found)} dataset{'' if len(found) == 1 else 's'} {verb} a "
    said += "student. " if distilled else "best config. "
    if gains:
        others = f": {', '.join(better)}" if better and len(better) < len(gains) and len(better) <= 5 else ""
        said += (
            f"On {len(better)} of {len(gains)} the best one beats the same student trained without a teacher "
            f"by more than the noise between seeds{others}."
        )
    elif any(board.teacher_validation is not None for board in done):
        said += "None can be held against the same student without a teacher, which has not run."
    return [Point("students" if distilled else "best configs", said)]


def importance_point(dataset: str, one: Any) -> Point:
    """Which stages matter on a dataset, with shares and intervals, or why that cannot be told."""
    about = "what matters over all datasets" if dataset == ALL else f"what matters on {dataset}"
    verdict = one.get("verdict", "cannot tell")
    if verdict != "ok":
        return Point(about, _sentence(one["reason"]), verdict)
    sure = [(name, stage) for name, stage in ranked(one) if stage["influential"]]
    if not sure:
        where = " on more than half of the datasets" if dataset == ALL else ""
        return Point(about, f"No stage is confirmed to matter{where}.", "can be read")
    said = ", then ".join(f"{name} {_share(stage)}" for name, stage in sure[:3])
    more = f"; {len(sure) - 3} more are confirmed" if len(sure) > 3 else ""
    noise = one.get("noise_share")
    rest = ""
    if noise is not None:
        number = one["noise_repeats"]
        known = f"from {number} repeat{'' if number == 1 else 's'}"
        rest = f" Noise between seeds is {noise:.0%} of the variance of full runs ({known})."
    return Point(about, f"{said[:1].upper()}{said[1:]}{more}.{rest}", "can be read")


def _share(stage: Any) -> str:
    interval = stage.get("main_interval")
    between = "" if interval is None else f" ({interval[0]:.0%} to {interval[1]:.0%})"
    return f"{stage['main']:.0%}{between}"


def _sentence(text: str) -> str:
    return capital(text) + ("" if text.endswith(".") else ".")


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"
