"""The nodes of a cluster before any trial: whether each has what trials need, asked on the node itself.

A launch that joins a cluster shares nothing with its nodes but the store. What a node lacks would otherwise
come up trial by trial, hours later.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from rich.console import Console

from distiller.pipelines.content import file_digest
from distiller.pipelines.places import located, node_folder
from distiller.results.frozen import load_frozen_parts
from distiller.results.store import Store
from distiller.search.assignment import Launch
from distiller.search.capacity import concurrency
from distiller.search.code_digest import code, said_of
from distiller.search.gpu_memory import gpu_gib
from distiller.search.plan import place_of, pretrained_of
from distiller.search.prepared import check_inputs
from distiller.spaces.errors import InputError
from distiller.spaces.sweep import Resources

ANSWER_SECONDS = 600.0
"""How long a node may take to read the sweep's data and answer."""
SEEN_SECONDS = 60.0
"""How long until the launch sees what a node wrote: network filesystems remember what was not there."""


@dataclass(frozen=True)
class Node:
    """A node of the cluster that can carry a trial."""

    node_id: str
    address: str
    cpus: float
    gpus: float


def trial_nodes(resources: Resources) -> list[Node]:
    """The nodes that are up and carry at least one trial."""
    found = []
    for about in ray.nodes():  # type: ignore[no-untyped-call]
        has = about["Resources"]
        node = Node(about["NodeID"], about["NodeManagerAddress"], has.get("CPU", 0), has.get("GPU", 0))
        if about["Alive"] and node.cpus >= resources.cpus and node.gpus >= resources.least_gpus:
            found.append(node)
    return found


def wait_for_nodes(resources: Resources, count: int, seconds: float, console: Console) -> None:
    """Wait until `count` nodes that carry a trial have joined.

    Raises:
        InputError: they have not, in so many seconds.
    """
    until, said = time.monotonic() + seconds, -1
    while (here := len(trial_nodes(resources))) < count:
        if here != said:
            console.print(f"{here} of {count} nodes have joined the cluster", highlight=False)
            said = here
        if time.monotonic() > until:
            raise InputError(
                f"--nodes {count}: {here} nodes that carry a trial ({resources.cpus:g} cpus, "
                f"{resources.least_gpus:g} gpus) joined within {seconds:g} s; start the others or ask for "
                "fewer"
            )
        time.sleep(min(1.0, seconds / 10))


def folders_of(launch: Launch) -> dict[str, str]:
    """By place in the sweep, the teachers and pretrained students that are folders here.

    Where such a folder is not, its name passes for one of the hub.
    """
    sweep, base = launch.sweep, Path(launch.base)
    named = {f"teachers.{name}.model": teacher.model for name, teacher in sweep.teachers.items()}
    for dataset in sweep.datasets:
        for checkpoint in pretrained_of(sweep.space_of(dataset)):
            named[f"{place_of(sweep, dataset, 'student')}.student.pretrained.checkpoint"] = checkpoint
    return {place: model for place, model in named.items() if (base / Path(model).expanduser()).is_dir()}


def look(launch: Launch, frozen: str, folders: dict[str, str], gpus: bool) -> dict[str, Any]:
    """Runs on a node: what it has of all that a trial needs, or why it cannot carry one (`refused`).

    Args:
        frozen: the sweep's file as the launch sees it in the store.
        folders: what `folders_of` says where the sweep was launched.
        gpus: whether to say how much memory the GPUs have.
    """
    about: dict[str, Any] = {"host": platform.node(), "python": platform.python_version(), **code()}
    try:
        store = _same_store(launch, frozen)
        load_frozen_parts(store, launch.sweep, Path(launch.base))
        _check_cache(launch.sweep.cache.path)
        for place, model in folders.items():
            if not (folder := Path(launch.base) / Path(model).expanduser()).is_dir():
                raise InputError(f"{place}: no folder {folder}; put it on every node")
        about["fingerprints"] = check_inputs(launch.sweep, Path(launch.base))
        about["teachers"] = _teacher_digests(launch)
        if gpus:
            about["gpu_gib"] = gpu_gib()
    except InputError as error:
        about["refused"] = str(error)
        return about
    name = f"node-{ray.get_runtime_context().get_node_id()[:16]}.json"
    store.write_text(launch.sweep.name, name, json.dumps(about, indent=1))
    return about


def _same_store(launch: Launch, frozen: str) -> Store:
    unseen = (
        f"does not see the store {launch.store} of the launch; pass --store a folder that all nodes mount, "
        "or an object store such as s3://bucket/results"
    )
    try:
        store = Store.open(launch.store)
        seen = store.read_text(launch.sweep.name, "sweep.yaml")
    except InputError as error:
        raise InputError(f"{unseen} ({error})") from error
    if seen != frozen:
        raise InputError(unseen)
    return store


def _check_cache(written: str) -> None:
    folder = node_folder(written)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{platform.node()}-{time.monotonic_ns()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"cache.path: {folder}: not writable ({error.strerror or error}); "
            "name a folder that each node may write"
        ) from error


def _teacher_digests(launch: Launch) -> dict[str, str]:
    """What the weights of local teachers are; those of hub names are told apart by `revision`."""
    digests = {}
    for name, teacher in launch.sweep.teachers.items():
        folder = Path(located(teacher.model, Path(launch.base), f"teachers.{name}.model"))
        if folder.is_dir():
            files = sorted(folder.glob("*.safetensors"))
            digests[name] = " ".join(file_digest(path)[:16] for path in files)
    return digests


def check_nodes(launch: Launch, console: Console) -> list[dict[str, Any]]:
    """Ask every node that carries trials whether it can; what each said, in the order of the nodes.

    Raises:
        InputError: one cannot, or two differ in what trials read; one line that names the node.
    """
    nodes, store = trial_nodes(launch.sweep.resources), Store.open(launch.store)
    frozen = store.read_text(launch.sweep.name, "sweep.yaml")
    assert frozen is not None, "a launch freezes its sweep before it asks the nodes"
    if not nodes:
        concurrency(launch.sweep.resources)  # says what the cluster has and what a trial asks for
    gpus = launch.sweep.resources.gpus == "auto"
    answers = on_each(nodes, look, launch, frozen, folders_of(launch), gpus)
    for node, about in zip(nodes, answers, strict=True):
        if "refused" in about:
            raise InputError(f"{_named(node, about)}: {about['refused']}")
        _wait_until_seen(store, launch, node, about)
    for node, about in zip(nodes[1:], answers[1:], strict=True):
        _check_alike(about, answers[0], _named(node, about), _named(nodes[0], answers[0]))
    here = code()
    for node, about in zip(nodes, answers, strict=True):
        there = {name: about[name] for name in here}
        if there["distiller"] != here["distiller"]:
            raise InputError(
                f"{_named(node, about)}: has {said_of(there)}, this launch {said_of(here)}; "
                "install one version everywhere"
            )
        if there != here:
            console.print(
                f"{_named(node, about)}: has {said_of(there)}, this launch {said_of(here)}", style="yellow"
            )
    said = f"{len(nodes)} node{'s' * (len(nodes) != 1)} carr{'y' if len(nodes) != 1 else 'ies'} trials"
    console.print(f"{said}: store, data, teachers and cache are there on each", highlight=False)
    return answers


def on_each(nodes: list[Node], function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """A function's results on every node, run there at once.

    Raises:
        InputError: a node does not answer, or lacks Distiller.
    """
    task: Any = ray.remote(num_cpus=0, max_retries=1)(function)
    asked = {
        task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node.node_id, soft=False)).remote(
            *arguments
        ): node
        for node in nodes
    }
    _, late = ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER_SECONDS)
    if late:
        raise InputError(
            f"node {asked[late[0]].address}: no answer in {ANSWER_SECONDS:g} s; mend it, or take it out"
        )
    found = []
    for answer, node in asked.items():
        try:
            found.append(ray.get(answer))
        except RayError as error:
            last = [line for line in str(error).splitlines() if line.strip()][-1].strip()
            remedy = (
                "install kd-distiller there as it is here" if "ModuleNotFound" in str(error) else "mend it"
            )
            raise InputError(f"node {node.address}: {last}; {remedy}, or take the node out") from error
    return found


def _named(node: Node, about: dict[str, Any]) -> str:
    return f"node {about['host']} ({node.address})"


def _wait_until_seen(store: Store, launch: Launch, node: Node, about: dict[str, Any]) -> None:
    """Raise InputError where what a node wrote into the store does not arrive here."""
    until = time.monotonic() + SEEN_SECONDS
    while store.read_text(launch.sweep.name, f"node-{node.node_id[:16]}.json") is None:
        if time.monotonic() > until:
            raise InputError(
                f"{_named(node, about)}: what it writes to the store {launch.store} does not arrive here; "
                "pass --store a folder that all nodes mount, or an object store such as s3://bucket/results"
            )
        time.sleep(0.2)


def _check_alike(about: dict[str, Any], first: dict[str, Any], name: str, first_name: str) -> None:
    for kind, what in (
        ("fingerprints", "datasets.{}: has other rows"),
        ("teachers", "teachers.{}: has other weights"),
    ):
        for each in about[kind].keys() | first[kind].keys():
            if about[kind].get(each) != first[kind].get(each):
                raise InputError(
                    f"{name}: {what.format(each)} than {first_name}; put the same files on all nodes"
                )
