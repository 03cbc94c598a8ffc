"""What augmentation draws on beside the texts: the teacher's vocabulary, checkpoints, a folder."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from distiller.pipelines.augment.neighbours import Neighbours
from distiller.pipelines.checkpoint import weights_fingerprint
from distiller.pipelines.content import built_once, content_key
from distiller.pipelines.places import located


@dataclass(eq=False)
class Sources:
    """The surroundings of a dataset's views.

    Attributes:
        tokenizer: the teacher's.
        table: [V, E] the teacher's input embeddings.
        fingerprint: changes with both.
        cache: the node's folder, where costly texts are kept.
        base: the folder that relative paths of checkpoints start from.
        device: where checkpoints are computed.
        place: what holds the augmentation stage, for messages.
    """

    tokenizer: Any
    table: Tensor
    fingerprint: str
    cache: Path
    base: Path
    device: torch.device
    place: str = "space.augmentation"

    @functools.cached_property
    def neighbours(self) -> Neighbours:
        """The whole words of the teacher's vocabulary, and which are near which."""
        return Neighbours(self.tokenizer, self.table)

    def place_of(self, parameter: str) -> str:
        """Where a parameter of a choice (`contextual.checkpoint`) stands."""
        return f"{self.place}.{parameter}"

    def checkpoint(self, named: str, parameter: str) -> str:
        """The folder or hub name of a checkpoint.

        Raises:
            InputError: no such folder.
        """
        return located(named, self.base, self.place_of(parameter))

    @functools.cached_property
    def _fingerprints(self) -> dict[str, str]:
        return {}

    def fingerprint_of(self, named: str, parameter: str) -> str:
        """What changes with a checkpoint's weights or tokenizer; read once, as the weights may be large.

        Raises:
            InputError: no such checkpoint.
        """
        source = self.checkpoint(named, parameter)
        if source not in self._fingerprints:
            self._fingerprints[source] = weights_fingerprint(source, None, self.place_of(parameter))
        return self._fingerprints[source]

    def kept(self, compute: Callable[[], Any], **parts: Any) -> Any:
        """What `compute` gives (JSON), from this node's cache or computed into it now, by its `parts`."""

        def build(folder: Path) -> None:
            (folder / "texts.json").write_text(json.dumps(compute()), encoding="utf-8")

        folder = built_once(self.cache / "texts" / content_key(**parts), build)
        return json.loads((folder / "texts.json").read_text(encoding="utf-8"))
