"""The command line. Commands load what they need, so that help and queries answer at once."""

from __future__ import annotations

import logging
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core
from rich.text import Text

from distiller.search.analysis_commands import ANALYSES
from distiller.search.import_command import import_trials
from distiller.search.recommend_command import recommend
from distiller.search.terminal import STORE, JsonOption, StoreOption, SweepOption, console, errors, print_json
from distiller.spaces.errors import InputError


class Interrupted(Exception):  # noqa: N818  (an event, not an error)
    """Ctrl-C; under its own name, Typer would end the program without a word."""


class Commands(typer.core.TyperGroup):
    """The commands, Ctrl-C told apart."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted from None


app = typer.Typer(
    name="distiller",
    cls=Commands,
    help="Hyperparameter search over knowledge-distillation pipelines: launch, query, export.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
PresetOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Run this published recipe in place of the search; several may be named. `auto`, at a launch: "
        "what earlier trials in the store recommend."
    ),
]
INTERRUPTED = 130

_debug = False


@app.callback()
def options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks and everything that is logged.")
    ] = False,
) -> None:
    """Options of every command."""
    global _debug
    _debug = debug
    logging.basicConfig(
        level=logging.INFO if debug else logging.WARNING, format="%(message)s", stream=sys.stderr
    )
    logging.getLogger("transformers").setLevel(logging.INFO if debug else logging.ERROR)


@app.command()
def launch(
    sweep: Annotated[
        str, typer.Argument(help="A sweep's YAML file, or the name of a bundled one (quickstart).")
    ],
    store: StoreOption = STORE,
    address: Annotated[
        str | None, typer.Option(help="Join this Ray cluster (`auto` finds it) instead of starting Ray here.")
    ] = None,
    nodes: Annotated[
        int, typer.Option(min=1, help="With --address: wait until so many nodes can carry a trial.")
    ] = 1,
    preset: PresetOption = None,
    warm_start: Annotated[
        list[str] | None,
        typer.Option(
            help="Try this first: recommend, a preset, or a recipe's YAML file; several may be named."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the best configs.")] = Path("best"),
    report: Annotated[Path, typer.Option(help="The HTML report.")] = Path("report.html"),
) -> None:
    """Run a sweep, or go on with one that was interrupted."""
    from distiller.search.launch import launch_sweep
    from distiller.search.summary import print_summary

    running = launch_sweep(sweep, store, address, console, preset or (), warm_start or (), nodes=nodes)
    with running.phase("leaderboard, importance, export and report"):
        print_summary(running.store, running.sweep.name, out, report, console)
    console.print(
        "seconds per phase: " + ", ".join(f"{k} {v:.0f}" for k, v in running.seconds.items()), soft_wrap=True
    )


@app.command()
def plan(
    sweep: Annotated[str, typer.Argument(help="A sweep's YAML file, or the name of a bundled one.")],
    preset: PresetOption = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Trials at a time; by default what this machine carries.")
    ] = None,
    gpu_gib: Annotated[
        float | None, typer.Option(min=1, help="Memory of a GPU of the cluster; by default that of one here.")
    ] = None,
    probe: Annotated[
        bool, typer.Option(help="Time a few steps, to estimate memory and hours; without, only count.")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """What a sweep comes to, before anything runs: data and teachers checked, memory and hours estimated."""
    from distiller.search.costs import costs_of, render_costs
    from distiller.search.outline import outline, read_sweep, render_outline

    read, base = read_sweep(sweep, preset or ())
    found = outline(read, base)
    if not as_json:
        console.print(render_outline(found))
    with errors.status("rehearsing") as status:
        costs = costs_of(read, base, workers, gpu_gib, probe, status.update)
    if as_json:
        entries = [{**one, "configs": str(one["configs"])} for one in found]
        print_json({"datasets": entries, "costs": costs.to_dict()})
    else:
        console.print(render_costs(costs))


@app.command()
def deploy(
    kind: Annotated[str, typer.Argument(help="slurm, kuberay or ray-up.")],
    out: Annotated[
        Path | None, typer.Option(help="Write to this file; by default its own name here.")
    ] = None,
) -> None:
    """Write a ready file for a cluster, with instructions at its top; adapt it."""
    from distiller.search.deployment import write_deployment

    console.print(f"{write_deployment(kind, out)}: read its first lines", soft_wrap=True, highlight=False)


app.command("import")(import_trials)
for analysis in (*ANALYSES, recommend):
    app.command()(analysis)


@app.command()
def query(
    sql: Annotated[
        str | None,
        typer.Argument(help="A SELECT over trials, epochs, attempts and datasets, or a saved query's name."),
    ] = None,
    store: StoreOption = STORE,
    sweep: SweepOption = None,
    format: Annotated[str, typer.Option("--format", help="table, csv, json or parquet.")] = "table",
    out: Annotated[Path | None, typer.Option(help="Write to this file instead of the terminal.")] = None,
    as_json: JsonOption = False,
    list_saved: Annotated[bool, typer.Option("--list", help="List the saved queries.")] = False,
    queries: Annotated[
        Path | None,
        typer.Option(help="Folder of .sql files of yours; by default `queries` beside the store."),
    ] = None,
) -> None:
    """Ask the results in SQL (DuckDB; it can read nothing but the store), or by a saved query's name."""
    from distiller.results.output import write_table
    from distiller.results.saved_queries import as_table, saved_queries, sql_of
    from distiller.results.sql import query as run_query
    from distiller.results.store import Store

    saved = saved_queries(store, queries)
    if list_saved:
        found = as_table(saved)
    elif sql is None:
        raise InputError("SQL: missing; write a SELECT or a saved query's name (`distiller query --list`)")
    else:
        found = run_query(Store.open(store), sql_of(sql, saved), sweep)
    write_table(found, "json" if as_json else format, out)


@app.command()
def status(
    store: StoreOption = STORE,
    sweep: SweepOption = None,
    as_json: JsonOption = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again and again until the sweep ends.")
    ] = False,
) -> None:
    """How a sweep stands, from any machine that sees its store: pace, time left, failures, best so far."""
    from distiller.results.export import chosen_sweep
    from distiller.results.standing import standing
    from distiller.results.standing_text import render
    from distiller.results.store import Store

    opened = Store.open(store)
    name = chosen_sweep(opened, sweep)
    if watch:
        from distiller.search.watching import watch as watch_sweep

        watch_sweep(opened, name, console, as_json)
    elif as_json:
        print_json(standing(opened, name).to_dict())
    else:
        console.print(render(standing(opened, name)), highlight=False)


@app.command()
def mirror(
    sweep: Annotated[str, typer.Argument(help="Name of a sweep in the store.")],
    to: Annotated[
        list[str],
        typer.Option(
            help="tensorboard:FOLDER, mlflow:URI or FOLDER, wandb:FOLDER (offline), "
            "optuna:sqlite:///FILE or optuna:JOURNAL; several may be named."
        ),
    ],
    store: StoreOption = STORE,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the sweep is over.")] = False,
) -> None:
    """Write a sweep's trials into other tools, each once: run it again to add what ended since."""
    from distiller.results.export import chosen_sweep
    from distiller.results.store import Store
    from distiller.search.mirrors.feeding import mirror_sweep, targets_of

    opened = Store.open(store)
    mirror_sweep(opened, chosen_sweep(opened, sweep), targets_of(to, Path.cwd()), follow, console)


@app.command()
def export(
    store: StoreOption = STORE,
    sweep: SweepOption = None,
    out: Annotated[Path, typer.Option(help="Folder for one YAML file per dataset.")] = Path("best"),
    dataset: Annotated[list[str] | None, typer.Option(help="Only these datasets.")] = None,
    max_parameters: Annotated[
        int | None, typer.Option(help="Students of at most so many parameters.")
    ] = None,
    max_latency: Annotated[
        float | None, typer.Option(help="Students of at most so many milliseconds.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the best config of each dataset as a file that `distiller train` trains again."""
    from distiller.results.export import export as run_export
    from distiller.results.store import Store

    written = run_export(Store.open(store), sweep, out, dataset, max_parameters, max_latency)
    if as_json:
        print_json([{"dataset": e.dataset, "path": str(e.path), "basis": e.basis} for e in written])
        return
    for one in written:
        console.print(f"{one.path}: {one.basis}", soft_wrap=True, highlight=False)


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="A file that `distiller export` wrote.")],
    out: Annotated[Path, typer.Option(help="Folder for the student (Hugging Face format).")],
    seeds: Annotated[
        int, typer.Option(min=1, help="Train on so many seeds and save the best on validation.")
    ] = 1,
    first_seed: Annotated[int, typer.Option(min=0, help="The first seed.")] = 0,
) -> None:
    """Train a recipe's student again and save it as an ordinary Hugging Face directory."""
    from distiller.search.train import train_recipe

    trained = train_recipe(recipe, out, seeds, first_seed, console)
    console.print(f"saved {trained.folder}: test {trained.test_score:.4f}", soft_wrap=True, highlight=False)
    if trained.table_mean is not None and len(trained.scores) > 1:
        mean = sum(trained.scores) / len(trained.scores)
        verdict = "agrees with" if trained.agrees else "DIFFERS from"
        console.print(
            f"mean {mean:.4f} over {len(trained.scores)} seeds {verdict} the table's "
            f"{trained.table_mean:.4f} "
            f"(SD {trained.deviation:.4f}, allowed 2 SD x sqrt 2 = {2 * 2**0.5 * trained.deviation:.4f})",
            soft_wrap=True,
            highlight=False,
        )


@app.command()
def compact(
    store: StoreOption = STORE,
    sweep: Annotated[str | None, typer.Option("--sweep", help="Only this sweep.")] = None,
    settle: Annotated[
        float,
        typer.Option(
            min=0, help="Seconds after which every machine sees a new file; 0 on a local disk or S3."
        ),
    ] = 120.0,
    as_json: JsonOption = False,
) -> None:
    """Gather the many small files of a store in few large ones, also while sweeps run."""
    from dataclasses import asdict

    from distiller.results.compaction import compact as run_compact
    from distiller.results.compaction import remove_abandoned
    from distiller.results.store import Store

    with errors.status("compacting"):
        done = run_compact(opened := Store.open(store), sweep, settle)
        abandoned = remove_abandoned(opened)
    if as_json:
        print_json([asdict(one) for one in done])
        return
    for one in done:
        console.print(one.said, soft_wrap=True, highlight=False)
    if abandoned:
        console.print(f"{abandoned:,} half-written files of killed writers removed", highlight=False)


@app.command()
def space(
    sweep: Annotated[
        str | None, typer.Argument(help="A sweep's file, whose own parts are listed too.")
    ] = None,
    as_json: JsonOption = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of a config.")] = False,
) -> None:
    """Every choice of every stage, with its parameters, priors and citation."""
    from distiller.spaces.catalog import catalog, config_schema, preset_entries
    from distiller.spaces.own import load_installed
    from distiller.spaces.presets import PRESETS
    from distiller.spaces.sweep import parse_sweep, sweep_text

    load_installed()
    if sweep is not None:
        text, base = sweep_text(sweep)
        parse_sweep(text, sweep, base)
    if schema:
        print_json(config_schema())
    elif as_json:
        print_json([*catalog(), *preset_entries()])
    else:
        from distiller.search.choices import render_catalog

        console.print(render_catalog(catalog(), PRESETS))


def main() -> None:
    """Entry point: bad input is one line and exit code 2, Ctrl-C 130, anything unforeseen 1."""
    try:
        app()
    except InputError as error:
        _complain(str(error), 2)
    except (Interrupted, KeyboardInterrupt):
        _complain(
            "interrupted; nothing finished is lost, and the same command goes on from here", INTERRUPTED
        )
    except Exception as error:
        said = " ".join(str(error).split())
        _complain(f"{type(error).__name__}: {said}" + ("" if _debug else " (--debug shows the traceback)"), 1)


def _complain(text: str, code: int) -> None:
    if _debug:
        traceback.print_exc()
    errors.print(Text(f"distiller: {text}", style="red"), soft_wrap=True)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
