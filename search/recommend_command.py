"""`distiller recommend`, loaded with the command line: it imports only what that has already."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from distiller.search.terminal import STORE, JsonOption, StoreOption, console, errors, print_json
from distiller.spaces.errors import InputError


def recommend(
    dataset: Annotated[
        str | None,
        typer.Option(help="A sweep's YAML file: configs for each of its datasets, with its teachers."),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="So many configs.")] = 5,
    student: Annotated[
        str | None, typer.Option(help="Only such students: svd, layers=2, or svd,layers=2,width=128.")
    ] = None,
    max_parameters: Annotated[
        int | None, typer.Option(min=1, help="Parameters of the student, at most.")
    ] = None,
    max_latency: Annotated[
        float | None,
        typer.Option(min=0, help="Milliseconds of a forward pass, at most; as measured."),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Folder for the configs as recipes, which `distiller train` takes.")
    ] = Path("recommended"),
    evaluate: Annotated[
        bool,
        typer.Option("--evaluate", help="Compare the recommenders: leave out groups of datasets."),
    ] = False,
    store: StoreOption = STORE,
    sweep: Annotated[
        list[str] | None, typer.Option("--sweep", help="Only this sweep; several may be named. Default: all.")
    ] = None,
    related: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=dataset,dataset: these are left out together. Known without: train sizes of one "
            "dataset (trec-500, trec-2000), and datasets of one source."
        ),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(help="With --dataset: as if this dataset of the store, and its group, had never been."),
    ] = None,
    probe: Annotated[
        bool,
        typer.Option(
            "--probe", help="Train a few configs for a short while first, where a recommender wins by that."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Good configs for a dataset that was never seen, from the trials of earlier ones."""
    if evaluate == (dataset is not None):
        raise InputError(
            "recommend: name the new dataset's file (--dataset my.yaml), or compare the recommenders "
            "(--evaluate)"
        )
    if dataset is None:
        asked: dict[str, object] = {
            "--without": without,
            "--probe": probe,
            "--student": student,
            "--max-parameters": max_parameters,
            "--max-latency": max_latency,
        }
        for option, value in asked.items():
            if value:
                raise InputError(f"{option}: is for a new dataset; leave it out, or name one (--dataset)")
        _evaluate(store, sweep or (), related or (), as_json)
        return
    from distiller.results.store import Store
    from distiller.search.advising import advised, write_recipes
    from distiller.search.candidates import Wanted
    from distiller.search.recommendation_text import render_recommendation
    from distiller.spaces.sweep import parse_sweep, sweep_text

    wanted = Wanted.of(student, max_parameters, max_latency)
    there = store != STORE or Store.is_at(store)
    opened = Store.open(store) if there else None
    text, base = sweep_text(dataset)
    read = parse_sweep(text, dataset, base)
    with errors.status("reading") as status:
        found = advised(
            read, base, opened, sweep or (), related or (), without or (), wanted, top, status.update, probe
        )
    paths = [write_recipes(read, base, one, opened.url if opened else "none", out) for one in found]
    if as_json:
        print_json(
            [{**one.to_dict(), "files": [str(p) for p in p]} for one, p in zip(found, paths, strict=True)]
        )
        return
    for one, written in zip(found, paths, strict=True):
        console.print(render_recommendation(one, written))


def _evaluate(store: str, sweep: Sequence[str], related: Sequence[str], as_json: bool) -> None:
    from distiller.results.recommendation.text import render_evaluation
    from distiller.results.store import Store
    from distiller.search.recommending import evaluated

    opened = Store.open(store)
    with errors.status("reading") as status:
        found, chosen = evaluated(opened, sweep, related, status.update)
    if as_json:
        print_json(found.to_dict() | {"chosen": vars(chosen)})
    else:
        console.print(render_evaluation(found, chosen))
