"""The commands that analyse a sweep's trials: importance, compare, findings and report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from distiller.search.terminal import STORE, JsonOption, StoreOption, SweepOption, console, errors, print_json
from distiller.spaces.errors import InputError


def importance(
    store: StoreOption = STORE,
    sweep: SweepOption = None,
    dataset: Annotated[
        list[str] | None, typer.Option(help="Only this dataset; may be given several times.")
    ] = None,
    intervals: Annotated[bool, typer.Option(help="Give 95% intervals.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Which stages and parameters matter, per dataset and over all, and whether the trials can tell."""
    from distiller.results.export import chosen_sweep
    from distiller.results.importance.text import render_importance
    from distiller.results.store import Store
    from distiller.search.summary import importances

    opened = Store.open(store)
    with errors.status("fitting"):
        found = importances(opened, chosen_sweep(opened, sweep), intervals=intervals, only=dataset or ())
    if as_json:
        print_json({name: one.to_dict() for name, one in found.items()})
        return
    for name, one in found.items():
        console.print(render_importance(name, one))


def compare(
    what: Annotated[
        str | None, typer.Argument(help="A question (intermediate.objective), a stage or a column.")
    ] = None,
    choices: Annotated[list[str] | None, typer.Argument(help="Only these choices; all by default.")] = None,
    store: StoreOption = STORE,
    sweep: SweepOption = None,
    rope: Annotated[
        float, typer.Option(min=0, help="Differences up to this, in the metric's unit, are practically none.")
    ] = 0.01,
    ablation: Annotated[
        str | None, typer.Option(help="Instead: from this preset to the best config, stage by stage.")
    ] = None,
    run: Annotated[
        bool, typer.Option("--run", help="With --ablation: train what of the path has not been run.")
    ] = False,
    address: Annotated[str | None, typer.Option(help="With --run: join this Ray cluster.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Which choice of a stage is better, by how much, and how sure that is."""
    from distiller.results.comparison.text import render_comparison, render_path
    from distiller.results.export import chosen_sweep
    from distiller.results.store import Store
    from distiller.search.comparing import ablation_paths, compared

    if (what is None) == (ablation is None):
        raise InputError("compare: name either what to compare (intermediate.objective) or --ablation PRESET")
    if run and ablation is None:
        raise InputError("--run: it trains an ablation path; add --ablation PRESET")
    opened = Store.open(store)
    name = chosen_sweep(opened, sweep)
    if what is not None:
        found = compared(opened, name, what, choices or (), rope)
        if as_json:
            print_json(found.to_dict())
        else:
            console.print(render_comparison(found))
        return
    assert ablation is not None
    if run:
        from distiller.search.ablation import run_ablation

        run_ablation(opened, name, ablation, address, errors if as_json else console)
    paths = ablation_paths(opened, name, ablation)
    if as_json:
        print_json([path.to_dict() for path in paths])
        return
    for path in paths:
        console.print(render_path(path))


def findings(store: StoreOption = STORE, sweep: SweepOption = None, as_json: JsonOption = False) -> None:
    """Four claims about distillation pipelines as tests: supported, not supported or cannot tell."""
    from distiller.results.export import chosen_sweep
    from distiller.results.findings.text import render_findings
    from distiller.results.store import Store
    from distiller.search.comparing import found_in

    opened = Store.open(store)
    found = found_in(opened, chosen_sweep(opened, sweep))
    if as_json:
        print_json(found.to_dict())
    else:
        console.print(render_findings(found))


def report(
    store: StoreOption = STORE,
    sweep: SweepOption = None,
    out: Annotated[Path, typer.Option(help="The HTML file.")] = Path("report.html"),
    figures: Annotated[
        Path | None,
        typer.Option(help="Also write every figure into this folder: CSV, and SVG and PNG by a browser."),
    ] = None,
) -> None:
    """Write one HTML file, readable offline, of all that a sweep found."""
    from distiller.results.export import chosen_sweep
    from distiller.results.report import write_figures, write_report
    from distiller.results.store import Store
    from distiller.search.reporting import analyse

    opened = Store.open(store)
    name = chosen_sweep(opened, sweep)
    with errors.status("analysing") as status:
        analysis = analyse(opened, name, said=status.update)
        status.update("writing the report")
        written = write_report(opened, name, out, analysis)
        console.print(f"report: {out.resolve()}", soft_wrap=True, highlight=False)
        status.update("drawing figures")
        missing = write_figures(written, figures) if figures else None
    if figures:
        console.print(f"{len(written.figures)} figures: {figures.resolve()}", soft_wrap=True, highlight=False)
    if missing:
        errors.print(f"--figures: {missing}", soft_wrap=True, highlight=False)


ANALYSES = (importance, compare, findings, report)
