"""Whether what teachers say fits into a node's cache: what `plan` says where it does not."""

from __future__ import annotations

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
    most, why = cache.total_gb, f"cache.total_gb is {cache.total_gb:g}; raise it" if cache.total_gb else ""
    try:
        folder = node_folder(cache_from(cache, base).path)
        spare = spare_bytes(folder) / GIB
    except InputError:
        spare = float("inf")
    if most is None or spare < most:
        most = spare
        why = f"the disk of {folder} has {spare:.1f} GiB to spare; name a larger one's folder in cache.path"
    if gib <= most:
        return []
    return [
        f"teacher outputs come to {gib:.1f} GiB, and {why}, or outputs make way for others and hidden states "
        "are computed live, which takes longer"
    ]
