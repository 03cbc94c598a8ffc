"""Whether what teachers say fits into a node's cache: what `plan` says where it does not."""

from __future__ import annotations

import math
from pathlib import Path

from distiller.pipelines.places import node_folder
from distiller.pipelines.room import GIB, spare_bytes
from distiller.search.plan import cache_from
from distiller.spaces.errors import InputError
from distiller.spaces.sweep import CacheConfig


def cache_notes(cache: CacheConfig, base: Path, gib: float) -> list[str]:
    """A line where `gib` of teacher outputs are more than `cache.total_gb`, or than this machine's disk has.

    A folder whose name differs from node to node may be unknown here: of its disk nothing is said.
    """
    limits = []
    if cache.total_gb is not None:
        limits.append((cache.total_gb, f"cache.total_gb is {cache.total_gb:g}; raise it"))
    try:
        folder = node_folder(cache_from(cache, base).path)
    except InputError:  # the nodes' own $VARIABLE
        pass
    else:
        spare = spare_bytes(folder) / GIB
        remedy = "name a larger one's folder in cache.path"
        limits.append((spare, f"the disk of {folder} has {spare:.1f} GiB to spare; {remedy}"))
    most, why = min(limits, default=(math.inf, ""))
    if gib <= most:
        return []
    return [
        f"teacher outputs come to {gib:.1f} GiB, and {why}, or outputs make way for others and hidden states "
        "are computed live, which takes longer"
    ]
