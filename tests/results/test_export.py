"""Exported recipes: the right config, all that retraining needs, and clear refusals."""

import numpy as np
import pytest
import yaml

from distiller.results.export import export
from distiller.results.leaderboard import leaderboard
from distiller.spaces.errors import InputError
from distiller.spaces.recipe import parse_recipe


def test_recipe_of_each_winner_reads_back_with_its_scores(demo, tmp_path):
    made = demo().filled()
    out = tmp_path / "the 'best' ones"
    found = export(made.store, out=out)
    assert [e.dataset for e in found] == ["trec", "tweets"]
    assert [e.path for e in found] == [out / "trec.yaml", out / "tweets.yaml"] == sorted(out.iterdir())
    for one, board in zip(found, leaderboard(made.store, "demo"), strict=True):
        recipe = parse_recipe(one.path.read_text(), "x")
        assert recipe.config == board.winner.config
        assert recipe.dataset == made.sweep.datasets[one.dataset]
        assert (list(recipe.teachers), recipe.base) == (["minilm"], "/data/mine")
        assert recipe.budget.steps == 90
        scores = recipe.scores
        assert scores["validation"]["scores"] == [0.73, 0.745, 0.75]
        assert scores["validation"]["seeds"] == [101, 102, 103]
        assert scores["validation"]["sd"] == pytest.approx(np.std([0.73, 0.745, 0.75], ddof=1), rel=1e-5)
        assert scores["test"]["mean"] == pytest.approx(np.mean([0.71, 0.70, 0.735]), rel=1e-5)
        assert scores["no_teacher"]["test"]["scores"] == pytest.approx([0.64, 0.65, 0.67])
        assert scores["teacher"] == {"validation": 0.85, "test": 0.84}
        assert scores["metric"] == board.metric
        origin = recipe.provenance
        assert (origin["sweep"], origin["store"]) == ("demo", made.store.url)
        assert (origin["config_id"], origin["torch_version"]) == (recipe.config.config_id, "2.13.0")
        assert (origin["git_commit"], origin["device"]) == ("abc1234", "cpu")
        assert "3 new seed(s)" in one.basis == scores["basis"]


def test_limits_take_finalists_first_then_search_trials(demo, tmp_path):
    made = demo()
    big, mid, small, tiny = (made.config("trec") for _ in range(4))
    for config, size in ((big, 900), (mid, 500), (small, 400), (tiny, 100)):
        made.trial("trec", config, 0.9 if config is small else 0.5, parameters=size, latency_ms=size / 100)
    for config, size, score in ((big, 900, 0.8), (mid, 500, 0.6)):
        for seed in (1, 2, 3):
            made.trial("trec", config, score, "finalist", seed, parameters=size, latency_ms=size / 100)

    def chosen(**limits):
        (one,) = export(made.store, out=tmp_path, datasets=["trec"], **limits)
        return one.recipe.config, one.basis

    assert chosen() == (big, "best finalist: mean of 3 new seed(s) on validation")
    assert chosen(max_parameters=500)[0] == mid  # though a search trial within the limit has 0.9
    assert chosen(max_parameters=900, max_latency=5.0)[0] == mid
    config, basis = chosen(max_latency=4.5)
    assert config == small
    assert "best search trial within latency_ms <= 4.5" in basis
    assert "optimistic" in basis
    assert chosen(max_parameters=100)[0] == tiny
    with pytest.raises(InputError, match=r"trec: .*--max-parameters 99 \(the smallest is 100\)"):
        chosen(max_parameters=99)


def test_an_unmeasured_latency_satisfies_no_limit(demo, tmp_path):
    made = demo()
    made.trial("trec", made.config("trec"), 0.5, latency_ms=None)
    with pytest.raises(InputError, match="none was measured"):
        export(made.store, out=tmp_path / "o", datasets=["trec"], max_latency=1e9)
    assert not (tmp_path / "o").exists()


def test_which_sweep_must_be_clear(demo, tmp_path):
    first, second = demo(name="one"), demo(name="two")
    second.trial("trec", second.config("trec"), 0.5)
    with pytest.raises(InputError, match="one, two; name one"):
        export(first.store, out=tmp_path / "a")
    with pytest.raises(InputError, match="did you mean 'one'"):
        export(first.store, "onee", out=tmp_path / "a")
    with pytest.raises(InputError, match="did you mean 'trec'"):
        export(first.store, "one", out=tmp_path / "a", datasets=["trek"])
    assert [e.dataset for e in export(first.store, "two", out=tmp_path / "a")] == ["trec"]


def test_what_has_no_full_run_is_left_out_or_refused(demo, tmp_path, caplog):
    made = demo()
    with pytest.raises(InputError, match="no trial has completed"):
        export(made.store, out=tmp_path / "a")
    made.trial("trec", made.config("trec"), 0.5)
    made.trial("tweets", made.config("tweets"), 0.5, status="stopped")
    assert [e.dataset for e in export(made.store, out=tmp_path / "a")] == ["trec"]
    assert "tweets: not exported" in caplog.text
    with pytest.raises(InputError, match="tweets: no trial has completed"):
        export(made.store, out=tmp_path / "b", datasets=["trec", "tweets"])
    assert not (tmp_path / "b").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"--out .*file"):
        export(made.store, out=tmp_path / "file", datasets=["trec"])


def test_the_file_says_how_to_use_it_and_is_plain_yaml(demo, tmp_path):
    made = demo()
    made.trial("trec", made.config("trec"), 0.5)
    (one,) = export(made.store, out=tmp_path)
    text = one.path.read_text()
    assert text.startswith(f"# Train it again: distiller train {one.path.as_posix()}")
    assert set(yaml.safe_load(text)) >= {"name", "dataset", "teachers", "budget", "config", "scores"}
