"""The report as a browser and a suspicious reader see it, and its figures against brute force."""

import csv
import html
import io
import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller.results.design import Design
from distiller.results.leaderboard import leaderboard
from distiller.results.report import write_report
from distiller.results.report.figure import Figure, label, thinned
from distiller.results.report.parallel import parallel
from distiller.results.report.regret import regret_map
from distiller.results.report.searched import answers, counted, searched
from distiller.results.report.trials import pareto_front
from distiller.results.report.words import capital
from distiller.spaces.errors import InputError
from tests.results.analysed import analysis, regret
from tests.results.conftest import Demo

VOID = {"meta", "br", "hr", "img", "input", "link"}
ATTACK = "</script><script>alert('x')</script><img src=http://evil.example/a.png onerror=alert(1)>"


class Page(HTMLParser):
    """Tags with attributes, the text outside scripts, and whether every tag is closed in its place."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.text, self.open, self.scripts = [], "", [], []
        self.source = path.read_text("utf-8")
        self.feed(self.source)
        self.close()
        assert self.open == []
        self.ids = {of["id"] for _, of in self.tags if "id" in of}
        self.figures = json.loads(next(body for of, body in self.scripts if of.get("id") == "figures"))
        self.drawn = [of["data-figure"] for _, of in self.tags if "data-figure" in of]

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append([dict(attrs), ""])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data):
        if self.open[-1:] == ["script"]:
            self.scripts[-1][1] += data
        elif self.open[-1:] != ["style"]:
            self.text += re.sub(r"\s+", " ", data.replace("\N{NO-BREAK SPACE}", " "))


@pytest.fixture
def page(tmp_path):
    out = tmp_path / "a 'b'" / "report.html"
    return lambda store, name="demo", known=None: Page(write_report(store, name, out, known).path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A sweep of every role and status, its analysis, and the report of both."""
    made = Demo(tmp_path_factory.mktemp("report") / 'it\'s "a" store').filled()
    known = analysis(designs(made))
    written = write_report(made.store, "demo", tmp_path_factory.mktemp("a 'b'") / "report.html", known)
    return SimpleNamespace(made=made, known=known, report=written, page=Page(written.path))


def designs(made):
    return {dataset: Design.of(made.sweep.space_of(dataset)) for dataset in made.sweep.datasets}


def assert_offline(page):
    """Nothing is loaded from anywhere, and the browser is told to refuse it."""
    for tag, attributes in page.tags:
        assert tag not in {"link", "img", "iframe", "object", "embed", "base", "form"}
        for name in ("src", "srcset", "data", "action", "background"):
            assert name not in attributes
        assert attributes.get("href", "#").startswith("#")
        assert not [name for name in attributes if name.startswith("on")]
    assert {of["href"][1:] for _, of in page.tags if "href" in of} <= page.ids
    (policy,) = [of["content"] for _, of in page.tags if "http-equiv" in of]
    nonce = re.search(r"script-src 'nonce-([^']+)'", policy).group(1)
    assert "default-src 'none'" in policy
    assert [of.get("nonce", of.get("type")) for of, _ in page.scripts] == ["application/json", nonce, nonce]
    style = re.search(r"<style>(.*?)</style>", page.source, re.DOTALL).group(1)
    assert not re.search(r"url\(|@import", style)


def test_the_whole_report(whole):
    made, found = whole.made, whole.page
    assert_offline(found)
    assert sorted(found.drawn) == sorted(found.figures)
    assert found.source.count("plotly.js v") == 1
    for board in leaderboard(made.store, "demo"):
        for words in (board.dataset, str(board.winner.test), str(board.gain), "more than the noise"):
            assert words in found.text
        assert board.winner.config_id in found.text
    assert "38 completed, 4 stopped early, 4 failed" in found.text
    assert "loss is nan" in found.text
    for words in (
        "50% (46% to 55%)",
        "Claim number 2 holds cannot tell",
        "top 10%",
        "tinybert",
        "12% of the variance of full runs (from 6 repeats)",
    ):
        assert words in found.text
    assert "distiller launch sweep.yaml" in found.text
    assert "distiller train best/tweets.yaml" in found.text
    curves = found.figures["trec-learning-curves"]["data"]
    winner = next(t for t in curves if t["name"] == "winner (3)")
    finals = [y for y, following in zip(winner["y"], winner["y"][1:], strict=False) if following is None]
    assert finals == pytest.approx([0.73, 0.745, 0.75])
    stopped = next(t for t in curves if t["name"].startswith("stopped early"))
    assert max(x for x in stopped["x"] if x) == 30


def test_texts_from_the_store_cannot_become_markup(demo, page):
    made = demo()
    for i in range(4):
        made.trial("trec", made.config("trec"), 0.5 + i / 10, student=ATTACK)
    said = {"error": ATTACK, "traceback": ATTACK, "device": ATTACK}
    made.trial("trec", made.config("trec"), None, status="failed", **said)
    made.store.write_text("demo", "sweep.yaml", made.text + f"# {ATTACK}\n")
    launched = {"git_commit": ATTACK, "distiller_version": ATTACK}
    made.store.write_text("demo", "sweep.json", json.dumps(launched))
    found = page(made.store)
    assert_offline(found)
    assert found.text.count("alert('x')") >= 4  # shown as what it is
    assert ATTACK not in found.source
    drawn = [trace for figure in found.figures.values() for trace in figure.get("data", ())]
    said = [text for trace in drawn for text in trace.get("text") or ()]
    assert said
    assert not [text for text in said if text and "<" in text]  # Plotly takes markup in its labels


@pytest.mark.parametrize("kind", ["empty", "failed", "stopped", "one", "ten"])
def test_any_sweep_has_a_page(demo, page, kind):
    tail = "with.a-very-long-name-that-goes-on-and-on-" + 40 * "x"
    long = {f"dataset-{i}_{tail}": "{builtin: sms}" for i in range(10)}
    made = demo(datasets={"one": {"trec": "{builtin: trec}"}, "ten": long}.get(kind))
    for dataset in made.sweep.datasets if kind != "empty" else ():
        status = kind if kind in ("failed", "stopped") else "completed"
        score = None if kind == "failed" else 0.5
        unknown = {"parameters": None, "latency_ms": None}
        made.trial(dataset, made.config(dataset), score, status=status, error="E", **unknown)
    found = page(made.store)
    assert_offline(found)
    for number, dataset in enumerate(made.sweep.datasets):
        assert f"dataset-{number}" in found.ids
        assert dataset in found.text
    optimistic = "1 seed, chosen on the same validation rows"
    says = {"empty": "No trial has ended yet", "failed": "Every trial failed", "one": optimistic}
    assert {**says, "stopped": "no full run has completed", "ten": optimistic}[kind] in found.text


def test_what_is_missing_is_said(demo, page, tmp_path):
    made = demo(name="torn")
    for score in (0.5, 0.6):
        made.trial("trec", made.config("trec"), score)
    torn = sorted((tmp_path / 'it\'s "a" store' / "trials" / "torn").glob("*.parquet"))[0]
    torn.write_bytes(torn.read_bytes()[:100])
    identity = {"sweep": "torn", "dataset": "trec", "config_id": "abc", "seed": 0, "role": "search"}
    made.store.write_attempt({**identity, "trial_id": "trec-abc-0-search", "attempt": 1})
    text = page(made.store, "torn").text
    assert "1 file of the store could not be read" in text
    assert torn.name in text
    assert "2 trials are started and not ended" in text  # the torn one among them
    with pytest.raises(InputError, match="--out"):
        write_report(made.store, "torn", tmp_path)
    with pytest.raises(InputError, match="did you mean 'torn'"):
        write_report(made.store, "tron", tmp_path / "r.html")


few = st.integers(0, 6).map(float)


@given(st.lists(st.tuples(few, few), max_size=12))
@settings(max_examples=200, deadline=None)
def test_pareto_front_is_what_nothing_dominates(points):
    def dominated(cost, score):
        return any(c <= cost and s >= score and (c, s) != (cost, score) for c, s in points)

    front = pareto_front([c for c, _ in points], [s for _, s in points])
    assert sorted(front) == [i for i, point in enumerate(points) if not dominated(*point)]
    assert [points[i][0] for i in front] == sorted(points[i][0] for i in front)


@given(st.integers(0, 500), st.integers(3, 60))
@settings(max_examples=50, deadline=None)
def test_thinning_keeps_the_best_and_never_repeats(count, most):
    kept = thinned(range(count), most)
    assert len(kept) == len(set(kept)) == min(count, most)
    assert kept[: most // 3] == list(range(min(count, most // 3)))


def test_parallel_places_follow_values(demo):
    made = demo(datasets={"trec": "{builtin: trec}"})
    space = made.sweep.space_of("trec")
    rows = [made.trial("trec", made.config("trec"), score) for score in (0.2, 0.4, 0.9, 0.5, 0.6, 0.7)]
    made.trial("trec", made.config("trec"), 0.99, status="stopped")
    design = Design.of(space)
    figure = parallel(made.rows, design, "trec", "matthews", ["optimization_learning_rate"])
    drawn = figure.parallel
    names = list(figure.columns[2:])
    assert [f"{axis['stage']}_{axis['name']}" for axis in drawn["axes"]] == [*names[:-1], "score_matthews"]
    best_first = sorted(rows, key=lambda row: -row["score"])
    assert [line["text"].split(":")[0] for line in drawn["lines"]] == [row["config_id"] for row in best_first]
    for name in names[:-1]:
        i = names.index(name)
        values = [row.get(name) for row in best_first]
        places = [line["at"][i] for line in drawn["lines"]]
        assert [p is None for p in places] == [v is None for v in values]
        known = [(v, p) for v, p in zip(values, places, strict=True) if v is not None]
        assert len({v for v, _ in known}) == len({p for _, p in known})
        assert [p for _, p in sorted(known)] == sorted(p for _, p in known)
        assert all(0 <= p <= 1 for _, p in known)
    rates = np.array([row["optimization_learning_rate"] for row in best_first])  # a log range
    places = [line["at"][names.index("optimization_learning_rate")] for line in drawn["lines"]]
    logs = np.log(rates)
    assert places == pytest.approx((logs - logs.min()) / (logs.max() - logs.min()))
    assert [row[-1] for row in figure.rows] == [row["score"] for row in best_first]
    assert parallel(rows[:2], design, "trec", "matthews") is None


numbers = st.one_of(
    st.none(), st.integers(-9, 9), st.floats(allow_nan=False, allow_infinity=False), st.text()
)


@given(st.lists(st.tuples(numbers, numbers), max_size=5))
@settings(max_examples=100, deadline=None)
def test_csv_reads_back_to_six_digits(rows):
    text = Figure("name", "title", ("a,b", 'c"d'), rows).csv()
    header, *read = csv.reader(io.StringIO(text, newline=""))
    assert header == ["a,b", 'c"d']
    for row, cells in zip(rows, read, strict=True):
        for value, cell in zip(row, cells, strict=True):
            if isinstance(value, float):
                assert float(cell) == pytest.approx(value, rel=1e-5)
            else:
                assert cell == ("" if value is None else str(value))


@given(st.text(max_size=200), st.integers(8, 40))
@settings(max_examples=100, deadline=None)
def test_labels_are_short_and_no_markup(text, width):
    lines = label(text, width).split("<br>")
    assert len(lines) <= 3
    assert all(len(html.unescape(line)) <= width for line in lines)
    assert not [line for line in lines if "<" in line]


def test_every_figure_has_its_numbers(whole):
    known, report = whole.known, whole.report
    assert len(report.figures) == len({name.lower() for name in report.figures})
    for name, figure in report.figures.items():
        assert figure.rows, name
        assert {len(row) for row in figure.rows} == {len(figure.columns)}
    shares = {row[1:3]: row[3] for row in _named(report, "importance-over-datasets")}
    for dataset, one in known.importance.items():
        assert {stage: shares[one["verdict"], stage] for stage in one["stages"]} == {
            stage: shares["main"] for stage, shares in one["stages"].items()
        }, dataset
    apart = {row[0]: row[5] for row in _named(report, "trec-differences-intermediate_objective")}
    assert apart == pytest.approx({"mse": -0.01, "cosine": -0.02, "none": -0.03})
    front = [row[3:5] for row in _named(report, "trec-score-against-parameters") if row[-1]]
    points = [row[3:5] for row in _named(report, "trec-score-against-parameters") if row[0] != "baselines"]
    known_costs = [point for point in points if point[0] is not None]
    best = pareto_front([cost for cost, _ in known_costs], [score for _, score in known_costs])
    assert sorted(front) == sorted(known_costs[i] for i in best)
    regrets = {row[:2]: row[3] for row in _named(report, "regret")}
    assert regrets == {("trec", "tweets"): None, ("tweets", "trec"): 0.01}


def _named(report, name):
    return report.figures[name].rows


def test_the_space_in_words(demo):
    made = demo()
    design = designs(made)["trec"]
    (one,) = searched({"trec": design, "tweets": design})
    assert one.datasets == ["trec", "tweets"]
    assert set(one.stages) == set(design.searched_stages())
    said = [line.text for line in _all(one.stages["student"])]
    assert any("layers: 2, 3 or 4 (each with probability 1/3)" in text for text in said)
    assert any("hard_weight: 0 to 0.6 (uniform)" in line.text for line in _all(one.stages["prediction"]))
    assert "teacher_checkpoint = minilm" in one.fixed
    row = made.config("trec").columns()
    told = dict(answers(design, row))
    assert f"layers {row['student_layers']}" in told["student"]
    assert "combinations of choices" in one.counted
    assert counted(Design({"student": design.stages["teacher"]})) == "1 different config"


def _all(lines):
    return [inner for line in lines for inner in (line, *_all(line.below))]


@pytest.mark.parametrize("count", range(2, 9))
def test_regrets_of_eight_datasets_fit_on_a_phone(count):
    """336 pixels are left of a screen of 390; the browser's test says whether it all stands there."""
    names = [
        f"{name}-{size}" for name in ("trec", "amazon-reviews", "tweets", "emotion") for size in (500, 2000)
    ]
    found = regret_map(regret(names[:count]))
    assert found.least <= 336
    shown = [cell for row in found.data[0]["text"] for cell in row]
    assert shown.count("0") == count
    assert sum("~" in cell for cell in shown) == sum(row[2] == "predicted" for row in found.rows)
    for cell, value in zip(shown, [v for row in found.data[0]["z"] for v in row], strict=True):
        if cell != "?":
            assert float(cell.removeprefix("~").removeprefix("<br>")) == pytest.approx(value, abs=5e-4)


def test_names_are_broken_between_their_parts_and_stay_as_they_are():
    assert label("augmentation.method.cutout.strength", 30) == "augmentation.method.cutout.<br>strength"
    assert label("a strange name", 9) == "a strange<br>name"
    assert label("x" * 20, 12) == f"{'x' * 12}<br>{'x' * 8}"
    for width in range(6, 30):
        for text in (
            "intermediate.mi_alpha.weight",
            "amazon-reviews-2000",
            "one two  three",
            "a.b.c.d.e.f.g",
        ):
            lines = label(text, width).split("<br>")
            assert len(lines) <= 3
            assert max(map(len, lines)) <= width
            if not lines[-1].endswith("…"):
                assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert [capital(one) for one in ("none, random: few", "trec: 3", "mi_alpha is", "one, two are: so")] == [
        "none, random: few", "trec: 3", "mi_alpha is", "One, two are: so"
    ]  # fmt: skip
