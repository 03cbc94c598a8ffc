"""`distiller recommend`, loaded with the command line: it imports only what that has already."""

from __future__ import annotations

from typing import Annotated

import typer

from distiller.search.terminal import STORE, JsonOption, StoreOption, console, errors, print_json
from distiller.spaces.errors import InputError


def recommend(
    evaluate: Annotated[
        bool,
        typer.Option("--evaluate", help="Compare the recommenders, leaving out related datasets in turn."),
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
    as_json: JsonOption = False,
) -> None:
    """How well good configs for a new dataset can be told from the trials of earlier ones."""
    from distiller.results.recommendation.text import render_evaluation
    from distiller.results.store import Store
    from distiller.search.recommending import evaluated

    if not evaluate:
        raise InputError("recommend: add --evaluate, which compares the recommenders on the store's datasets")
    opened = Store.open(store)
    with errors.status("reading") as status:
        found, chosen = evaluated(opened, sweep or (), related or (), status.update)
    if as_json:
        print_json(found.to_dict() | {"chosen": vars(chosen)})
    else:
        console.print(render_evaluation(found, chosen))
