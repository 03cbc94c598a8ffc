"""A sweep as a person writes it: datasets, teachers, space, budget, search and resources in one YAML."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from distiller.spaces.config import STAGES, PipelineConfig
from distiller.spaces.datasets import DatasetConfig, one_dataset_a_size
from distiller.spaces.errors import InputError
from distiller.spaces.files import parse_yaml, read_text, validated
from distiller.spaces.narrowing import narrowed_to, nearest, parse_space
from distiller.spaces.own import load_parts
from distiller.spaces.presets import PRESETS
from distiller.spaces.priors import OneOf
from distiller.spaces.search import Search, Stop
from distiller.spaces.space import Group, Space, slot_paths

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


MIRRORS = ("tensorboard", "mlflow", "wandb", "optuna")
"""Where rows can be mirrored to; `KIND:PLACE` names one."""


def check_mirror(written: str) -> str:
    """A mirror as written; ValueError where it is none."""
    kind, colon, place = written.partition(":")
    if kind not in MIRRORS:
        raise ValueError(f"{written!r} is no mirror; {nearest(kind, MIRRORS)}, as in tensorboard:runs")
    if not colon or not place:
        raise ValueError(f"{written!r} names no place; write {kind}:PLACE")
    return written


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FineTune(_Strict):
    """How a teacher that is not fine-tuned yet learns a task: AdamW, linear schedule, best epoch kept."""

    epochs: int = Field(default=5, ge=1, le=1000)
    learning_rate: float = Field(default=1e-4, gt=0, le=1)
    batch_size: int = Field(default=32, ge=1)
    weight_decay: float = Field(default=0.01, ge=0, le=1)
    warmup: float = Field(default=0.1, ge=0, le=1)
    seed: int = Field(default=0, ge=0)


class TeacherConfig(_Strict):
    """A teacher checkpoint that `transformers` loads with a head for the dataset's task.

    `model` is a hub name, a local directory (relative to the YAML file), or `package:NAME/inside` for a
    directory in an installed package. Without `fine_tune` it must already be fine-tuned for the task.
    """

    model: str = Field(min_length=1)
    revision: str | None = None
    fine_tune: FineTune | None = None
    trust_remote_code: bool = False
    """Run the code that comes with the checkpoint; name a `revision`, or it may be other code tomorrow."""

    @field_validator("fine_tune", mode="before")
    @classmethod
    def _accept_true(cls, written: Any) -> Any:
        return {} if written is True else None if written is False else written


class Budget(_Strict):
    """What one full run costs, the same for every config."""

    steps: int = Field(default=1000, ge=1)
    """Optimizer steps; augmented copies do not add to them."""
    evaluations: int = Field(default=8, ge=1)
    """How often a full run is scored on validation, evenly spaced."""


class Resources(_Strict):
    """What one trial takes of a worker; fractions share a device."""

    cpus: float = Field(default=1, gt=0)
    gpus: Annotated[float, Field(ge=0)] | Literal["auto"] = 0.0
    """`auto`: the share of a GPU whose memory a trial (a cohort, where trained at once) fits, by estimate."""
    max_concurrent: int | None = Field(default=None, ge=1)
    """Trials at a time; by default as many as the resources carry."""
    trial_minutes: float | None = Field(default=240, gt=0)
    """Wall time of a trial (of a cohort, all of it) after which it has failed; null: none."""
    checkpoint_seconds: float = Field(default=10.0, ge=0)
    """What a running trial may lose with its worker: at most so much work, and what it does while a
    checkpoint is written. Shorter trials write none; 0: after each step. More where students are hundreds of
    megabytes."""

    @field_validator("gpus", mode="wrap")
    @classmethod
    def _one_error(cls, written: Any, validate: ValidatorFunctionWrapHandler) -> Any:
        try:
            return validate(written)
        except ValidationError:
            raise ValueError("is no number of GPUs from 0 on; write one, such as 0.25, or auto") from None

    @property
    def least_gpus(self) -> float:
        """GPUs that a node needs to carry a trial, as far as that is known."""
        if self.gpus == "auto":
            return 1.0
        return float(self.gpus)


class CacheConfig(_Strict):
    """Where teachers, their outputs and augmented texts are kept on each node."""

    path: str = "~/.cache/distiller"
    max_gb: float = Field(default=8.0, gt=0)
    """Limit for the teacher outputs of one dataset and view; past it hidden states of tokens, then all
    hidden states, are computed live."""
    total_gb: float | None = Field(default=None, gt=0)
    """Limit for all that a node keeps there; past it, or where its disk gets full, teacher outputs that no
    trial reads make way, the longest unused first. Where that is not enough, hidden states are live."""


class SweepConfig(_Strict):
    """The whole file."""

    name: Name
    datasets: dict[Name, DatasetConfig] = Field(min_length=1)
    teachers: dict[Name, TeacherConfig] = Field(min_length=1)
    parts: tuple[str, ...] = ()
    """Python modules with choices of your own (`distiller.spaces.own`), relative to the file."""
    space: dict[str, Any] = {}
    space_for: dict[str, dict[str, Any]] = {}
    """Stages that a dataset searches differently, by dataset."""
    budget: Budget = Budget()
    search: Search = Search()
    resources: Resources = Resources()
    cache: CacheConfig = CacheConfig()
    mirrors: tuple[Annotated[str, AfterValidator(check_mirror)], ...] = ()
    """Where trials are written as they end, beside the store: `tensorboard:FOLDER`, `mlflow:URI`,
    `wandb:FOLDER`, `optuna:sqlite:///FILE`; paths are relative to the file."""

    @model_validator(mode="before")
    @classmethod
    def _size_by_size(cls, written: Any) -> Any:
        return one_dataset_a_size(written) if isinstance(written, dict) else written

    @field_validator("space", "space_for", mode="before")
    @classmethod
    def _accept_nothing(cls, written: Any) -> Any:
        return {} if written is None else written

    @model_validator(mode="after")
    def _check_names(self) -> SweepConfig:
        for dataset in self.space_for:
            if dataset not in self.datasets:
                raise ValueError(f"space_for.{dataset}: no such dataset; {nearest(dataset, self.datasets)}")
        targets = self.search.stop.target
        for dataset in targets if isinstance(targets, dict) else ():
            if dataset not in self.datasets:
                near = nearest(dataset, self.datasets)
                raise ValueError(f"search.stop.target.{dataset}: no such dataset; {near}")
        return self

    def space_of(self, dataset: str) -> Space:
        """The dataset's space, its teachers named.

        Raises:
            InputError: a stage, choice, parameter, value or teacher is not right.
        """
        written = dict(self.space)
        for stage, narrowing in self.space_for.get(dataset, {}).items():
            if stage not in STAGES:
                raise InputError(f"space_for.{dataset}.{stage}: unknown stage; {nearest(stage, STAGES)}")
            written[stage] = narrowing
        parse_space(self.space)
        written["teacher"] = self._teachers_named(written.get("teacher"))
        own = self.space_for.get(dataset, {})
        space = parse_space(written, f"space_for.{dataset}" if own else "space")
        place = f"space_for.{dataset}" if "teacher" in own else "space"
        nodes = space.stages["teacher"]
        for path, node in zip(slot_paths("teacher", nodes), nodes, strict=True):
            assert isinstance(node, Group)
            prior = node.children["checkpoint"]
            assert isinstance(prior, OneOf)
            for name in prior.values:
                if name not in self.teachers:
                    raise InputError(
                        f"{place}.{path}.checkpoint: {name!r} is not under teachers:; "
                        f"{nearest(str(name), self.teachers)}"
                    )
        return space

    @property
    def trusted_code(self) -> dict[str, str]:
        """Whose code runs: `model@revision` of each teacher with `trust_remote_code`, for the provenance."""
        return {
            f"trust_remote_code of {name}": f"{teacher.model}@{teacher.revision or 'no revision'}"
            for name, teacher in self.teachers.items()
            if teacher.trust_remote_code
        }

    def _teachers_named(self, written: Any) -> Any:
        """The teacher stage as written, with all of `teachers:` in each slot that names none."""
        if isinstance(written, dict) and isinstance(written.get("slots"), list):
            return {**written, "slots": [self._teachers_named(slot) for slot in written["slots"]]}
        return {"checkpoint": list(self.teachers)} if written in (None, {}) else written

    def rungs(self) -> list[int]:
        """The steps at which trials report, the full budget last."""
        scheduler = self.search.scheduler
        return scheduler.rungs(self.budget.steps) if scheduler else [self.budget.steps]


def of_presets(sweep: SweepConfig, presets: Sequence[str]) -> SweepConfig:
    """The sweep with these presets in place of its search: all run in full, all are finalists.

    Raises:
        InputError: one of them is unknown.
    """
    for name in presets:
        if name == AUTO:
            raise InputError(f"--preset {AUTO}: chosen by a store at a launch; leave it out here")
        if name not in PRESETS:
            raise InputError(f"--preset {name}: no such preset; {nearest(name, PRESETS)}")
    chosen = list(dict.fromkeys(presets))
    search = sweep.search.model_copy(
        update={
            "trials": len(chosen),
            "warm_start": tuple(chosen),
            "scheduler": None,
            "sampler": "tpe" if sweep.search.sampler == "bohb" else sweep.search.sampler,
            "stop": Stop(),
            "objectives": ("score",),
            "finalists": sweep.search.finalists.model_copy(update={"top": len(chosen)}),
        }
    )
    # Presets bring these stages themselves: nothing else is to be prepared for.
    bare = {"augmentation": "none", "intermediate": "none", "prediction": "mse"}
    own = {dataset: {**stages, **bare} for dataset, stages in sweep.space_for.items()}
    name = fitting_name(f"{sweep.name}-{'-'.join(chosen)}", sweep.name)
    changes = {"name": name, "search": search, "space": {**sweep.space, **bare}, "space_for": own}
    return sweep.model_copy(update=changes)


AUTO = "auto"
"""In place of a preset: what the trials of other sweeps recommend."""


def of_configs(sweep: SweepConfig, configs: Mapping[str, PipelineConfig]) -> SweepConfig:
    """The sweep with one config a dataset in place of its search, run in full and on new seeds.

    Args:
        configs: by dataset.
    """
    search = sweep.search.model_copy(
        update={
            "trials": 1,
            "warm_start": (),
            "scheduler": None,
            "sampler": "random",
            "stop": Stop(),
            "objectives": ("score",),
            "finalists": sweep.search.finalists.model_copy(
                update={"top": min(1, sweep.search.finalists.top)}
            ),
        }
    )
    own = {dataset: narrowed_to(config) for dataset, config in configs.items()}
    return sweep.model_copy(
        update={"name": auto_name(sweep.name), "search": search, "space": {}, "space_for": own}
    )


def auto_name(name: str) -> str:
    """What the sweep of this name is called with recommended configs in place of its search."""
    return fitting_name(f"{name}-{AUTO}", name)


def fitting_name(name: str, stem: str) -> str:
    """`name` where it may be one, else `stem` with a digest of it."""
    return name if NAME.fullmatch(name) else f"{stem}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def warm_started(sweep: SweepConfig, written: Sequence[str]) -> SweepConfig:
    """The sweep, tried first with more: presets, `recommend`, or recipe files by their path from here.

    Raises:
        InputError: one is none of these.
    """
    more: list[Any] = []
    for one in written:
        if one.endswith((".yaml", ".yml")):
            more.append({"configs": str(Path(one).resolve())})
        else:
            more.append(one)
    before = sweep.search.model_dump(exclude_unset=True)
    starts = [*before.get("warm_start", ()), *more]
    search = validated(Search, {**before, "warm_start": starts}, "--warm-start")
    return sweep.model_copy(update={"search": search})


def bundled_sweeps() -> list[str]:
    """Names of the sweeps that come with the package."""
    folder = resources.files("distiller.spaces") / "sweeps"
    return sorted(p.name.removesuffix(".yaml") for p in folder.iterdir() if p.name.endswith(".yaml"))


def sweep_text(name_or_path: str) -> tuple[str, Path]:
    """The text of a bundled sweep or of a file, and the folder that its relative paths start from."""
    if name_or_path in bundled_sweeps():
        text = (resources.files("distiller.spaces") / "sweeps" / f"{name_or_path}.yaml").read_text("utf-8")
        return text, Path.cwd()
    path = Path(name_or_path)
    if not path.exists() and not path.suffix and NAME.fullmatch(name_or_path):
        near = nearest(name_or_path, bundled_sweeps())
        raise InputError(f"{name_or_path}: no such file or bundled sweep; {near}")
    return read_text(path), path.resolve().parent


def read_sweep(text: str, place: str) -> SweepConfig:
    """The sweep in `text` without a look at its spaces, so without its own parts.

    Raises:
        InputError: one line that names the place in the file and the remedy.
    """
    return validated(SweepConfig, parse_yaml(text, place), place)


def parse_sweep(
    text: str, place: str, base: Path = Path(), parts: Mapping[str, str] | None = None
) -> SweepConfig:
    """The sweep in `text`, its spaces checked too, its own parts registered; `base` is where paths start.

    Args:
        parts: texts of modules that stand in for their files, as in `load_parts`.

    Raises:
        InputError: one line that names the place in the file and the remedy.
    """
    sweep = read_sweep(text, place)
    try:
        load_parts(sweep.parts, base, parts)
        for dataset in sweep.datasets:
            sweep.space_of(dataset)
    except InputError as error:
        raise InputError(f"{place}: {error}") from None
    return sweep
