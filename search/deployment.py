"""Ready files for clusters: they come with the package and are written out to be adapted."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from distiller.spaces.errors import InputError
from distiller.spaces.narrowing import nearest

FILES = {"slurm": "slurm.sbatch", "kuberay": "kuberay.yaml", "ray-up": "ray-up.yaml"}
"""By kind of cluster; instructions are at the top of each."""


def deployment(kind: str) -> str:
    """The text of the file for a kind of cluster.

    Raises:
        InputError: there is none.
    """
    if kind not in FILES:
        raise InputError(f"{kind}: no such kind of cluster; {nearest(kind, FILES)}")
    return (resources.files("distiller.search") / "deploy" / FILES[kind]).read_text("utf-8")


def write_deployment(kind: str, out: Path | None) -> Path:
    """Write the file for a kind of cluster to `out`, by default its own name here; never over another.

    Raises:
        InputError: there is no such kind, or `out` is there already or cannot be written.
    """
    text, path = deployment(kind), out or Path(FILES.get(kind, kind))
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise InputError(f"{path}: is there already; name another with --out") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); name another with --out") from None
    return path
