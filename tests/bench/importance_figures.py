"""From cases to figures: errors, coverage, width, calls, and whether the targets are met."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tests.truth.shares import TENTH

ERROR, COVERAGE, WIDTH, NULL_CALLED, POWER = 0.02, 0.90, 0.10, 0.05, 0.90
NULL_SHARE = 0.01
"""A null parameter's share that still counts as none."""

Record = dict[str, Any]


def summary(records: Sequence[Record]) -> dict[str, Any]:
    """The figures of one shape; shares that are not to be read ("cannot tell") count for calls alone."""
    readable = [record for record in records if record["verdict"] == "ok"]
    every = [stage for record in records for stage in record["stages"].values()]
    pairs = [(record, stage) for record in readable for stage in record["stages"].values()]
    errors = [abs(s["found_main"] - s["main"]) for _, s in pairs if "found_main" in s]
    widths = [s["main_interval"][1] - s["main_interval"][0] for _, s in pairs if s.get("main_interval")]
    tenths = [s["influential"] for s in every if abs(s["main"] - TENTH) < 1e-9 and s["total"] == s["main"]]
    nulls = [
        any(stage["influential"] for stage in record["stages"].values() if stage["total"] == 0)
        for record in records
    ]
    null_parameters = [record["null_parameter"] for record in records]
    return {
        "repetitions": len(records),
        "cannot_tell": sum(record["verdict"] != "ok" for record in records),
        "error": {
            **spread(errors),
            "median": quantile(errors, 0.5),
            "p90": quantile(errors, 0.9),
            "within": share(error <= ERROR for error in errors),
        },
        "bias": statistics.fmean(s["found_main"] - s["main"] for _, s in pairs if "found_main" in s)
        if errors
        else None,
        "coverage": {
            kind: coverage(readable, kind, f"{kind}_interval", nulls=False) for kind in ("main", "total")
        },
        "coverage_of_null": coverage(readable, "main", "main_interval", nulls=True),
        "width": quantile(widths, 0.5),
        "null_called": share(nulls),
        "power": share(tenths),
        "pairs": spread([error for record in readable for error in record["pairs"]]),
        "parameters": spread([error for record in readable for error in record["parameters"]]),
        "noise": spread(
            [
                abs(record["noise_share"] - record["true_noise_share"])
                for record in records
                if record["noise_share"] is not None
            ]
        ),
        "null_parameter": {"median": quantile(null_parameters, 0.5), "worst": max(null_parameters)},
        "seconds": statistics.median(record["seconds"] for record in records),
    }


def spread(errors: Sequence[float]) -> dict[str, float | None]:
    """Their mean and the worst of them."""
    return {"mean": statistics.fmean(errors) if errors else None, "worst": max(errors, default=None)}


def quantile(values: Sequence[float], level: float) -> float | None:
    return float(np.quantile(values, level)) if values else None


def share(held: Iterable[bool]) -> float | None:
    """How often it held; None where it never could."""
    found = [bool(one) for one in held]
    return statistics.fmean(found) if found else None


def coverage(records: Sequence[Record], kind: str, interval: str, nulls: bool) -> dict[str, float] | None:
    """How often intervals of stages without any effect (`nulls`), or with one, hold the truth.

    Its standard error is over repetitions: of one, stages go together.
    """
    by_repetition = []
    for record in records:
        stages = [s for s in record["stages"].values() if s.get(interval) and (s["total"] == 0) == nulls]
        if stages:
            low_high = [(s[interval][0] - 1e-9 <= s[kind] <= s[interval][1] + 1e-9) for s in stages]
            by_repetition.append(statistics.fmean(low_high))
    if not by_repetition:
        return None
    deviation = statistics.stdev(by_repetition) if len(by_repetition) > 1 else 0.0
    return {"share": statistics.fmean(by_repetition), "se": deviation / len(by_repetition) ** 0.5}


def rival_summary(records: Sequence[Record]) -> dict[str, Any]:
    """Errors and seconds of the rivals over the cases that they had, beside our own on the same."""
    had = [record for record in records if "rivals" in record]
    found: dict[str, Any] = {}
    names = dict.fromkeys(name for record in had for name in record["rivals"])
    for name in names:
        errors = [
            abs(record["rivals"][name]["main"][stage] - truth["main"])
            for record in had
            for stage, truth in record["stages"].items()
        ]
        answers = [record["rivals"][name] for record in had]
        found[name] = {
            "repetitions": len(had),
            "mean": statistics.fmean(errors),
            "worst": max(errors),
            "told": statistics.fmean(answer["told"] for answer in answers),
            "searched": answers[0]["searched"],
            "seconds": statistics.median(answer["seconds"] for answer in answers),
        }
    return found


def bootstrap_summary(records: Sequence[Record]) -> dict[str, Any] | None:
    """Coverage and width of the plain bootstrap's intervals of main effects, of stages with an effect."""
    had = [record for record in records if "bootstrap" in record]
    if not had:
        return None
    intervals = [
        (record["bootstrap"][stage], truth["main"])
        for record in had
        for stage, truth in record["stages"].items()
        if truth["total"] > 0
    ]
    return {
        "repetitions": len(had),
        "coverage": statistics.fmean(low <= main <= high for (low, high), main in intervals),
        "width": statistics.median(high - low for (low, high), _ in intervals),
    }


def verdicts(figures: dict[str, Any]) -> dict[str, bool | None]:
    """Each target: met, missed, or without a figure."""

    def met(value: float | None, most: float | None = None, least: float | None = None) -> bool | None:
        if value is None:
            return None
        return (most is None or value <= most) and (least is None or value >= least)

    main, total = (figures["coverage"][kind] for kind in ("main", "total"))
    return {
        f"mean error at most {ERROR}": met(figures["error"]["mean"], most=ERROR),
        f"9 of 10 errors at most {ERROR}": met(figures["error"]["p90"], most=ERROR),
        f"main intervals cover {COVERAGE}": met(main and main["share"], least=COVERAGE),
        f"total intervals cover {COVERAGE}": met(total and total["share"], least=COVERAGE),
        f"median width at most {WIDTH}": met(figures["width"], most=WIDTH),
        f"null stage called in at most {NULL_CALLED}": met(figures["null_called"], most=NULL_CALLED),
        f"stage of {TENTH} found in at least {POWER}": met(figures["power"], least=POWER),
        f"null parameters at most {NULL_SHARE}": met(figures["null_parameter"]["worst"], most=NULL_SHARE),
    }
