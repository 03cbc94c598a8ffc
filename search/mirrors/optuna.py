"""Optuna: studies that optuna-dashboard opens, one per dataset and role (their scores do not compare).

The study is `<sweep>/<dataset>/<role>`. Trials have the parameters that the search drew, with their
distributions. Completed trials are COMPLETE; stopped ones PRUNED, their value that of a lower fidelity;
failed ones FAIL.
"""

from __future__ import annotations

import math
from datetime import datetime
from types import MappingProxyType
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from distiller.results.ended import EndedTrial
from distiller.results.frozen import frozen_sweep
from distiller.results.store import Store
from distiller.search.mirrors.mirror import about, summary
from distiller.search.plan import searched_space
from distiller.search.samplers.tpe import optuna_parameters
from distiller.spaces.config import PipelineConfig
from distiller.spaces.errors import InputError
from distiller.spaces.space import Space


def open_mirror(store: Store, sweep: str, place: str) -> OptunaMirror:
    """A database (`sqlite:///runs.db`, or any URL that Optuna takes) or a journal file.

    Raises:
        InputError: the sweep came without its file, so that its spaces are not known.
    """
    config = frozen_sweep(store, sweep)
    if config is None:
        raise InputError(f"--sweep {sweep}: its file is not in the store, so its space is unknown")
    spaces = {dataset: searched_space(store, config, dataset) for dataset in config.datasets}
    return OptunaMirror(sweep, spaces, storage_at(place))


def storage_at(place: str) -> BaseStorage:
    """Optuna's storage behind a URL, or a journal file that many may write at once."""
    return RDBStorage(place) if "://" in place else JournalStorage(JournalFileBackend(place))


class OptunaMirror:
    """Adds each trial to its study in one transaction: Optuna never shows half of one."""

    def __init__(self, sweep: str, spaces: dict[str, Space], storage: BaseStorage):
        self.sweep, self.spaces, self.storage = sweep, spaces, storage
        self.studies: dict[tuple[str, str], optuna.Study] = {}

    def known(self) -> set[str]:
        mine = f"{self.sweep}/"
        names = [name for name in optuna.get_all_study_names(self.storage) if name.startswith(mine)]
        return {
            trial.user_attrs["trial_id"]
            for name in names
            for trial in optuna.load_study(study_name=name, storage=self.storage).get_trials(deepcopy=False)
            if "trial_id" in trial.user_attrs
        }

    def add(self, trial: EndedTrial) -> None:
        self._study(trial).add_trial(frozen_trial(trial, self.spaces[trial.row["dataset"]]))

    def _study(self, trial: EndedTrial) -> optuna.Study:
        dataset, role = trial.row["dataset"], trial.row["role"]
        if (dataset, role) not in self.studies:
            study = optuna.create_study(
                study_name=f"{self.sweep}/{dataset}/{role}",
                storage=self.storage,
                direction="maximize",
                load_if_exists=True,
            )
            study.set_user_attr("metric", trial.row["metric"])
            self.studies[dataset, role] = study
        return self.studies[dataset, role]

    def close(self) -> None:
        self.storage.remove_session()


def frozen_trial(trial: EndedTrial, space: Space) -> FrozenTrial:
    """An ended trial as Optuna keeps it."""
    status, score = trial.row["status"], trial.score
    state = {"completed": TrialState.COMPLETE, "stopped": TrialState.PRUNED}.get(status, TrialState.FAIL)
    if score is None and state is TrialState.COMPLETE:
        state = TrialState.FAIL
    parameters, distributions = parameters_of(trial.config, space)
    curve = {int(p["step"]): p["score"] for p in trial.curve if p["score"] is not None}
    made = FrozenTrial(
        number=-1,  # the storage numbers it
        trial_id=-1,
        state=state,
        value=None if state is TrialState.FAIL else score,
        datetime_start=_local(trial.row["started_at"] or trial.row["ended_at"]),
        datetime_complete=_local(trial.row["ended_at"] or trial.row["started_at"]),
        params=parameters,
        distributions=distributions,
        user_attrs={**about(trial), **summary(trial), "config": trial.row["config"]},
        system_attrs={},
        intermediate_values={step: value for step, value in curve.items() if math.isfinite(value)},
    )
    made._validate()
    return made


def parameters_of(config: PipelineConfig, space: Space) -> tuple[dict[str, Any], dict[str, Any]]:
    """The searched parameters, stage by stage: baselines have stages that no search draws."""
    parameters: dict[str, Any] = {}
    distributions: dict[str, Any] = {}
    for stage, slots in space.stages.items():
        try:
            found = optuna_parameters(Space(MappingProxyType({stage: slots})), config)
        except InputError:  # outside the space: its config is among the trial's attributes
            continue
        parameters |= found[0]
        distributions |= found[1]
    return parameters, distributions


def _local(moment: datetime | None) -> datetime | None:
    """Optuna's times are the machine's own, without a zone."""
    return None if moment is None else moment.astimezone().replace(tzinfo=None)
