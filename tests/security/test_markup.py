"""Text of users and of rows in the report and in model cards: shown as what it is, never as markup."""

from __future__ import annotations

import html.parser
import json
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
import yaml

from distiller.results.report import write_report
from distiller.results.schema import core_schema
from tests.results.conftest import demo  # noqa: F401

ATTACK = (
    "</script></pre></title><script>alert('x')</script><img src=x onerror=alert(1)>\"'><b>{{ 7 * 7 }}${1}`"
)
FREE = ("student", "teacher", "error", "traceback", "device", "host", "metric", "task_kind", "preset")


class Tags(html.parser.HTMLParser):
    """Every tag of a page with its attributes."""

    def __init__(self, page: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, Any]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def tags(path: Any) -> list[tuple[str, dict[str, Any]]]:
    return Tags(path.read_text()).found


@pytest.fixture
def reports(demo, tmp_path):  # noqa: F811
    """The same sweep with harmless texts, and with the attack in every place that takes text."""

    def made(text: str, number: int) -> Any:
        sweep = f"# {text}\nparts: []\n"
        one = demo(datasets={"trec": "{builtin: trec}"}, name=f"n{number}", more=sweep)
        one.describe("trec", metric=text, teacher=text, task_kind="classification")
        free = {name: text for name in FREE if name != "task_kind"}
        for i in range(4):
            one.trial("trec", one.config("trec"), 0.5 + i / 10, **free)
        one.trial("trec", one.config("trec"), None, status="failed", **free)
        one.retrain("trec", one.config("trec"), [0.7, 0.8, 0.9])
        about = {"git_commit": text, "distiller_version": text, "launched_at": "2026-01-01T00:00:00"}
        one.store.write_text(one.name, "sweep.json", json.dumps(about))
        (one.store.files).put(f"trials/{one.name}/x-foreign.parquet", text.encode())
        out = tmp_path / f"{number}.html"
        write_report(one.store, one.name, out)
        return out

    return made("harmless", 1), made(ATTACK, 2)


def test_no_text_becomes_markup_in_the_report(reports) -> None:
    harmless, attacked = (tags(path) for path in reports)
    assert [tag for tag, _ in attacked] == [tag for tag, _ in harmless]
    for tag, attributes in attacked:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        assert tag != "a" or attributes["href"].startswith("#")
    source = reports[1].read_text()
    assert ATTACK not in source
    assert "49" not in source.split("<main>")[0].split("<header>")[1]  # no template ran in a template
    assert source.count("alert(") > 5  # it is there, as text


def test_every_text_column_is_attacked() -> None:
    """Columns that hold no free text by the store's own checks are the only others."""
    texts = {field.name for field in core_schema("trials") if field.type == pa.string()}
    checked = {"sweep", "trial_id", "dataset", "config_id", "role", "status", "origin"}
    machine = {"metrics", "adaptations", "config", "versions", "git_commit", "distiller_version"}
    assert texts - checked - machine == set(FREE)


def card(checkpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    from distiller.pipelines import save
    from distiller.spaces.config import PipelineConfig

    config = PipelineConfig.model_validate(
        {"student": {"initialization": "pretrained", "checkpoint": checkpoint}}
    )
    task = SimpleNamespace(kind="classification", metric="matthews", labels=("<script>", "b"), outputs=2)
    material = SimpleNamespace(
        dataset=SimpleNamespace(name="d", task=task), teacher_name="t", teacher=SimpleNamespace(layers=2)
    )
    monkeypatch.setattr(save, "version", lambda name: "0")
    model: Any = SimpleNamespace(parameters=list)
    return save.model_card(model, material, config, {"validation": 0.5})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "checkpoint", ["</code><script>x</script>", "x\n```\n<script>x</script>\n```", "````` x", "a\n---\nb: c"]
)
def test_no_text_becomes_markup_in_a_model_card(checkpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = card(checkpoint, monkeypatch)
    front, rest = text.removeprefix("---\n").split("\n---\n", 1)
    assert set(yaml.safe_load(front)) == {"library_name", "pipeline_tag", "tags"}
    blocks, outside, fence = [], [], ""
    for line in rest.splitlines():
        mark = line.strip()
        ticks = len(mark) - len(mark.lstrip("`"))
        if not fence and ticks >= 3:
            fence = "`" * ticks
            blocks.append([])
        elif fence and len(line) - len(line.lstrip()) <= 3 and set(mark) == {"`"} and ticks >= len(fence):
            fence = ""
        elif fence:
            blocks[-1].append(line)
        else:
            outside.append(line)
    assert fence == ""
    assert "<script>" not in "\n".join(outside)
    assert yaml.safe_load("\n".join(blocks[-1]))["student"]["checkpoint"] == checkpoint
