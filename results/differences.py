"""Where two documents differ."""

from __future__ import annotations

import json
from typing import Any


def difference(old: Any, new: Any, path: str = "") -> str | None:
    """The first place where two documents differ, `path: old -> new`; None where they are equal."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(k for k in new if k not in old)]:
            found = difference(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
            if found:
                return found
        return None
    return None if old == new else f"{path}: {json.dumps(old)} -> {json.dumps(new)}"
