"""The report of the benchmark of importance for a terminal."""

from __future__ import annotations

import statistics
from typing import Any

from rich.console import Console
from rich.table import Table

SECONDS = {"without intervals": 5.0, "with intervals": 90.0}
"""Of 10,000 trials on two cores."""


def show(console: Console, report: dict[str, Any]) -> None:
    """The tables."""
    console.print(estimates(report))
    console.print(decisions(report))
    console.print(others(report))
    console.print(targets(report))
    if any(part["rivals"] for part in report["shapes"].values()):
        console.print(rivals_table(report))
    for kind, seconds in report["speed"].items():
        median, target = statistics.median(seconds), SECONDS[kind]
        said = "met" if median <= target else "MISSED"
        spread = f"{min(seconds):.1f}-{max(seconds):.1f}"
        console.print(
            f"{report['speed_trials']:,} trials {kind}: {median:.1f} s ({spread}); {target:g} s {said}"
        )
    console.print(*report["missing"], sep="\n")


def estimates(report: dict[str, Any]) -> Table:
    table = Table(
        title="main effects against the truth: absolute errors in shares of the noise-free variance"
    )
    for name in (
        "shape",
        "cases",
        "cannot tell",
        "mean",
        "median",
        "90%",
        "worst",
        "<= 0.02",
        "bias",
        "seconds",
    ):
        table.add_column(name, justify="left" if name == "shape" else "right")
    for shape, part in report["shapes"].items():
        f, e = part["figures"], part["figures"]["error"]
        cells = [number(e[key]) for key in ("mean", "median", "p90", "worst")]
        counts = (str(f["repetitions"]), str(f["cannot_tell"]))
        table.add_row(shape, *counts, *cells, percent(e["within"]), number(f["bias"]), f"{f['seconds']:.1f}")
    return table


def decisions(report: dict[str, Any]) -> Table:
    table = Table(title="95% intervals and calls")
    names = ("shape", "main covered", "total covered", "null covered", "width", "null called", "0.10 found",
             "null parameter: median", "worst", "plain bootstrap: covered", "width")  # fmt: skip
    for name in names:
        table.add_column(name, justify="left" if name == "shape" else "right")
    for shape, part in report["shapes"].items():
        f, naive = part["figures"], part["bootstrap"]
        held = [f["coverage"]["main"], f["coverage"]["total"], f["coverage_of_null"]]
        covered = [f"{100 * one['share']:.0f} ± {100 * one['se']:.0f}%" if one else "-" for one in held]
        null = [number(f["null_parameter"][key]) for key in ("median", "worst")]
        plain = (percent(naive["coverage"]), number(naive["width"])) if naive else ("-", "-")
        calls = (percent(f["null_called"]), percent(f["power"]))
        table.add_row(shape, *covered, number(f["width"]), *calls, *null, *plain)
    return table


def others(report: dict[str, Any]) -> Table:
    table = Table(title="absolute errors of pairs of stages, of parameters' shares, of the noise share")
    for name in ("shape", "pairs: mean", "worst", "parameters: mean", "worst", "noise: mean", "worst"):
        table.add_column(name, justify="left" if name == "shape" else "right")
    for shape, part in report["shapes"].items():
        errors = [part["figures"][name] for name in ("pairs", "parameters", "noise")]
        table.add_row(shape, *(number(error[key]) for error in errors for key in ("mean", "worst")))
    return table


def targets(report: dict[str, Any]) -> Table:
    shapes = report["shapes"]
    table = Table("target", *shapes, title="targets")
    said = {True: "met", False: "MISSED", None: "-"}
    for name in next(iter(shapes.values()))["targets"]:
        table.add_row(name, *(said[part["targets"][name]] for part in shapes.values()))
    return table


def rivals_table(report: dict[str, Any]) -> Table:
    table = Table(title="others on the same trials, their importances summed by stage, as main effects")
    for name in ("shape", "evaluator", "cases", "parameters told", "mean error", "worst", "seconds"):
        table.add_column(name, justify="left" if name in ("shape", "evaluator") else "right")
    for shape, part in report["shapes"].items():
        for name, f in part["rivals"].items():
            told = f"{f['told']:.0f} of {f['searched']}"
            errors = (number(f["mean"]), number(f["worst"]))
            table.add_row(shape, name, str(f["repetitions"]), told, *errors, f"{f['seconds']:.1f}")
    return table


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f}%"
