"""Every named query runs on an empty store and a filled one, and gives what pandas gives."""

import json

import numpy as np
import pandas as pd
import pytest

from distiller.results.frames import load, to_frame
from distiller.results.saved_queries import as_table, saved_queries, sql_of
from distiller.results.sql import query
from distiller.results.store import Store
from distiller.spaces.config import PipelineConfig
from distiller.spaces.errors import InputError
from tests.results.conftest import Demo

NAMES = ["best", "choices", "costs", "curves", "failures", "hosts", "no-teacher", "noise", "origins",
         "outcomes", "pace", "recipes", "rungs", "settings", "sizes", "top"]  # fmt: skip


@pytest.fixture(scope="module")
def saved():
    return saved_queries("memory://nowhere")


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A store with a sweep of every role and status, and a second seed of some search trials."""
    demo = Demo(tmp_path_factory.mktemp("saved") / "it's a store").filled(trials=6)
    whole = [row for row in demo.rows if (row["role"], row["status"]) == ("search", "completed")]
    for number, row in enumerate(whole):
        more = {"no_teacher_score": 0.6, "origin": "model", "train_seconds": 3.0, "host": "one"}
        again = PipelineConfig.model_validate_json(row["config"])
        if number % 2:
            demo.trial(row["dataset"], again, row["score"] + 0.01 * number, seed=7, **more)
    return demo.store


@pytest.fixture(scope="module")
def trials(filled):
    return load(filled.url)


def full(trials, role="search"):
    rows = trials[(trials["status"] == "completed") & (trials["fidelity"] >= 1) & trials["score"].notna()]
    return rows if role is None else rows[rows["role"] == role]


def ask(store, saved, name):
    return to_frame(query(store, saved[name].sql))


def equal(mine, theirs):
    """The same rows in the same order, whatever type numbers have."""
    assert list(mine.columns) == list(theirs.columns)
    assert len(mine) == len(theirs) > 0
    for name in mine.columns:
        for a, b in zip(mine[name], theirs[name], strict=True):
            if pd.isna(a) or pd.isna(b):
                assert pd.isna(a), (name, a, b)
                assert pd.isna(b), (name, a, b)
            else:
                assert a == (pytest.approx(b) if isinstance(b, (int, float)) else b), (name, a, b)


@pytest.mark.parametrize("name", NAMES)
def test_each_runs_on_an_empty_store_and_says_what_it_answers(tmp_path, saved, name):
    assert query(Store.create(str(tmp_path)), saved[name].sql).num_rows == 0
    assert saved[name].answers.endswith(".")
    assert saved[name].origin == "distiller"


def test_all_are_listed_and_checked_here(saved):
    assert list(saved) == NAMES
    assert as_table(saved).column("query").to_pylist() == NAMES


def by_best(trials):
    rows = full(trials).sort_values(["score", "config_id"], ascending=False)
    rows = rows.groupby("dataset", as_index=False).first().sort_values("dataset")
    rows["of_teacher"] = rows["score"] / rows["teacher_score"]
    return rows[["sweep", "dataset", "config_id", "metric", "score", "test_score", "teacher_score",
                 "of_teacher", "student", "parameters", "latency_ms"]]  # fmt: skip


def by_top(trials):
    groups = full(trials, None).groupby(["sweep", "dataset", "role", "config_id"])
    rows = groups.agg(
        seeds=("score", "size"), mean=("score", "mean"), sd=("score", "std"), config=("config", "first")
    )
    rows = rows.reset_index().sort_values(
        ["dataset", "role", "mean", "config_id"], ascending=[True, True, False, False]
    )
    return rows.groupby(["dataset", "role"]).head(10)


def by_outcomes(trials):
    rows = trials.groupby(["sweep", "dataset", "role"])["status"].agg(
        trials="size", **{s: lambda g, s=s: int((g == s).sum()) for s in ("completed", "stopped", "failed")}
    )
    return rows.reset_index()


def by_pace(trials):
    rows = trials.assign(hour=trials["ended_at"].dt.floor("h"), failed=trials["status"] == "failed")
    rows = rows.groupby(["sweep", "hour"]).agg(
        trials=("hour", "size"), failed=("failed", "sum"), mean_seconds=("wall_seconds", "mean")
    )
    return rows.reset_index()


def by_costs(trials):
    found = []
    for (sweep, dataset), rows in trials.groupby(["sweep", "dataset"]):
        total = rows["wall_seconds"].sum()
        shares = [rows.loc[rows["status"] == s, "wall_seconds"].sum() / total for s in ("failed", "stopped")]
        train = rows["train_seconds"].sum() / 3600
        found.append([sweep, dataset, len(rows), total / 3600, train, *shares])
    return pd.DataFrame(
        found,
        columns=["sweep", "dataset", "trials", "hours", "train_hours", "failed_share", "stopped_share"],
    )


def by_noise(trials):
    found = []
    for keys, rows in full(trials, None).groupby(["sweep", "dataset", "role"]):
        groups = [g["score"].to_numpy() for _, g in rows.groupby("config_id") if len(g) > 1]
        if groups:
            within = sum(((g - g.mean()) ** 2).sum() for g in groups) / sum(len(g) - 1 for g in groups)
            found.append([*keys, len(groups), sum(map(len, groups)), np.sqrt(within), rows["score"].std()])
    names = ["sweep", "dataset", "role", "configs", "runs", "sd_of_seeds", "sd_of_all"]
    return pd.DataFrame(found, columns=names)


def by_rungs(trials):
    rows = trials[trials["status"] == "stopped"].assign(share_of_budget=lambda r: r["fidelity"].round(6))
    rows = rows.groupby(["sweep", "dataset", "share_of_budget"])["score"]
    return rows.agg(stopped="size", worst="min", median="median", best="max").reset_index()


def leaves(value, path=()):
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, (*path, name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from leaves(inner, (*path, number))
    else:
        yield "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path)[1:], value


def written(trials):
    """[leaves of configs of whole search runs]"""
    return pd.DataFrame(
        [
            {
                "sweep": row["sweep"],
                "dataset": row["dataset"],
                "setting": name,
                "value": value,
                "score": row["score"],
            }
            for _, row in full(trials).iterrows()
            for name, value in leaves(json.loads(row["config"]))
        ]
    )


def by_choices(trials):
    rows = written(trials)
    rows = rows[rows["value"].map(lambda v: isinstance(v, str))].rename(columns={"value": "choice"})
    rows = rows.groupby(["sweep", "dataset", "setting", "choice"])["score"].agg(
        runs="size", mean="mean", best="max"
    )
    return rows.reset_index().sort_values(
        ["dataset", "setting", "mean", "choice"], ascending=[True, True, False, True]
    )


def by_settings(trials):
    rows = written(trials)
    rows = rows[rows["value"].map(lambda v: isinstance(v, (int, float)) and not isinstance(v, bool))]
    found = []
    for keys, group in rows.groupby(["sweep", "dataset", "setting"]):
        values = group["value"].astype(float)
        if values.min() < values.max():
            found.append(
                [*keys, len(group), values.min(), values.max(), values.corr(group["score"].astype(float))]
            )
    names = ["sweep", "dataset", "setting", "runs", "least", "greatest", "correlation"]
    return pd.DataFrame(found, columns=names).sort_values(
        ["dataset", "correlation", "setting"], key=lambda c: -c.abs() if c.name == "correlation" else c
    )


def by_no_teacher(trials):
    rows = full(trials)
    rows = rows[rows["no_teacher_score"].notna()].assign(gain=lambda r: r["score"] - r["no_teacher_score"])
    rows = rows.groupby(["sweep", "dataset"])["gain"]
    return rows.agg(
        runs="size", beat_it=lambda g: (g > 0).mean(), mean_gain="mean", best_gain="max"
    ).reset_index()


def by_recipes(trials):
    rows = full(trials, None)
    rows = rows[rows["preset"].notna() | (rows["role"] != "search")]
    rows = rows.assign(recipe=rows["preset"].fillna(rows["role"]))
    rows = rows.groupby(["sweep", "dataset", "recipe", "role"]).agg(
        runs=("score", "size"), mean=("score", "mean"), sd=("score", "std"), test_mean=("test_score", "mean")
    )
    return rows.reset_index().sort_values(["dataset", "mean"], ascending=[True, False])


def by_sizes(trials):
    found = []
    for (sweep, dataset), rows in full(trials).groupby(["sweep", "dataset"]):
        best = -np.inf
        for parameters, same in rows.groupby("parameters"):
            top = same.loc[same["score"].idxmax()]
            if top["score"] > best:
                best = top["score"]
                found.append([sweep, dataset, parameters, top["student"], best])
    return pd.DataFrame(found, columns=["sweep", "dataset", "parameters", "student", "score"])


def by_origins(trials):
    rows = (
        full(trials)
        .groupby(["sweep", "dataset", "origin"])["score"]
        .agg(runs="size", mean="mean", best="max")
    )
    return rows.reset_index().sort_values(["dataset", "mean"], ascending=[True, False])


def by_hosts(trials):
    found = []
    for (host, device), rows in trials.groupby(["host", "device"], dropna=False):
        timed = rows[rows["train_seconds"].notna()]
        pace = timed["train_seconds"].sum() / timed["steps"].sum() * 1000 if len(timed) else None
        failed = (rows["status"] == "failed").sum()
        found.append([host, device, len(rows), failed, pace, rows["resumed_from"].notna().sum()])
    names = ["host", "device", "trials", "failed", "ms_a_step", "resumed"]
    return pd.DataFrame(found, columns=names).sort_values("trials", ascending=False)


TRUTH = {
    "best": by_best, "top": by_top, "outcomes": by_outcomes, "pace": by_pace, "costs": by_costs,
    "noise": by_noise, "rungs": by_rungs,
    "choices": by_choices, "settings": by_settings, "no-teacher": by_no_teacher,
    "recipes": by_recipes, "sizes": by_sizes, "origins": by_origins, "hosts": by_hosts,
}  # fmt: skip


@pytest.mark.parametrize("name", TRUTH)
def test_it_gives_what_pandas_gives(filled, trials, saved, name):
    equal(ask(filled, saved, name), TRUTH[name](trials))


def test_curves_are_those_of_the_epochs(filled, saved):
    rows = load(filled.url, "epochs")
    rows = rows[rows["score"].notna() & (rows["role"] == "search")]
    rows = rows.assign(share_of_budget=rows["fidelity"].round(6))
    wanted = rows.groupby(["sweep", "dataset", "share_of_budget"])["score"].agg(
        trials="size", mean="mean", best="max"
    )
    equal(ask(filled, saved, "curves"), wanted.reset_index())


def test_failures_are_one_cause_where_only_numbers_differ(filled, trials, saved):
    failed = trials[trials["status"] == "failed"]
    (row,) = ask(filled, saved, "failures").to_dict("records")
    assert row["cause"] == "ValueError: loss is nan at step #"
    assert (row["trials"], row["datasets"]) == (len(failed), failed["dataset"].nunique())
    assert row["example"] == failed["trial_id"].min()


def test_own_queries_beside_the_store_or_elsewhere(tmp_path):
    own = tmp_path / "queries"
    own.mkdir()
    (own / "mine.sql").write_text("-- How many there are.\nSELECT count(*) AS n FROM trials\n")
    (own / "best.sql").write_text("SELECT 1")
    (own / "notes.txt").write_text("no query")
    found = saved_queries(str(tmp_path / "store"))
    assert (found["mine"].answers, found["mine"].origin) == ("How many there are.", str(own / "mine.sql"))
    assert found["best"].sql == "SELECT 1"
    assert set(found) == {*NAMES, "mine"}
    assert set(saved_queries("memory://store", own)) == {*NAMES, "mine"}
    assert query(Store.create(str(tmp_path / "store")), sql_of(" mine\n", found)).to_pylist() == [{"n": 0}]
    assert sql_of("SELECT 1", found) == "SELECT 1"
    with pytest.raises(InputError, match="did you mean 'mine'"):
        sql_of("mien", found)
    with pytest.raises(InputError, match="no such folder"):
        saved_queries("x", tmp_path / "gone")
    (own / "a b.sql").write_text("SELECT 1")
    with pytest.raises(InputError, match="a b"):
        saved_queries("x", own)


@pytest.mark.parametrize(
    "sql", ["COPY trials TO 'x.csv'", "SELECT * FROM read_text('/etc/passwd')", "SELECT 1; SELECT 2"]
)
def test_own_queries_are_under_the_same_lock(tmp_path, sql):
    own = tmp_path / "queries"
    own.mkdir()
    (own / "bad.sql").write_text(f"-- Reads a file.\n{sql}\n")
    store = Store.create(str(tmp_path / "store"))
    with pytest.raises(InputError, match="SQL:"):
        query(store, sql_of("bad", saved_queries(store.url)))
