"""The report in a real browser: what is drawn, what is cut off, what it asks of others."""

import csv
import io
import struct
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest

from distiller.results.design import Design
from distiller.results.report import files as figure_files
from distiller.results.report import write_figures, write_report
from distiller.results.report.browser import VARIABLE, browser_page, find_browser
from distiller.spaces.errors import InputError
from tests.results.analysed import ablation, analysis, comparison, importance
from tests.results.conftest import Demo

needs_browser = pytest.mark.skipif(find_browser() is None, reason="no Chromium, Chrome or Edge is installed")
LONG = "reviews_with.a-very-long-name-that-goes-on-and-on"
# What is wrong with a drawn page, in words; texts of plots are measured as the browser has laid them out.
CHECK = """(() => {
  const wrong = [], wide = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > wide) wrong.push("the page scrolls sideways");
  for (const one of document.querySelectorAll("body *")) {
    if (one.closest(".scroll, pre, nav, svg, script, .plot")) continue;
    const box = one.getBoundingClientRect();
    if (box.width && box.right > wide + 1) wrong.push(`${one.tagName} ${one.className} reaches ${box.right} of ${wide}`);
  }
  for (const plot of document.querySelectorAll(".plot")) {
    const name = plot.dataset.figure, frame = plot.getBoundingClientRect();
    const marks = ".scatterlayer .trace path, .barlayer .point path, .heatmaplayer image, .parallel path";
    if (!plot.querySelector(marks)) wrong.push(`${name}: no marks`);
    for (const text of plot.querySelectorAll("svg text")) {
      const box = text.getBoundingClientRect();
      if (!box.width || !text.textContent.trim() || getComputedStyle(text).opacity === "0") continue;
      if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 || box.bottom > frame.bottom + 1)
        wrong.push(`${name}: "${text.textContent}" is cut off`);
    }
    for (const axis of [".xtick text, .g-xtitle text", ".ytick text"]) {
      const boxes = [...plot.querySelectorAll(axis)].map((text) => [text, text.getBoundingClientRect()]);
      const turned = boxes.some(([text]) => /rotate\\((?!0|-90|90)/.test(text.getAttribute("transform") || ""));
      boxes.forEach(([text, a], i) => boxes.slice(i + 1).forEach(([other, b]) => {
        const over = Math.min(a.right, b.right) - Math.max(a.left, b.left), down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        if (!turned && over > 1 && down > 2) wrong.push(`${name}: "${text.textContent}" lies over "${other.textContent}"`);
      }));
    }
  }
  return wrong;
})()"""  # noqa: E501
LOUD = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return Demo(tmp_path_factory.mktemp("browser") / "store", {"trec": "{builtin: trec}"}).filled()


@pytest.fixture(scope="module")
def full(made, tmp_path_factory):
    """A report with every kind of figure, and names that are hard to fit in."""
    return written(made, ["trec", LONG, f"{LONG}-2"], tmp_path_factory.mktemp("full") / "a 'b' #1")


def written(made, names, folder):
    """The report in `folder`, with answers on datasets of these names."""
    known = analysis({name: Design.of(made.sweep.space_of("trec")) for name in names})
    return write_report(made.store, "demo", folder / "report.html", known)


@needs_browser
def test_everything_is_drawn_and_nothing_is_cut_off_or_asked_for(full):
    with browser_page(find_browser(), 120) as page:
        for width in (1280, 390):
            page.open(full.path, width)
            assert page.evaluate("document.querySelectorAll('.plot svg').length") < len(
                full.figures
            )  # lazily
            page.evaluate("drawAll()")
            assert page.evaluate(CHECK) == []
        for name, figure in full.figures.items():
            saved = page.evaluate(f"csvOf(figures[{name!r}].table)")
            assert _read(saved) == _read(figure.csv()), name
        page.evaluate("document.querySelector('details.numbers').open = true")
        page.evaluate("new Promise((done) => setTimeout(done, 50))")
        first = page.evaluate("document.querySelector('details.numbers tbody').rows.length")
        name = page.evaluate("document.querySelector('details.numbers').dataset.of")
        assert first == len(full.figures[name].rows)
    assert [event for event in page.events if event["method"] in LOUD] == []
    asked = [e["params"]["request"]["url"] for e in page.events if e["method"] == "Network.requestWillBeSent"]
    assert len(asked) >= 2
    assert not [url for url in asked if not url.startswith(("file:", "data:", "blob:"))]


SCROLLED = """[...document.querySelectorAll(".scroll")]
  .filter((one) => one.querySelector(".heatmaplayer image") && one.scrollWidth > one.clientWidth)
  .map((one) => one.querySelector(".plot").dataset.figure)"""


@needs_browser
@pytest.mark.parametrize("count", [2, 4, 8])
def test_heat_maps_fit_on_a_phone(made, tmp_path, count):
    """All their texts are there, and none scrolls sideways."""
    kinds = ("trec", "amazon-reviews", "tweets", "emotion")
    found = written(made, [f"{kind}-{size}" for kind in kinds for size in (500, 2000)][:count], tmp_path)
    with browser_page(find_browser(), 120) as page:
        for width in (390, 1280):
            page.open(found.path, width)
            page.evaluate("drawAll()")
            assert page.evaluate(CHECK) == []
            assert page.evaluate(SCROLLED) == []


@needs_browser
def test_texts_of_low_and_of_narrow_figures_do_not_lie_over_each_other(made, tmp_path):
    """On a phone the title below one row takes three lines, and a long name leaves numbers little room."""
    pair = comparison(["trec"], ("no augmentation", "random"))
    long = importance(shares={"augmentation.method.cutout": 0.9})
    design = Design.of(made.sweep.space_of("trec"))
    known = analysis({"trec": design}, comparisons=(pair,), importance={"trec": long})
    found = write_report(made.store, "demo", tmp_path / "low.html", known)
    with browser_page(find_browser(), 120) as page:
        for width in (390, 1280):
            page.open(found.path, width)
            page.evaluate("drawAll()")
            assert page.evaluate(CHECK) == []


def _read(text):
    def cell(value):
        try:
            return float(value)
        except ValueError:
            return value

    return [[cell(value) for value in row] for row in csv.reader(io.StringIO(text, newline=""))]


@needs_browser
def test_figures_are_written_as_images(full, tmp_path):
    kinds = ("trec-importance-stages", "regret", "trec-runs")
    some = replace(full, figures={name: full.figures[name] for name in kinds})
    folder = tmp_path / "it's" / "figures"
    assert write_figures(some, folder) is None
    assert {path.name for path in folder.iterdir()} == {
        f"{n}.{k}" for n in kinds for k in ("csv", "svg", "png")
    }
    for name, figure in some.figures.items():
        root = ElementTree.fromstring((folder / f"{name}.svg").read_text("utf-8"))
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert len(root.findall(".//{http://www.w3.org/2000/svg}text")) > 3
        image = (folder / f"{name}.png").read_bytes()
        assert image[:8] == b"\x89PNG\r\n\x1a\n"
        width, height = struct.unpack(">II", image[16:24])
        assert width >= 1800
        assert figure.parallel or height == 2 * figure.height


def test_without_a_browser_there_are_numbers(full, tmp_path, monkeypatch):
    monkeypatch.setattr(figure_files, "find_browser", lambda: None)
    assert "install one" in write_figures(full, tmp_path / "csv")
    assert {path.stem for path in (tmp_path / "csv").iterdir()} == set(full.figures)
    assert all(path.suffix == ".csv" for path in (tmp_path / "csv").iterdir())


def test_a_browser_that_is_none_is_named(full, tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "/no/such/browser")
    with pytest.raises(InputError, match="no such program"):
        write_figures(full, tmp_path / "one")
    monkeypatch.setenv(VARIABLE, "false")
    with pytest.raises(InputError, match="does not start as a headless browser"):
        write_figures(full, tmp_path / "two")
    (tmp_path / "file").write_text("taken")
    with pytest.raises(InputError, match="--figures"):
        write_figures(full, tmp_path / "file")


def test_an_ablation_of_one_step_is_no_figure():
    from distiller.results.report import choices

    path = ablation("trec")
    assert choices.ablation(replace(path, steps=path.steps[:1])) is None
