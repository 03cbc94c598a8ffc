"""Which code runs: a version says little where Distiller is installed from a working tree."""

from __future__ import annotations

import hashlib
import importlib.resources
from functools import lru_cache
from importlib.metadata import version
from typing import Any

from distiller.results.frozen import about_launch
from distiller.results.store import Store

PACKAGES = ("spaces", "pipelines", "search", "results")


@lru_cache
def code_digest() -> str:
    """8 hexadecimal digits that change with any module of the installed Distiller."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        stack = [(package, importlib.resources.files(f"distiller.{package}"))]
        while stack:
            place, folder = stack.pop()
            for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
                inside = f"{place}/{entry.name}"
                if entry.is_dir() and entry.name not in ("__pycache__", "data"):
                    stack.append((inside, entry))
                elif entry.name.endswith(".py"):
                    digest.update(f"{inside}\n".encode() + entry.read_bytes())
    return digest.hexdigest()[:8]


def code() -> dict[str, str]:
    """What runs here: Distiller's version and digest, and torch's version."""
    return {"distiller": version("kd-distiller"), "code": code_digest(), "torch": version("torch")}


def code_of(about: dict[str, Any]) -> dict[str, str]:
    """The same of the launch that a sweep's `sweep.json` tells of; less where it is from before `code`."""
    said = {"distiller": about.get("distiller_version"), "code": about.get("code")}
    said["torch"] = about.get("versions", {}).get("torch")
    return {name: value for name, value in said.items() if value is not None}


def said_of(found: dict[str, str]) -> str:
    """`Distiller 0.1.0 (code 1a2b3c4d), torch 2.13.0`."""
    code = f" (code {found['code']})" if "code" in found else ""
    return f"Distiller {found['distiller']}{code}, torch {found['torch']}"


def code_change(store: Store, sweep: str) -> str | None:
    """What a relaunch says where another Distiller or torch launched the sweep; None where none did."""
    before, here = code_of(about_launch(store, sweep)), code()
    if not before or all(here[name] == value for name, value in before.items()):
        return None
    return (
        f"sweep {sweep!r} was launched with {said_of(before)}; from here on it runs with {said_of(here)}, "
        "which its new rows name"
    )
