"""A recipe: all that is needed to train one student again, as `distiller export` writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from distiller.spaces.config import PipelineConfig
from distiller.spaces.datasets import DatasetConfig
from distiller.spaces.errors import InputError
from distiller.spaces.files import parse_yaml, validated, write_yaml
from distiller.spaces.narrowing import nearest
from distiller.spaces.own import load_parts
from distiller.spaces.sweep import Budget, CacheConfig, Name, TeacherConfig

IMPORTED = "imported"
"""Key of an exported file that is no recipe: the config of an imported table, under its sweep's name."""


class Recipe(BaseModel):
    """One config on one dataset with its teachers and budget; `scores` and `provenance` are for reading."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    """The dataset's name."""
    dataset: DatasetConfig
    base: str = "."
    """The folder that the dataset's and teachers' relative paths start from."""
    teachers: dict[Name, TeacherConfig] = Field(min_length=1)
    budget: Budget
    parts: tuple[str, ...] = ()
    """Modules of a user's own choices, as in the sweep."""
    config: PipelineConfig
    cache: CacheConfig = CacheConfig()
    scores: dict[str, Any] = {}
    provenance: dict[str, Any] = {}

    def to_yaml(self) -> str:
        """The recipe as a person reads it."""
        written = self.model_dump(mode="json", exclude_unset=True)
        written["config"] = self.config.model_dump(mode="json")  # in full: defaults may change
        return write_yaml(written)

    @model_validator(mode="after")
    def _check_teachers(self) -> Recipe:
        for teacher in self.config.teacher:
            if teacher.checkpoint not in self.teachers:
                near = nearest(teacher.checkpoint, self.teachers)
                unknown = f"config.teacher.checkpoint: {teacher.checkpoint!r}"
                raise ValueError(f"{unknown} is not under teachers:; {near}")
        return self


def parse_recipe(text: str, place: str, folder: Path = Path()) -> Recipe:
    """The recipe in `text`, its own parts registered; a relative `base` starts from `folder`.

    Raises:
        InputError: what is wrong with it.
    """
    written = parse_yaml(text, place)
    if isinstance(written, dict) and IMPORTED in written:
        raise InputError(
            f"{place}: a config of the imported table {written[IMPORTED]!r}, whose settings are its own; "
            "only what was exported from a launched sweep can be trained"
        )
    if isinstance(written, dict) and isinstance(written.get("parts"), list):
        load_parts([str(path) for path in written["parts"]], folder / str(written.get("base", ".")))
    return validated(Recipe, written, place)


def check_recipe(text: str, place: str) -> None:
    """Whether `text` reads back as a recipe; its own parts are registered already, their files may be away.

    Raises:
        InputError: what is wrong with it.
    """
    validated(Recipe, parse_yaml(text, place), place)
