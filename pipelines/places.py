"""Where what a sweep names lies: models, asked for before anything loads them, and a node's own folder."""

from __future__ import annotations

import os
from pathlib import Path

from distiller.pipelines.builtin import package_folder
from distiller.spaces.errors import InputError


def located(model: str, base: Path, place: str) -> str:
    """The folder of a `package:name/inside` or of a path from `base`; else `model`, taken for a hub name.

    Raises:
        InputError: no such folder; `place` is where the sweep names it.
    """
    if model.startswith("package:"):
        package, _, inside = model.removeprefix("package:").partition("/")
        folder = package_folder(package)
        if folder is None or not (folder / inside).is_dir():
            raise InputError(f"{place}: no folder {inside!r} in package {package!r}; install the package")
        return str(folder / inside)
    path = Path(model).expanduser()
    local = path if path.is_absolute() else base / path
    if local.is_dir():
        return str(local)
    if path.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1:
        raise InputError(f"{place}: no folder {local}; check the path")
    return model


def node_folder(written: str) -> Path:
    """A folder that each node has of its own: `~` and `$VARIABLE` are those of the node that asks.

    Raises:
        InputError: a variable is not set here.
    """
    expanded = os.path.expandvars(written)
    if "$" in expanded:
        raise InputError(
            f"cache.path: {written}: no such variable here; set it on every node, or name a folder"
        )
    return Path(expanded).expanduser()
