"""What is no config's fault: a node without what trials need, a cohort that is too large for the memory."""

from __future__ import annotations

import platform

from distiller.spaces.errors import InputError


class UnfitNodeError(InputError):
    """What a node lacks that trials need: no trial may fail of it."""

    def __init__(self, reason: str):
        super().__init__(f"node {platform.node()}: {reason}")


class TooManyError(Exception):
    """These students do not fit into memory together; their memory was given back."""
