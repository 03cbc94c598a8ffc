"""What a student costs to keep and to run: parameters, FLOPs, latency, memory."""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from distiller.pipelines.checkpoint import forward
from distiller.pipelines.content import built_once, content_key


@dataclass(frozen=True)
class StudentCost:
    """What an architecture costs: parameters as saved, FLOPs of a forward pass on an example of the
    dataset's mean length, milliseconds of one."""

    parameters: int
    flops: int
    latency_ms: float


LATENCY_LENGTH = 32
"""Tokens of the one example that latency is measured on."""


def parameter_count(model: PreTrainedModel) -> int:
    """Parameters of a student as it is saved, its whole vocabulary included."""
    return sum(p.numel() for p in model.parameters())


@torch.no_grad()
def flops_per_example(model: PreTrainedModel, length: int) -> int:
    """Floating-point operations of one forward pass on one example of `length` tokens (2 a multiply-add)."""
    ids = torch.zeros(1, length, dtype=torch.int64, device=model.device)
    cast(nn.Module, model).eval()
    # The counter knows no formula for the CPU's flash attention; plain matrix products it counts.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        forward(model, ids, ids, torch.ones_like(ids))
    return int(counter.get_total_flops())


@torch.no_grad()
def measured_latency_ms(model: PreTrainedModel, repeats: int = 30) -> float:
    """Median milliseconds of a forward pass on one example of 32 tokens, after a warm-up."""
    ids = torch.zeros(1, LATENCY_LENGTH, dtype=torch.int64, device=model.device)
    mask = torch.ones_like(ids)
    cast(nn.Module, model).eval()
    seconds = []
    for repeat in range(repeats + 5):
        started = time.perf_counter()
        forward(model, ids, ids, mask)
        if model.device.type == "cuda":
            torch.cuda.synchronize(model.device)
        if repeat >= 5:
            seconds.append(time.perf_counter() - started)
    return 1000 * statistics.median(seconds)


def latency_ms(model: PreTrainedModel, architecture: str, cache: Path) -> float:
    """The latency of an architecture on this kind of device, measured once per node and then kept."""
    device = device_name(model.device)
    config = model.config.to_dict()
    shape = {
        k: config.get(k) for k in ("model_type", "hidden_size", "num_hidden_layers", "intermediate_size")
    }
    key = content_key(device=device, threads=torch.get_num_threads(), torch=torch.__version__, shape=shape)

    def build(folder: Path) -> None:
        measured = {"architecture": architecture, "device": device, "latency_ms": measured_latency_ms(model)}
        (folder / "latency.json").write_text(json.dumps(measured))

    folder = built_once(cache / "latency" / key, build)
    return float(json.loads((folder / "latency.json").read_text())["latency_ms"])


def device_name(device: torch.device) -> str:
    """`cpu`, or the graphics card's own name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


class PeakMemory:
    """Memory that a stretch of work takes beyond what the process held before.

    On a GPU the allocator's own peak; on a CPU the highest of the samples taken.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.before = self._held()
        self.peak = self.before
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def _held(self) -> int:
        if self.device.type == "cuda":
            return torch.cuda.memory_allocated(self.device)
        return resident_bytes()

    def sample(self) -> None:
        """Look now."""
        peak = torch.cuda.max_memory_allocated(self.device) if self.device.type == "cuda" else self._held()
        self.peak = max(self.peak, peak)

    def take(self, extra_bytes: int) -> None:
        """Take in what was seen in an earlier process."""
        self.peak = max(self.peak, self.before + extra_bytes)

    @property
    def extra_bytes(self) -> int:
        """The highest amount seen beyond the start."""
        return self.peak - self.before


def resident_bytes() -> int:
    """Resident memory of this process now (its maximum, where the system does not tell the present)."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
