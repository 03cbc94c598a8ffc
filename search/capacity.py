"""How many trials fit, on this machine and on a cluster. Nodes are asked by this too, so it loads no Tune."""

from __future__ import annotations

import os

import ray

from distiller.spaces.errors import InputError
from distiller.spaces.sweep import Resources


def available_cpus() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_fits(resources: Resources) -> None:
    """Raise InputError where this machine carries not a single trial."""
    gpus = 0
    if resources.least_gpus:
        import torch

        gpus = torch.cuda.device_count()
    _fitting(resources, available_cpus(), gpus, "this machine")


def concurrency(resources: Resources) -> int:
    """Trials at a time: what the cluster carries, unless the sweep says less.

    Raises:
        InputError: the cluster does not carry a single one.
    """
    total = ray.cluster_resources()  # type: ignore[no-untyped-call]
    fitting = _fitting(resources, total.get("CPU", 0), total.get("GPU", 0), "the cluster")
    return min(fitting, resources.max_concurrent) if resources.max_concurrent else fitting


def _fitting(resources: Resources, cpus: float, gpus: float, place: str) -> int:
    fitting = int(cpus / resources.cpus + 1e-9)
    if share := resources.least_gpus:
        # Fractions share a device, but a trial never spans two.
        per_device = int(1 / share + 1e-9) if share < 1 else 1 / share
        fitting = min(fitting, int(gpus * per_device + 1e-9))
    if fitting < 1:
        raise InputError(
            f"resources: a trial asks for {resources.cpus:g} cpus and {resources.least_gpus:g} gpus, "
            f"{place} has {cpus:g} and {gpus:g}; ask for less"
        )
    return fitting
