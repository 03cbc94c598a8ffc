"""Optuna studies as tables: against the study itself, and back to what its parameters were drawn from."""

import json
import sqlite3

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from distiller.results.imported import import_table, imported_designs, parse_mapping, read_import, suggest
from distiller.results.store import Store
from distiller.search.importing import source_table
from distiller.search.optuna_table import read_study
from distiller.spaces.errors import InputError
from distiller.spaces.priors import Integers, OneOf, Uniform

MAPPING = """
score: value
status: state
{more}
stages:
  optimizer: [params.opt, params.momentum, params.lr]
  network: [params.layers, params.width, params.drop]
ignore: [number, datetime_start, datetime_complete, user_attrs.machine]
"""


def objective(trial):
    """Conditional, with steps, reports and prunings."""
    opt = trial.suggest_categorical("opt", ["sgd", "adam"])
    if trial.number == 5:  # before its other parameters
        raise ValueError("broken")
    momentum = trial.suggest_float("momentum", 0.5, 0.99) if opt == "sgd" else 0.0
    lr = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
    layers, width = trial.suggest_int("layers", 1, 12), trial.suggest_int("width", 64, 256, step=64)
    drop = trial.suggest_float("drop", 0.0, 0.5, step=0.25)
    trial.set_user_attr("machine", {"name": "a"})
    value = 0.5 + 0.1 * momentum + 0.01 * layers + width / 1e4 - drop / 10 + lr
    for step in range(4):
        trial.report(value * (step + 1) / 4, step)
        if trial.number % 4 == 3 and step == 1:
            raise optuna.TrialPruned
    return value


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    """A study of 16 trials in both kinds of storage."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    folder = tmp_path_factory.mktemp("studied") / 'it\'s "a" place'
    folder.mkdir()
    journal = JournalStorage(JournalFileBackend(str(folder / "runs.log")))
    study = optuna.create_study(
        study_name="s", storage=journal, direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0)
    )
    study.optimize(objective, n_trials=16, catch=ValueError)
    optuna.copy_study(from_study_name="s", from_storage=journal, to_storage=f"sqlite:///{folder}/runs.db")
    return folder, study


@pytest.mark.parametrize("place", ["{0}/runs.log", "{0}/runs.db", "sqlite:///{0}/runs.db"])
def test_a_study_with_reports(studied, tmp_path, place):
    folder, study = studied
    table = source_table(place.format(folder), None)
    store = Store.create(str(tmp_path / "store"))
    more = "trial: number\nfidelity: step"
    text = MAPPING.format(more=more).replace("[number, ", "[")
    found = import_table(store, table, parse_mapping(text, "m"))
    states = [trial.state.name for trial in study.trials]
    assert found.status == {
        "completed": states.count("COMPLETE"),
        "stopped": states.count("PRUNED"),
        "failed": states.count("FAIL"),
    }
    rows = sorted(
        row["score"] for row in store.read("trials", "s").to_pylist() if row["status"] == "completed"
    )
    assert rows == sorted(trial.value for trial in study.trials if trial.state.name == "COMPLETE")
    stopped = [row for row in store.read("trials", "s").to_pylist() if row["status"] == "stopped"]
    assert {(row["steps"], row["fidelity"], row["budget_steps"]) for row in stopped} == {(2, 0.5, 4)}
    reports = sum(len(trial.intermediate_values) for trial in study.trials)
    assert sum(row["score"] is not None for row in store.read("epochs", "s").to_pylist()) == reports
    priors = {question.column: question.prior for question in imported_designs(store, "s")["s"].questions()}
    assert priors == {
        "optimizer_opt": OneOf("sgd", "adam"),
        "optimizer_momentum": Uniform(0.5, 0.99),
        "optimizer_lr": Uniform(1e-5, 1e-1, log=True),
        "network_layers": Integers(1, 12),
        "network_width": OneOf(64, 128, 192, 256),
        "network_drop": OneOf(0.0, 0.25, 0.5),
    }
    assert any("momentum: asked only where params.opt is sgd" in note for note in found.notes)


def test_a_suggestion_knows_what_the_study_knows(studied):
    folder, _ = studied
    table = source_table(str(folder / "runs.log"), "s")
    text = suggest(table)
    found = read_import(table, parse_mapping(text, "m"))
    assert "full: 4" in text
    assert set(found.design.columns()) == {"opt", "opt_momentum", "lr", "layers", "width", "drop"}
    assert found.status["stopped"] == 4


def test_a_study_without_reports_that_minimises(tmp_path):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    place = str(tmp_path / "x.log")
    journal = JournalStorage(JournalFileBackend(place))
    for name in ("one", "two"):
        study = optuna.create_study(
            study_name=name, storage=journal, sampler=optuna.samplers.RandomSampler(seed=1)
        )
        study.optimize(lambda trial: trial.suggest_float("x", -1, 1) ** 2, n_trials=5)
        study.enqueue_trial({"x": 0.5})
    with pytest.raises(InputError, match=r"holds one, two.*--study"):
        read_study(place)
    with pytest.raises(InputError, match="did you mean 'one'"):
        read_study(place, "onn")
    table = read_study(place, "one")
    found = read_import(table, parse_mapping(suggest(table), "m"))
    scores = found.rows.trials.column("score").to_pylist()
    assert scores == [
        -trial.value for trial in optuna.load_study(study_name="one", storage=journal).trials[:5]
    ]
    assert "1 rows of trials that have not ended are left out" in found.notes


def test_storages_that_are_none(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        source_table(f"sqlite:///{tmp_path}/gone.db", None)
    assert not (tmp_path / "gone.db").exists()
    with pytest.raises(InputError, match="no such file"):
        source_table(str(tmp_path / "gone"), None)
    (tmp_path / "text").write_text(json.dumps({"a": 1}))
    with pytest.raises(InputError, match="neither a table"):
        source_table(str(tmp_path / "text"), None)
    with pytest.raises(InputError, match="neither a table"):
        source_table(str(tmp_path), None)
    connection = sqlite3.connect(tmp_path / "other.db")
    connection.execute("CREATE TABLE t (a)")
    connection.close()
    before = (tmp_path / "other.db").read_bytes()
    with pytest.raises(InputError, match=r"Optuna cannot read it|holds no study"):
        source_table(str(tmp_path / "other.db"), None)
    assert (tmp_path / "other.db").read_bytes() == before
    (tmp_path / "t.csv").write_text("a\n1\n")
    with pytest.raises(InputError, match="--study x"):
        source_table(str(tmp_path / "t.csv"), "x")


def test_two_objectives_are_refused(tmp_path):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    place = str(tmp_path / "x.log")
    journal = JournalStorage(JournalFileBackend(place))
    study = optuna.create_study(storage=journal, directions=["minimize", "maximize"])
    study.optimize(lambda trial: (trial.suggest_float("x", 0, 1), 1.0), n_trials=2)
    with pytest.raises(InputError, match="2 objectives"):
        read_study(place)
