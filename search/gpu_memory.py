"""How much memory the GPUs of this machine have, asked of the driver: torch would take a part of it."""

from __future__ import annotations

import subprocess

from distiller.spaces.errors import InputError


def gpu_gib() -> list[float]:
    """GiB of each GPU of this machine.

    Raises:
        InputError: `nvidia-smi` is not there, or does not say.
    """
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    remedy = "write resources.gpus as a number"
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        found = [float(line) / 1024 for line in done.stdout.split()]
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"resources.gpus: auto: nvidia-smi does not tell the GPUs' memory ({first}); {remedy}"
        ) from None
    if not found:
        raise InputError(f"resources.gpus: auto: nvidia-smi lists no GPU; {remedy}")
    return found
