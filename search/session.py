"""A Ray session, and the trials that run in it."""

from __future__ import annotations

import logging
import os
import platform
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from typing import Any

import ray
from ray import tune

from distiller.search.assignment import Launch
from distiller.search.capacity import available_cpus, concurrency
from distiller.search.schedulers import RungScheduler
from distiller.search.searcher import AssignmentSearcher
from distiller.search.trainable import trainable_for
from distiller.spaces.errors import InputError
from distiller.spaces.sweep import SweepConfig

WORKER_DEATHS = 2
"""How often an assignment whose worker died is tried again."""
LOOK_SECONDS = 10.0
"""Between two looks whether the node is still there."""


@contextmanager
def ray_session(address: str | None) -> Iterator[None]:
    """Ray on this machine, or an existing cluster; shut down at the end if it was started here.

    Raises:
        InputError: no cluster at `address`.
    """
    os.environ.update(
        RAY_USAGE_STATS_ENABLED="0",
        RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0",
        RAY_AIR_NEW_OUTPUT="0",
        RAY_prestart_worker_first_driver="0",  # processes that Tune's actors would not use
        TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1",
        TUNE_DISABLE_STRICT_METRIC_CHECKING="1",
        TUNE_WARN_THRESHOLD_S="1000000",
        TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S="1000000",
    )
    if ray.is_initialized():
        yield
        return
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        options |= {"include_dashboard": False, "num_cpus": available_cpus()}
    else:
        _check_answers(address)
    try:
        # Not None: that would join a cluster which happens to run on this machine.
        ray.init(address=address or "local", **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        if address is None:
            raise
        first = str(error).strip().splitlines()[0]
        raise _no_cluster(address, first, ", or set RAY_AUTH_MODE=token if it asks for one") from None
    try:
        yield
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Raise InputError where nothing listens at `host:port` or `ray://host:port`: Ray would wait for ever."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, str(error)) from None


def _no_cluster(address: str, reason: str, more: str = "") -> InputError:
    return InputError(
        f"--address {address}: no Ray cluster answers ({reason}); start one with `ray start --head`{more}"
    )


def provenance(sweep: SweepConfig) -> dict[str, Any]:
    """Versions and commit that rows carry; and whose code ran, where teachers brought their own."""
    packages = ("torch", "transformers", "ray", "optuna", "numpy", "pyarrow")
    versions = {"python": platform.python_version(), **{name: version(name) for name in packages}}
    return {
        "versions": versions | sweep.trusted_code,
        "distiller_version": version("kd-distiller"),
        "git_commit": git_commit(),
    }


def git_commit() -> str | None:
    """The commit of the current folder's repository, `+` appended where files differ; None outside one."""
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        dirty = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("+" if dirty.stdout.strip() else "")


def ray_died(launch: Launch) -> InputError | None:
    """What to say once the only node there can be has died; None while it lives, and on a cluster."""
    if launch.cluster or any(node["Alive"] for node in ray.nodes()):  # type: ignore[no-untyped-call]
        return None
    return InputError(
        "the Ray of this launch has died (its raylet was killed, or ran out of memory); "
        "launch again: nothing finished is lost"
    )


class AtAProblem(tune.Stopper):
    """Stops everything once the searcher has met a problem, or the only node there can be has died.

    Tune would wait for another node, which may join a cluster, but not the Ray that a launch started.
    """

    def __init__(self, searcher: AssignmentSearcher):
        self.searcher = searcher
        self.looked_at = time.monotonic()

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        now = time.monotonic()
        if self.searcher.problem is None and now - self.looked_at > LOOK_SECONDS:
            self.looked_at = now
            self.searcher.problem = ray_died(self.searcher.launch)
        return self.searcher.problem is not None


def run_trials(launch: Launch, searcher: AssignmentSearcher, scheduler: RungScheduler) -> None:
    """Run all that `searcher` hands out on Ray Tune.

    Raises:
        InputError: what a worker found wrong with a dataset or a teacher.
        RuntimeError: a dataset could not be prepared.
        KeyboardInterrupt: Ctrl-C; trials in progress were dropped and a relaunch starts them again.
    """
    resources = launch.sweep.resources
    asked = {"CPU": resources.cpus} | ({"GPU": resources.least_gpus} if resources.gpus else {})
    scratch = tempfile.mkdtemp(prefix="distiller-ray-")
    searcher.ray_died = partial(ray_died, launch)
    try:
        with searcher.progress.shown():
            tune.Tuner(
                tune.with_resources(trainable_for(launch), asked),
                tune_config=tune.TuneConfig(
                    search_alg=searcher,
                    scheduler=scheduler,
                    num_samples=-1,
                    max_concurrent_trials=concurrency(resources),
                    reuse_actors=True,
                    trial_dirname_creator=lambda trial: str(trial.trial_id),
                ),
                run_config=tune.RunConfig(
                    name="sweep",
                    stop=AtAProblem(searcher),
                    storage_path=scratch,
                    failure_config=tune.FailureConfig(max_failures=WORKER_DEATHS),
                    checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
                    callbacks=[],
                    verbose=0,
                ),
            ).fit()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if searcher.problem is not None:
        raise searcher.problem
    if not searcher.finished:
        raise KeyboardInterrupt
