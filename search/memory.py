"""What a worker does about a cohort that did not fit into a GPU's memory: fewer neighbours, not failure."""

from __future__ import annotations

import gc
import time

import torch

WAIT_SECONDS = 120.0
"""How long a student that is alone in its process waits each time for a neighbour to end."""


def give_back(device: torch.device) -> None:
    """Return to the GPU what nothing in this process holds any more."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def wait_for_memory(device: torch.device, seconds: float = WAIT_SECONDS) -> None:
    """Wait until another process gave GPU memory back, at most so long; not at all on a CPU."""
    if device.type != "cuda":
        return
    free, until = torch.cuda.mem_get_info(device)[0], time.monotonic() + seconds
    while time.monotonic() < until and torch.cuda.mem_get_info(device)[0] <= free:
        time.sleep(0.5)
