"""What a node must have before any trial goes there; each thing that it lacks is one line."""

from __future__ import annotations

import io
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from distiller.pipelines.places import node_folder
from distiller.search import gpu_share, materials, nodes
from distiller.search.code_digest import code, code_change, code_digest
from distiller.search.gpu_memory import gpu_gib
from distiller.search.materials import UnfitNodeError, trial_material
from distiller.search.nodes import Node, check_nodes, folders_of, look, trial_nodes, wait_for_nodes
from distiller.search.plan import cache_from
from distiller.search.trainable import trainable_for
from distiller.spaces.errors import InputError
from distiller.spaces.sweep import CacheConfig, Resources, parse_sweep
from tests.search.conftest import SWEEP


@pytest.fixture(scope="module", autouse=True)
def _forgotten():
    """What this process kept ready is of these tests' sweeps: other files ask for others of the same name."""
    yield
    materials._materials.clear()


ONE, TWO = Node("1" * 56, "10.0.0.1", 4, 0), Node("2" * 56, "10.0.0.2", 4, 0)


@pytest.fixture
def launch(bench):
    return replace(bench.launch, cluster=True)


def said(check, *arguments):
    """What a check printed."""
    console = Console(file=(text := io.StringIO()), width=200)
    check(*arguments, console)
    return text.getvalue()


def with_sweep(launch, **changes):
    return replace(launch, sweep=launch.sweep.model_copy(update=changes))


def test_a_node_that_has_everything_says_what_it_is(launch):
    about = look(launch, SWEEP, {}, False)
    assert "refused" not in about
    assert {name: about[name] for name in code()} == code()
    assert set(about["fingerprints"]) == {"animals", "opinions"}
    assert set(about["teachers"]) == {"bert"}
    assert len(about["teachers"]["bert"]) == 16


def test_a_store_that_a_node_does_not_see(launch, tmp_path):
    unseen = "does not see the store {} of the launch; pass --store a folder that all nodes mount"
    elsewhere = replace(launch, store=str(tmp_path / "nowhere"))
    assert look(elsewhere, SWEEP, {}, False)["refused"].startswith(unseen.format(elsewhere.store))
    # A folder of this name on the node's own disk, with results of its own.
    assert look(launch, SWEEP + "# another", {}, False)["refused"].startswith(unseen.format(launch.store))


@pytest.mark.parametrize("missing", ["animals-validation.csv", "opinions.parquet", "teacher"])
def test_files_that_a_node_lacks_are_named(launch, missing, tmp_path):
    folder = tmp_path / "a node's"
    folder.mkdir()
    for path in Path(launch.base).iterdir():
        if path.name != missing:
            (folder / path.name).symlink_to(path)
    refused = look(replace(launch, base=str(folder)), SWEEP, folders_of(launch), False)["refused"]
    assert missing in refused
    place = {"teacher": "teachers.bert.model"}.get(
        missing, f"datasets.{missing.partition('-')[0].split('.')[0]}"
    )
    assert refused.startswith(place)


def test_a_cache_is_the_nodes_own(launch, monkeypatch, tmp_path):
    assert cache_from(CacheConfig(path="$SCRATCH/x"), Path("/base")).path == "$SCRATCH/x"
    assert cache_from(CacheConfig(path="~/x"), Path("/base")).path == "~/x"
    assert cache_from(CacheConfig(path="x"), Path("/base")).path == "/base/x"
    monkeypatch.setenv("SCRATCH", str(tmp_path / "own disk"))
    assert node_folder("$SCRATCH/x") == tmp_path / "own disk" / "x"
    assert node_folder("~/x") == Path.home() / "x"
    there = with_sweep(launch, cache=CacheConfig(path="$SCRATCH/x"))
    assert "refused" not in look(there, SWEEP, {}, False)
    assert (tmp_path / "own disk" / "x").is_dir()
    monkeypatch.delenv("SCRATCH")
    assert look(there, SWEEP, {}, False)["refused"] == (
        "cache.path: $SCRATCH/x: no such variable here; set it on every node, or name a folder"
    )
    (tmp_path / "file").touch()
    there = with_sweep(launch, cache=CacheConfig(path=str(tmp_path / "file" / "x")))
    assert look(there, SWEEP, {}, False)["refused"].startswith(
        f"cache.path: {tmp_path}/file/x: not writable ("
    )


@pytest.fixture
def answering(launch, monkeypatch):
    """Two nodes whose answers a test may change."""
    about = look(launch, SWEEP, {}, False)
    answers = {ONE: {**about, "host": "one"}, TWO: {**about, "host": "two"}}
    monkeypatch.setattr(nodes, "trial_nodes", lambda resources: list(answers))
    monkeypatch.setattr(nodes, "on_each", lambda asked, function, *arguments: [answers[n] for n in asked])
    monkeypatch.setattr(nodes, "SEEN_SECONDS", 0.3)
    for node in answers:
        nodes.Store.open(launch.store).write_text("tiny", f"node-{node.node_id[:16]}.json", "{}")
    return answers


def test_nodes_alike_are_said_in_a_line(launch, answering):
    assert said(check_nodes, launch) == (
        "2 nodes carry trials: store, data, teachers and cache are there on each\n"
    )


CASES = {
    "datasets.animals: has other rows than node one (10.0.0.1); put the same files on all nodes": (
        lambda about: about["fingerprints"].__setitem__("animals", "other")
    ),
    "teachers.bert: has other weights than node one (10.0.0.1); put the same files on all nodes": (
        lambda about: about["teachers"].__setitem__("bert", "other")
    ),
    "datasets.x: no such file": lambda about: about.__setitem__("refused", "datasets.x: no such file"),
}


@pytest.mark.parametrize("line", CASES)
def test_what_sets_a_node_apart_is_one_line_that_names_it(launch, answering, line):
    answering[TWO] = json.loads(json.dumps(answering[TWO]))
    CASES[line](answering[TWO])
    with pytest.raises(InputError) as caught:
        said(check_nodes, launch)
    assert str(caught.value) == f"node two (10.0.0.2): {line}"


def test_another_distiller_is_refused_and_another_torch_said(launch, answering):
    answering[TWO]["torch"] = "1.0"
    assert "node two (10.0.0.2): has Distiller" in said(check_nodes, launch)
    answering[TWO]["distiller"] = "0.0.1"
    with pytest.raises(
        InputError, match=r"^node two \(10.0.0.2\): has Distiller 0.0.1 .*one version everywhere"
    ):
        said(check_nodes, launch)


def test_what_a_node_writes_must_arrive(launch, answering):
    store = nodes.Store.open(launch.store)
    store.files.remove(f"sweeps/tiny/node-{TWO.node_id[:16]}.json")
    with pytest.raises(
        InputError, match=r"^node two .*: what it writes to the store .* does not arrive here"
    ):
        said(check_nodes, launch)


def about_node(name, cpus, gpus, alive=True):
    return {
        "NodeID": name,
        "NodeManagerAddress": f"10.0.0.{name}",
        "Alive": alive,
        "Resources": {"CPU": cpus, "memory": 1e9} | ({"GPU": gpus} if gpus else {}),
    }


def test_nodes_count_that_are_up_and_carry_a_trial(monkeypatch):
    cluster = [
        about_node("1", 0, 0),
        about_node("2", 8, 1),
        about_node("3", 8, 0),
        about_node("4", 8, 4, False),
    ]
    monkeypatch.setattr("ray.nodes", lambda: cluster)
    assert [n.node_id for n in trial_nodes(Resources(cpus=2))] == ["2", "3"]
    assert [n.node_id for n in trial_nodes(Resources(cpus=2, gpus=0.5))] == ["2"]
    assert [n.node_id for n in trial_nodes(Resources(cpus=2, gpus="auto"))] == ["2"]
    assert trial_nodes(Resources(cpus=16)) == []
    assert said(wait_for_nodes, Resources(), 2, 0.2) == ""
    with pytest.raises(InputError, match=r"^--nodes 3: 2 nodes that carry a trial \(1 cpus, 0 gpus\) joined"):
        said(wait_for_nodes, Resources(), 3, 0.2)
    cluster[3] = about_node("4", 8, 4)
    assert said(wait_for_nodes, Resources(), 3, 0.2) == ""


def test_a_second_node_with_other_rows_carries_no_trial(launch, bench):
    """Its trials stay to be run: none fails."""
    material = trial_material(launch, "opinions", "bert")
    row = {"sweep": "tiny", "dataset": "opinions", "fingerprint": material.dataset.fingerprint}
    bench.store.write_dataset(row)
    other = replace(launch, sweep=launch.sweep.model_copy(update={"name": "tiny"}), base=launch.base)
    trial_material(other, "opinions", "bert")
    materials._materials.clear()
    bench.store.write_dataset({**row, "fingerprint": "other"})
    with pytest.raises(UnfitNodeError, match=r"^node .*: datasets.opinions: has other rows here"):
        trial_material(launch, "opinions", "bert")
    materials._materials.clear()
    away = replace(launch, base=str(Path(launch.base) / "away"))
    runner = replace(bench, launch=away).runner(dataset="opinions")
    report = runner.step()
    assert "datasets.opinions" in report["refused"]
    assert bench.store.read("trials", "tiny").num_rows == 0


def test_a_worker_on_a_node_without_the_store_says_so(launch, tmp_path):
    worker = trainable_for(replace(launch, store=str(tmp_path / "nowhere")))
    trial = worker.__new__(worker)
    trial.setup({"standby": True})
    assert trial.reset_config({"standby": True})
    report = trial.step()
    assert report["done"]
    assert "nowhere: not a Distiller store" in report["refused"]
    assert report["refused"].startswith("node ")


def test_a_relaunch_with_another_distiller_says_so(bench):
    about = {
        "distiller_version": code()["distiller"],
        "code": code_digest(),
        "versions": {"torch": code()["torch"]},
    }
    assert code_change(bench.store, "tiny") is None  # no launch has said anything
    bench.store.write_text("tiny", "sweep.json", json.dumps(about))
    assert code_change(bench.store, "tiny") is None
    for change in ({"distiller_version": "0.0.1"}, {"code": "00000000"}, {"versions": {"torch": "2.0.0"}}):
        bench.store.write_text("tiny", "sweep.json", json.dumps(about | change))
        line = code_change(bench.store, "tiny")
        assert line.startswith("sweep 'tiny' was launched with Distiller ")
        assert {"distiller_version": "Distiller 0.0.1", "code": "00000000", "versions": "torch 2.0.0"}[
            next(iter(change))
        ] in line


@pytest.mark.parametrize("gpus", ["auto", 0, 0.25, 2])
def test_gpus_are_a_number_or_auto(gpus):
    sweep = parse_sweep(SWEEP.replace("{cpus: 1}", f"{{cpus: 1, gpus: {gpus}}}"), "sweep.yaml")
    assert sweep.resources.gpus == gpus
    assert yaml.safe_load(sweep.model_dump_json())["resources"]["gpus"] == gpus
    assert Resources().model_dump(mode="json")["gpus"] == 0  # a warning would be an error


@pytest.mark.parametrize("gpus", ["half", -1, ".inf", "[1]"])
def test_other_gpus_are_one_line(gpus):
    with pytest.raises(InputError) as caught:
        parse_sweep(SWEEP.replace("{cpus: 1}", f"{{cpus: 1, gpus: {gpus}}}"), "sweep.yaml")
    assert str(caught.value).startswith("sweep.yaml: resources.gpus: ")
    assert str(caught.value).endswith("is no number of GPUs from 0 on; write one, such as 0.25, or auto")


def test_the_share_of_a_gpu_follows_the_memory_plan(launch):
    auto = with_sweep(launch, resources=Resources(gpus="auto"))
    base = Path(launch.base)
    plan = gpu_share.memory_plan(auto.sweep, base, 80)
    assert (plan.processes, plan.members, plan.students) == (gpu_share.MOST_PROCESSES, 1, 8)
    each = plan.footprint.peak / (1 << 30)
    assert gpu_share.memory_plan(auto.sweep, base, 3.5 * each).processes == 3
    placed, text = [], io.StringIO()
    for gib in ([3.5 * each, 80], [0.5 * each]):
        placed.append(gpu_share.with_gpu_share(auto, gib, Console(file=text, width=200)))
    assert [each.sweep.resources.gpus for each in placed] == [1 / 3, 1]
    assert "3 at a time, 3 students" in text.getvalue()
    assert "more than there is; it is halved until it fits" in text.getvalue()
    search = auto.sweep.search.model_copy(update={"cohort": 64})
    wider = gpu_share.memory_plan(auto.sweep.model_copy(update={"search": search}), base, 80)
    assert wider.footprint.activations == 64 * plan.footprint.activations


def test_gpu_memory_is_the_drivers_word(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nprintf '81559\\n40960\\n'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert gpu_gib() == [81559 / 1024, 40.0]
    for wrong in ("echo No devices were found", "exit 9", "true"):
        tool.write_text(f"#!/bin/sh\n{wrong}\n")
        with pytest.raises(
            InputError, match=r"^resources.gpus: auto: nvidia-smi .*write resources.gpus as a number"
        ):
            gpu_gib()
