"""The Optuna mirror: every trial, as Optuna itself would have kept it."""

from __future__ import annotations

import json
import math
from urllib.parse import urlencode
from wsgiref.util import setup_testing_defaults

import optuna
import pytest
from optuna.trial import TrialState

from distiller.results.ended import ended_trials
from distiller.search.mirrors.feeding import Feed
from distiller.search.mirrors.mirror import Target
from distiller.search.mirrors.optuna import storage_at
from distiller.spaces.config import PipelineConfig
from distiller.spaces.priors import OneOf, is_constant

optuna.logging.set_verbosity(optuna.logging.WARNING)
STATES = {
    "completed": TrialState.COMPLETE,
    "stopped": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}


def studies(place):
    storage = storage_at(place)
    names = optuna.get_all_study_names(storage)
    return {name: optuna.load_study(study_name=name, storage=storage) for name in names}


def mirrored(made, place):
    feed = Feed(made.store, "demo", Target("optuna", place))
    added = feed.step()
    feed.close()
    return added


@pytest.fixture
def place(tmp_path):
    return str(tmp_path / "it's a journal")


def test_every_trial_is_there_as_it_was(made, place):
    assert mirrored(made, place) == len(made.rows)
    found = studies(place)
    assert set(found) == {
        f"demo/{d}/{r}" for d in made.sweep.datasets for r in ("search", "finalist", "baseline")
    }
    trials = {t.user_attrs["trial_id"]: (name, t) for name, study in found.items() for t in study.trials}
    assert set(trials) == {row["trial_id"] for row in made.rows}
    curves = {one.name: one.curve for one in ended_trials(made.store, "demo")}
    for row in made.rows:
        name, trial = trials[row["trial_id"]]
        assert name == f"demo/{row['dataset']}/{row['role']}"
        assert trial.state == STATES[row["status"]]
        assert trial.value == row["score"]
        assert trial.intermediate_values == {
            point["step"]: point["score"] for point in curves[row["trial_id"]]
        }
        assert len(trial.intermediate_values) == row["steps"] // 10
        assert trial.datetime_start.astimezone() == row["started_at"]
        assert trial.datetime_complete.astimezone() == row["ended_at"]
        assert PipelineConfig.model_validate_json(trial.user_attrs["config"]).config_id == row["config_id"]
        assert trial.user_attrs.get("error") == row.get("error")


def test_parameters_and_distributions_are_those_of_the_search(made, tmp_path):
    place = str(tmp_path / "journal")
    mirrored(made, place)
    for dataset in made.sweep.datasets:
        space = made.sweep.space_of(dataset)
        questions = {d.path: d for d in space.questions() if not is_constant(d.prior)}
        for trial in studies(place)[f"demo/{dataset}/search"].trials:
            config = PipelineConfig.model_validate_json(trial.user_attrs["config"])
            asked = {d.path for d, _ in space.decisions(config)}
            assert set(trial.params) == asked & set(questions)
            for path, value in trial.params.items():
                prior, distribution = questions[path].prior, trial.distributions[path]
                assert value == config.columns()[questions[path].column]
                if isinstance(prior, OneOf):
                    assert distribution.choices == prior.values
                else:
                    assert (distribution.low, distribution.high) == (prior.low, prior.high)
                    assert getattr(prior, "log", False) == distribution.log


def test_optuna_reads_it_as_a_study_of_its_own(made, tmp_path):
    mirrored(made, str(tmp_path / "journal"))
    study = studies(str(tmp_path / "journal"))["demo/trec/search"]
    best = max(
        (r for r in made.rows if (r["dataset"], r["role"], r["status"]) == ("trec", "search", "completed")),
        key=lambda row: row["score"],
    )
    assert study.best_trial.user_attrs["trial_id"] == best["trial_id"]
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE
    assert study.user_attrs["metric"] == "matthews"
    assert len(study.trials_dataframe()) == 4


def test_baselines_have_the_parameters_that_the_space_knows(made, tmp_path):
    mirrored(made, str(tmp_path / "journal"))
    for trial in studies(str(tmp_path / "journal"))["demo/trec/baseline"].trials:
        config = PipelineConfig.model_validate_json(trial.user_attrs["config"])
        assert trial.params["student.svd.layers"] == config.student.layers
        assert not [
            path for path in trial.params if path.startswith("prediction")
        ]  # kl and labels are not in it


def test_each_trial_once_also_after_a_relaunch(made, place):
    mirrored(made, place)
    assert mirrored(made, place) == 0
    made.trial("trec", made.config("trec"), 0.9)
    assert mirrored(made, place) == 1
    names = [t.user_attrs["trial_id"] for study in studies(place).values() for t in study.trials]
    assert sorted(names) == sorted(row["trial_id"] for row in made.rows)


def test_a_score_that_is_no_number_is_a_failure_to_optuna(demo, tmp_path):
    made = demo(datasets={"trec": "{builtin: trec}"})
    made.trial("trec", made.config("trec"), math.nan, steps=0)
    assert mirrored(made, str(tmp_path / "journal")) == 1
    (trial,) = studies(str(tmp_path / "journal"))["demo/trec/search"].trials
    assert (trial.state, trial.value) == (TrialState.FAIL, None)
    assert trial.user_attrs["status"] == "completed"


def test_a_database_takes_them_too(demo, tmp_path):
    made, place = demo(datasets={"trec": "{builtin: trec}"}), f"sqlite:///{tmp_path}/o p.db"
    for score, status in ((0.5, "completed"), (0.4, "stopped"), (None, "failed")):
        made.trial("trec", made.config("trec"), score, status=status)
    assert (mirrored(made, place), mirrored(made, place)) == (3, 0)
    states = [trial.state for trial in studies(place)["demo/trec/search"].trials]
    assert states == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL]


@pytest.mark.filterwarnings("ignore")  # its own, of packages that it draws in
def test_optuna_dashboard_opens_it(made, tmp_path):
    dashboard = pytest.importorskip("optuna_dashboard", reason="pip install optuna-dashboard")
    mirrored(made, str(tmp_path / "journal"))
    app = dashboard.wsgi(storage_at(str(tmp_path / "journal")))

    def get(path, **query):
        environ, answered = {"PATH_INFO": path, "QUERY_STRING": urlencode(query)}, []
        setup_testing_defaults(environ)
        body = b"".join(app(environ, lambda status, headers, error=None: answered.append(status)))
        assert answered == ["200 OK"], body
        return json.loads(body)

    listed = {one["study_name"]: one["study_id"] for one in get("/api/studies")["study_summaries"]}
    assert set(listed) == set(studies(str(tmp_path / "journal")))
    detail = get(f"/api/studies/{listed['demo/trec/search']}", after=0)
    expected = [r for r in made.rows if (r["dataset"], r["role"]) == ("trec", "search")]
    assert [trial["state"] for trial in detail["trials"]] == ["Complete", "Pruned", "Complete", "Fail"]
    scores = [trial["values"][0] for trial in detail["trials"] if trial["state"] == "Complete"]
    assert scores == [row["score"] for row in expected if row["status"] == "completed"]
