"""Where a model that a sweep names lies; asked before anything loads it."""

from __future__ import annotations

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
