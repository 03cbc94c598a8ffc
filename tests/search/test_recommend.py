"""`distiller recommend --dataset`, warm starts and `--preset auto`, on a store of earlier trials."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml
from rich.console import Console

from distiller.pipelines.distill import Cohort, distill
from distiller.pipelines.member import Member
from distiller.results.store import Store
from distiller.search.advising import auto_sweep, place_of_dataset
from distiller.search.describing import described
from distiller.search.earlier import KEPT, evaluated_once, read_earlier
from distiller.search.frozen import freeze
from distiller.search.probing import probed
from distiller.search.rows import space_columns
from distiller.search.warm import check_warm, warm_start
from distiller.spaces.config import PipelineConfig
from distiller.spaces.errors import InputError
from distiller.spaces.narrowing import narrowed_to
from distiller.spaces.presets import PRESETS
from distiller.spaces.recipe import parse_recipe
from distiller.spaces.sweep import auto_name, parse_sweep, warm_started
from tests.search.trials import WIDE, make

KNOWN = ("birds", "fish", "horses", "opinions-500", "opinions-2000")
EARLIER = {
    "name": "zoo",
    "datasets": {name: {"train": "a.csv", "text": "t", "label": "l"} for name in KNOWN},
    "teachers": {"bert": {"model": "m"}},
    "space": WIDE,
    "budget": {"steps": 12},
}
NEW = """\
name: {name}
datasets:
  animals: {{train: animals-train-*.csv, validation: animals-validation.csv, test: animals-test.csv,
            text: body, label: kind, max_length: 16}}
teachers:
  own: {{model: teacher, fine_tune: {{epochs: 1, learning_rate: 3e-3, batch_size: 8}}}}
{space}
budget: {{steps: 12}}
cache: {{path: cache}}
"""
SPACE = f"space: {json.dumps({k: v for k, v in WIDE.items() if k != 'teacher'})}"


def rate(config):
    return np.log10(config.optimization.learning_rate)


def earlier(url, datasets=KNOWN, count=12):
    """A store with a sweep `zoo`: everywhere a learning rate of 0.01 is best."""
    store = Store.create(str(url))
    store.write_text("zoo", "sweep.yaml", yaml.safe_dump(EARLIER))
    rng = np.random.default_rng(0)
    sampler = make(sampler="random")
    configs = {config.config_id: config for config, _ in (sampler.propose() for _ in range(count))}
    for number, dataset in enumerate(datasets):
        facts = {"words_mean": 10.0 + number, "small_student_score": 0.3, "pair": bool(number % 2)}
        store.write_dataset({"sweep": "zoo", "dataset": dataset, "teacher_score": 0.9, **facts})
        for name, config in configs.items():
            score = 0.8 - 0.1 * (rate(config) + 2) ** 2 + 0.001 * rng.normal()
            identity = {"sweep": "zoo", "dataset": dataset, "config_id": name, "seed": 0, "attempt": 1,
                        "role": "search", "trial_id": f"{dataset}-{name}-0-search"}  # fmt: skip
            row = {**identity, **config.columns(), "origin": "prior", "status": "completed", "score": score,
                   "config": config.model_dump_json(), "steps": 12, "budget_steps": 12, "fidelity": 1.0,
                   "teacher_score": 0.9, "parameters": 1000 * config.student.layers,
                   "latency_ms": 1.5}  # fmt: skip
            store.write_trial(row, space_columns(config))
    return store, configs


@pytest.fixture
def known(place):
    place.write("new.yaml", NEW.format(name="new", space=SPACE))
    return (place, *earlier(place.folder / "earlier"))


def best_of(configs, count, **student):
    good = sorted(configs.values(), key=lambda config: abs(rate(config) + 2))
    return [c for c in good if all(getattr(c.student, k) == v for k, v in student.items())][:count]


def test_recommended_configs_are_recipes_that_train(command, known):
    place, _store, configs = known
    done = command(
        place.folder, "recommend", "--dataset", "new.yaml", "--store", "earlier", "--top", "3", "--json"
    )
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)
    assert found["dataset"] == "animals"
    assert len(found["configs"]) == 3
    wanted = {narrowed_to(c)["optimization"]["learning_rate"] for c in best_of(configs, 5)}
    for one, path in zip(found["configs"], found["files"], strict=True):
        config = PipelineConfig.model_validate(one["config"])
        assert config.teacher_name == "own"
        assert config.optimization.learning_rate in wanted
        assert one["ratio"]["low"] < one["ratio"]["value"] < one["ratio"]["high"]
        assert one["ratio"]["value"] == pytest.approx(0.8 / 0.9, abs=0.1)
        recipe = parse_recipe((place.folder / path).read_text(), path, place.folder)
        assert recipe.config == config
        assert recipe.budget.steps == 12
        assert recipe.provenance["recommended"] in (1, 2, 3)
    advice = found["advice"]
    assert (advice["datasets"], advice["groups"], advice["trials"]) == (5, 4, 5 * len(configs))
    assert advice["nearest"]
    trained = place.run("train", found["files"][0], "--out", "student")
    assert trained.returncode == 0, trained.stderr
    assert (place.folder / "student/model.safetensors").exists()


def test_the_terminal_says_what_why_and_on_what_it_rests(command, known):
    place, _store, configs = known
    done = command(place.folder, "recommend", "--dataset", "new.yaml", "--store", "earlier", "--top", "2")
    said = " ".join(done.stdout.split())
    assert "1 recommended/animals-1.yaml" in said
    assert "of the teacher's score, 95% interval" in said
    assert "carried by optimization +" in said
    assert f"rests on {5 * len(configs)} trials of {len(configs)} configs, on 5 datasets in 4 groups" in said
    assert "most alike:" in said
    blocks = [block.splitlines()[3:] for block in done.stdout.split("recommended/")[1:]]
    lines = [line.strip() for line in blocks[0]]
    text = "\n".join(line for line in lines if line.split(":")[0] in PipelineConfig.model_fields)
    shown = PipelineConfig.model_validate(yaml.safe_load(text))
    recipe = yaml.safe_load((place.folder / "recommended/animals-1.yaml").read_text())
    assert shown == PipelineConfig.model_validate(recipe["config"])


def test_students_and_limits_are_kept_to(command, known):
    place, _store, _configs = known
    common = ("recommend", "--dataset", "new.yaml", "--store", "earlier", "--json")
    for asked in (("--student", "layers=1"), ("--max-parameters", "1500")):
        (found,) = json.loads(command(place.folder, *common, *asked).stdout)
        tried = [one for one in found["configs"] if one["preset"] is None]
        assert {one["config"]["student"]["layers"] for one in tried} == {1}
    done = command(place.folder, *common, "--max-latency", "0.5")
    (found,) = json.loads(done.stdout)
    assert all(one["preset"] for one in found["configs"])
    assert any("whether they keep to the limits is not known" in note for note in found["notes"])


def test_a_dataset_and_its_group_can_be_left_out(command, refused, known):
    place, *_ = known
    common = ("recommend", "--dataset", "new.yaml", "--store", "earlier")
    done = command(place.folder, *common, "--without", "opinions-500", "--json")
    (found,) = json.loads(done.stdout)
    assert (found["advice"]["datasets"], found["advice"]["groups"]) == (3, 3)
    assert "did you mean 'horses'" in refused(place.folder, *common, "--without", "horse")
    assert "did you mean 'zoo'" in refused(place.folder, *common, "--sweep", "zo")


@pytest.mark.parametrize("there", [False, True])
def test_without_trials_published_recipes_are_recommended(command, known, there):
    """No default store yet, or one whose only trials are this sweep's own."""
    place, *_ = known
    place.write("bare.yaml", NEW.format(name="zoo", space=""))
    common = ("recommend", "--dataset", "bare.yaml", "--json", *(("--store", "earlier") if there else ()))
    (found,) = json.loads(command(place.folder, *common).stdout)
    assert next(one["preset"] for one in found["configs"]) == "distiller_best"
    assert len(found["configs"]) == 5
    assert found["advice"] is None
    assert any(note.startswith("no earlier dataset has 5 configs") for note in found["notes"])
    first = PipelineConfig.model_validate(found["configs"][0]["config"])
    assert first.intermediate == PRESETS["distiller_best"].intermediate


def test_few_datasets_fall_back_to_the_portfolio_and_say_so(command, place):
    place.write("new.yaml", NEW.format(name="new", space=SPACE))
    earlier(place.folder / "earlier", KNOWN[:1])
    done = command(place.folder, "recommend", "--dataset", "new.yaml", "--store", "earlier", "--json")
    (found,) = json.loads(done.stdout)
    assert found["advice"]["chosen"]["method"] == "portfolio"
    assert "too few" in found["advice"]["chosen"]["reason"]
    assert found["configs"][0]["ratio"] is None


def test_bad_requests_are_refused(refused, known):
    place, *_ = known
    assert "--dataset my.yaml" in refused(place.folder, "recommend", "--store", "earlier")
    assert "--dataset my.yaml" in refused(place.folder, "recommend", "--dataset", "new.yaml", "--evaluate")
    for asked in (("--without", "fish"), ("--probe",), ("--student", "svd"), ("--max-latency", "2")):
        said = refused(place.folder, "recommend", "--evaluate", "--store", "earlier", *asked)
        assert said.startswith(f"{asked[0]}: is for a new dataset")
    assert "gone.yaml" in refused(place.folder, "recommend", "--dataset", "gone.yaml")
    assert "nowhere" in refused(place.folder, "recommend", "--dataset", "new.yaml", "--store", "nowhere")


def test_the_evaluation_is_kept_until_there_are_other_trials(tmp_path, monkeypatch):
    store, _ = earlier(tmp_path / "earlier")
    found = read_earlier(store, "new")
    first = evaluated_once(store, "zoo", found.tried)
    monkeypatch.setattr("distiller.search.earlier.evaluate", lambda *a, **k: pytest.fail("evaluated again"))
    assert evaluated_once(store, "zoo", found.tried) == first
    assert store.read_text("zoo", KEPT)
    monkeypatch.undo()
    less = read_earlier(store, "new", without=("birds",))
    assert set(evaluated_once(store, "zoo", less.tried).groups) == {"fish", "horses", "opinions"}


def sweep_of(place, text="new.yaml"):
    return parse_sweep((place.folder / text).read_text(), text, place.folder)


def test_a_search_starts_with_what_is_recommended(known):
    place, store, configs = known
    sweep = warm_started(sweep_of(place), ["recommend"])
    check_warm(sweep, place.folder, store)
    facts = {"words_mean": 12.0, "teacher_score": 0.8, "small_student_score": 0.2}
    store.write_text("new", "sweep.yaml", "")
    warm = warm_start(store, sweep, "animals", sweep.space_of("animals"), facts, place.folder)
    assert len(warm.configs) == 5
    assert all(sweep.space_of("animals").contains(config) for config in warm.configs)
    assert {c.optimization.learning_rate for c in warm.configs} <= {
        c.optimization.learning_rate for c in configs.values()
    }
    assert any("recommended by" in note for note in warm.notes)
    other = parse_sweep(
        NEW.format(
            name="new", space=f"{SPACE}\nsearch: {{warm_start: [hinton, {{recommend: 2, store: earlier}}]}}"
        ),
        "s.yaml",
    )
    empty = Store.create(str(place.folder / "empty"))
    empty.write_text("new", "sweep.yaml", "")
    assert (
        len(warm_start(empty, other, "animals", sweep.space_of("animals"), facts, place.folder).configs) == 2
    )


def test_auto_is_the_first_that_is_recommended_and_stays_it(known):
    place, store, _configs = known
    sweep = sweep_of(place)
    console = Console(quiet=True)
    auto = auto_sweep(sweep, place.folder, store.url, ["auto"], console)
    assert auto.name == auto_name("new") == "new-auto"
    (config,) = auto.space_of("animals").grid()
    assert rate(config) == pytest.approx(-2, abs=0.6)
    assert auto.search.trials == 1
    text = yaml.safe_dump(auto.model_dump(mode="json", exclude_unset=True))
    assert parse_sweep(text, "auto", place.folder) == auto
    freeze(store, auto, text, place.folder)
    earlier(store.url, KNOWN[:1], count=30)  # other trials would recommend another one
    assert auto_sweep(sweep, place.folder, store.url, ["auto"], console) == auto
    with pytest.raises(InputError, match="stands alone"):
        auto_sweep(sweep, place.folder, store.url, ["auto", "hinton"], console)


def test_cheap_trials_are_the_beginning_of_full_ones(known):
    place, store, configs = known
    sweep = sweep_of(place)
    material = described(sweep, "animals", place.folder, store).material
    where = place_of_dataset(sweep, "animals", place.folder)
    first = {name: where.fit(config) for name, config in list(configs.items())[:2]}
    said = []
    found = probed(material, 12, said.append, first, 1 / 3)
    assert said == [f"animals: 4 of 12 steps of config {number} of 2" for number in (1, 2)]
    for name, config in first.items():
        cohort = Cohort((Member(config, 0),), 12, 0, evaluations=3)
        (result,) = distill(cohort, material)
        assert [point.step for point in result.curve] == [4, 8, 12]
        assert found[name] == result.curve[0].score


def test_other_commands_know_no_auto(refused, known):
    place, *_ = known
    assert "--preset auto" in refused(place.folder, "plan", "new.yaml", "--preset", "auto")
    assert "'recommen' is no preset" in refused(
        place.folder, "launch", "new.yaml", "--warm-start", "recommen"
    )


@pytest.mark.slow
def test_auto_and_warm_starts_are_launched(known):
    place, store, configs = known
    rates = {config.optimization.learning_rate for config in configs.values()}
    text = NEW.format(name="new", space=SPACE) + "search: {trials: 3, finalists: {top: 1, seeds: 2}}\n"
    place.write("new.yaml", text)
    for extra in (("--preset", "auto"), ("--warm-start", "recommend")):
        for _ in range(2):
            done = place.run("launch", "new.yaml", "--store", "earlier", *extra)
            assert done.returncode == 0, done.stderr
        assert "every trial of this sweep has ended" in done.stdout
    auto = store.read("trials", "new-auto").to_pylist()
    assert [row["role"] for row in auto].count("search") == 1
    assert [row["role"] for row in auto].count("finalist") == 2
    assert {row["status"] for row in auto} == {"completed"}
    (first,) = (row for row in auto if row["role"] == "search")
    assert first["optimization_learning_rate"] in rates
    warm = [row for row in store.read("trials", "new").to_pylist() if row["role"] == "search"]
    assert [row["origin"] for row in warm] == ["warm"] * 3
    assert {row["optimization_learning_rate"] for row in warm} <= rates
    assert first["config_id"] in {row["config_id"] for row in warm}
