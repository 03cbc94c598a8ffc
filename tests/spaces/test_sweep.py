import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from distiller.spaces.errors import InputError
from distiller.spaces.files import write_yaml
from distiller.spaces.search import Asha, Hyperband, MedianStopping, Pasha
from distiller.spaces.sweep import bundled_sweeps, parse_sweep, sweep_text

MINIMAL = "name: first\ndatasets: {trec: {builtin: trec}}\nteachers: {minilm: {model: some/model}}\n"


def parsed(more=""):
    return parse_sweep(MINIMAL + more, "s.yaml")


def refusal(text):
    with pytest.raises(InputError) as refused:
        parse_sweep(text, "s.yaml")
    assert str(refused.value).isprintable()
    return str(refused.value)


def teachers_of(sweep, dataset="trec"):
    return [node.children["checkpoint"].values for node in sweep.space_of(dataset).stages["teacher"]]


def test_a_minimal_sweep():
    sweep = parsed()
    assert sweep.rungs() == [111, 333, 1000]
    assert teachers_of(sweep) == [("minilm",)]
    assert sweep.search.finalists.model_dump() == {"top": 3, "seeds": 3}
    again = parse_sweep(write_yaml(sweep.model_dump(mode="json", exclude_unset=True)), "s.yaml")
    assert again == sweep
    assert parsed("space:\nspace_for:\n") == sweep


def test_a_dataset_may_have_a_space_of_its_own():
    sweep = parse_sweep(
        MINIMAL.replace("trec: {builtin: trec}", "trec: {builtin: trec}, tweets: {builtin: tweets}")
        + "space: {prediction: [kl, mse], student: svd}\nspace_for: {tweets: {prediction: mse}}\n",
        "s.yaml",
    )
    trec, tweets = sweep.space_of("trec"), sweep.space_of("tweets")
    assert list(trec.stages["prediction"][0].choices) == ["kl", "mse"]
    assert list(tweets.stages["prediction"][0].choices) == ["mse"]
    assert tweets.stages["student"] == trec.stages["student"]


def test_train_size_is_a_factor():
    sizes = MINIMAL.replace("{builtin: trec}", "{builtin: trec, train_rows: [500, 2000]}")
    sweep = parse_sweep(
        sizes + "space_for: {trec: {prediction: mse}, trec-500: {prediction: ce}}\n", "s.yaml"
    )
    assert {name: config.train_rows for name, config in sweep.datasets.items()} == {
        "trec-500": 500,
        "trec-2000": 2000,
    }
    assert list(sweep.space_of("trec-500").stages["prediction"][0].choices) == ["ce"]
    assert list(sweep.space_of("trec-2000").stages["prediction"][0].choices) == ["mse"]
    assert parse_sweep(write_yaml(sweep.model_dump(mode="json", exclude_unset=True)), "s.yaml") == sweep
    assert "datasets.trec.train_rows: [500, 500] names a size twice" in refusal(sizes.replace("2000", "500"))
    assert "space_for.trec" in refusal(MINIMAL.replace("trec:", "other:") + "space_for: {trec: {}}\n")


@pytest.mark.parametrize(
    ("space", "slots"),
    [
        ("", [("minilm", "big")]),
        ("space: {teacher: }", [("minilm", "big")]),
        ("space: {teacher: {checkpoint: big}}", [("big",)]),
        ("space: {teacher: {checkpoint: [big, minilm]}}", [("big", "minilm")]),
        ("space: {teacher: {slots: [{checkpoint: big}, {}]}}", [("big",), ("minilm", "big")]),
        ("space_for: {trec: {teacher: {checkpoint: big}}}", [("big",)]),
    ],
)
def test_teachers_are_all_that_the_sweep_names_unless_said(space, slots):
    text = MINIMAL.replace("some/model}", "some/model}, big: {model: other, fine_tune: true}")
    assert teachers_of(parse_sweep(text + space, "s.yaml")) == slots


def test_fine_tune_is_yes_no_or_how():
    for written, found in [("true", 5), ("false", None), ("{epochs: 2}", 2)]:
        text = MINIMAL.replace("some/model", f"m, fine_tune: {written}")
        fine_tune = parse_sweep(text, "s.yaml").teachers["minilm"].fine_tune
        assert (fine_tune and fine_tune.epochs) == found


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("asha", Asha()),
        ("none", None),
        ("null", None),
        ("{asha: }", Asha()),
        ("{asha: {reduction: 2, min_share: 0.25}}", Asha(reduction=2, min_share=0.25)),
        ("{reduction: 2}", Asha(reduction=2)),
        ("{kind: asha, reduction: 2}", Asha(reduction=2)),
        ("hyperband", Hyperband()),
        ("{pasha: {min_share: 0.25}}", Pasha(min_share=0.25)),
        ("{median: {checks: 4}}", MedianStopping(checks=4)),
    ],
)
def test_spellings_of_the_scheduler(written, found):
    sweep = parsed(f"search: {{scheduler: {written}}}\nbudget: {{steps: 100}}")
    assert sweep.search.scheduler == found
    assert sweep.rungs() == (found.rungs(100) if found else [100])


@pytest.mark.parametrize(
    ("asha", "budget", "rungs"),
    [
        ({}, 1, [1]),
        ({}, 2, [1, 2]),
        ({}, 9, [1, 3, 9]),
        ({}, 10, [1, 3, 10]),
        ({}, 250, [28, 83, 250]),
        ({"reduction": 2, "min_share": 0.25}, 100, [25, 50, 100]),
        ({"reduction": 4, "min_share": 0.5}, 100, [50, 100]),
        ({"reduction": 10, "min_share": 0.001}, 1000, [1, 10, 100, 1000]),
    ],
)
def test_rungs(asha, budget, rungs):
    assert Asha(**asha).rungs(budget) == Hyperband(**asha).rungs(budget) == rungs


@pytest.mark.parametrize(
    ("median", "budget", "rungs"),
    [({}, 1000, [250, 375, 500, 625, 750, 875, 1000]), ({"checks": 2}, 10, [5, 10]), ({}, 1, [1]),
     ({"min_share": 0.9}, 100, [100]), ({"min_share": 0.5, "checks": 4}, 12, [6, 9, 12])],
)  # fmt: skip
def test_checks_of_the_median_rule(median, budget, rungs):
    assert MedianStopping(**median).rungs(budget) == rungs


@given(st.integers(2, 16), st.floats(0, 1, exclude_min=True, exclude_max=True), st.integers(1, 10**6))
@example(2, 5e-324, 10**6)
@example(2, 0.9999999999, 7)
def test_rungs_rise_to_the_budget(reduction, min_share, budget):
    rungs = Asha(reduction=reduction, min_share=min_share).rungs(budget)
    assert rungs == sorted(set(rungs))
    assert rungs[-1] == budget
    assert rungs[0] >= 1


@pytest.mark.parametrize(
    "name", ["..", ".", "../up", "a/b", "a\\b", "/etc", "", ".hidden", "-f", "a b", "a\n", "ü", "x" * 101]
)
@pytest.mark.parametrize(
    "place", ["name: {}", "datasets: {{{}: {{builtin: trec}}}}", "teachers: {{{}: {{model: m}}}}"]
)
def test_names_that_could_leave_their_folder_are_refused(name, place):
    line = place.format(write_yaml([name]).removeprefix("- ").strip() if name.isprintable() else '"a\\n"')
    key = place.split(":")[0]
    kept = "\n".join(other for other in MINIMAL.splitlines() if not other.startswith(key))
    message = refusal(f"{kept}\n{line}")
    assert message.startswith(f"s.yaml: {key}")
    assert "pattern" in message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "s.yaml: holds no mapping"),
        ("name: x", "s.yaml: datasets: missing; write it (and 1 more)"),
        (
            MINIMAL + "search: {scheduler: ashaa}",
            "s.yaml: search.scheduler: 'ashaa': is no scheduler; write asha, hyperband",
        ),
        (
            MINIMAL + "search: {sampler: bayes}",
            "s.yaml: search.sampler: 'bayes': Input should be 'tpe', 'bohb', 'random'",
        ),
        (
            MINIMAL + "search: {scheduler: {asha: {reduction: 1}}}",
            "s.yaml: search.scheduler.asha.reduction: 1: Input should",
        ),
        (
            MINIMAL + "search: {sampler: bohb, scheduler: none}",
            "s.yaml: search: sampler bohb models trials that a scheduler stopped; write scheduler: asha or",
        ),
        (
            MINIMAL + "search: {objectives: [score, latency]}",
            "s.yaml: search: objectives score, latency: scheduler asha compares scores alone and would stop",
        ),
        (
            MINIMAL + "search: {objectives: latency, scheduler: none}",
            "s.yaml: search.objectives: 'latency': score is one of the objectives",
        ),
        (
            MINIMAL + "search: {objectives: [score, size], scheduler: none}",
            "s.yaml: search.objectives.1: 'size': Input should be 'score', 'parameters', 'flops'",
        ),
        (
            MINIMAL + "search: {cohort: 4, scheduler: pasha}",
            "s.yaml: search: scheduler pasha compares trials one by one, and a cohort of 4 halves itself",
        ),
        (
            MINIMAL + "search: {stop: {target: {trek: 0.5}}}",
            "s.yaml: search.stop.target.trek: no such dataset; did you mean 'trec'?",
        ),
        (
            MINIMAL + "search: {stop: {hour: 2}}",
            "s.yaml: search.stop.hour: unknown key; did you mean 'hours'?",
        ),
        (MINIMAL + "search: {warm_start: tinybrt}", "s.yaml: search.warm_start: 'tinybrt': 'tinybrt' is no"),
        (
            MINIMAL + "search: {warm_start: {store: a}}",
            "s.yaml: search.warm_start.0.store.sweep: missing; write it",
        ),
        (
            MINIMAL + "search: {warm_start: [{store: a, configs: b}]}",
            "s.yaml: search.warm_start.0: takes presets, recommend, {store: URL, sweep: NAME, top: 5} and",
        ),
        (
            MINIMAL + "space: {predicton: kl}",
            "s.yaml: space.predicton: unknown stage; did you mean 'prediction'?",
        ),
        (
            MINIMAL + "space: {prediction: {kl: {temperature: 0}}}",
            "s.yaml: space.prediction.kl.temperature: 0 is not",
        ),
        (MINIMAL + "space: [kl]", "s.yaml: space: Input should be a valid dictionary"),
        (MINIMAL + "space_for: {trek: {}}", "s.yaml: space_for.trek: no such dataset; did you mean 'trec'?"),
        (
            MINIMAL + "space_for: {trec: {predicton: kl}}",
            "s.yaml: space_for.trec.predicton: unknown stage; did you",
        ),
        (
            MINIMAL + "space_for: {trec: {prediction: kll}}",
            "s.yaml: space_for.trec.prediction.kll: unknown choice; did",
        ),
        (
            MINIMAL + "space: {teacher: {checkpoint: minilmm}}",
            "s.yaml: space.teacher.checkpoint: 'minilmm' is not under teachers:; did you mean 'minilm'?",
        ),
        (
            MINIMAL + "space: {teacher: {slots: [{}, {checkpoint: x}]}}",
            "s.yaml: space.teacher.2.checkpoint: 'x' is not",
        ),
        (
            MINIMAL + "space_for: {trec: {teacher: {checkpoint: x}}}",
            "s.yaml: space_for.trec.teacher.checkpoint: 'x' is",
        ),
        (
            MINIMAL + "resources: {gpus: -1}",
            "s.yaml: resources.gpus: -1: is no number of GPUs from 0 on; write one, such as 0.25, or auto",
        ),
        (
            MINIMAL + "budget: {steps: 0}",
            "s.yaml: budget.steps: 0: Input should be greater than or equal to 1",
        ),
    ],
)
def test_a_wrong_sweep_is_named_in_one_line(text, says):
    assert refusal(text).startswith(says)


def test_a_sweep_is_bundled_or_a_file(tmp_path):
    folder = tmp_path / "it's a folder"
    folder.mkdir()
    (folder / "mine.yaml").write_text(MINIMAL, "utf-8")
    assert sweep_text(str(folder / "mine.yaml")) == (MINIMAL, folder)
    with pytest.raises(InputError, match="no such file; check the path"):
        sweep_text(str(folder / "other.yaml"))
    with pytest.raises(
        InputError, match=r"^quickstrat: no such file or bundled sweep; did you mean 'quickstart'\?"
    ):
        sweep_text("quickstrat")


def test_bundled_sweeps_parse():
    assert "quickstart" in bundled_sweeps()
    for name in bundled_sweeps():
        text, _ = sweep_text(name)
        parse_sweep(text, name)
