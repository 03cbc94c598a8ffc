"""What to know of the figures of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from distiller.results.recommendation.early import MOST
from distiller.results.recommendation.table import Tried


def notes(tried: Tried, groups: int, unable: Sequence[str], probes: Mapping[str, float]) -> tuple[str, ...]:
    """One sentence each.

    Args:
        groups: how many are left out in turn.
        unable: recommenders that were left out for want of early scores.
        probes: by recommender that may ask for any, their mean cost in full trials.
    """
    said = [*tried.left_out, *_of_probes(tried, unable, probes)]
    unknown = [name for name, sd in zip(tried.datasets, tried.noise, strict=True) if np.isnan(sd)]
    if unknown:
        names = ", ".join(unknown)
        which = "no dataset has a" if len(unknown) == len(tried.datasets) else f"{names}: no"
        said.append(
            f"{which} config that ran on several seeds, so the noise is unknown: the best of noisy scores "
            "is high partly by luck, and regrets there are too large for every recommender alike"
        )
    if len(unknown) < len(tried.datasets):
        said.append(
            "scores are shrunk by the noise between seeds of one config, so that the best of many is not "
            "high by luck"
        )
    if steered := int(tried.steered.sum()):
        said.append(
            f"{steered} of {int(tried.tried.sum())} configs were not drawn from the prior: random picks "
            "among them are no random search"
        )
    if int((tried.tried.sum(axis=1) > 1).sum()) == 0:
        said.append(
            "no config ran on two datasets: how good one is elsewhere is predicted from its parameters"
        )
    if groups < 8:
        said.append(
            f"{groups} groups of datasets are few: intervals by the bootstrap over them are too narrow"
        )
    return tuple(said)


def _of_probes(tried: Tried, unable: Sequence[str], probes: Mapping[str, float]) -> list[str]:
    said = []
    if unable:
        said.append(
            f"{', '.join(unable)}: left out, since fewer than two groups of datasets have scores at a share "
            f"of the budget up to {MOST:g} (learning curves, or trials that were stopped)"
        )
    if silent := [name for name, cost in probes.items() if not cost]:
        said.append(f"{', '.join(silent)}: no probes, since earlier datasets do not show that they help")
    if costs := ", ".join(f"{name} {cost:.1f}" for name, cost in probes.items() if cost):
        known = tried.fidelity[~np.isnan(tried.fidelity)]
        shares = " to ".join(dict.fromkeys(f"{share:.3g}" for share in (known.min(), known.max())))
        said.append(
            f"probes are trials of {shares} of the budget, and cost so many full trials a dataset: {costs}; "
            "regret and correlation do not count them, what k trials buy, random trials and the choice do"
        )
        without = [
            name for name, share in zip(tried.datasets, tried.fidelity, strict=True) if np.isnan(share)
        ]
        if without:
            said.append(f"{', '.join(without)}: no early scores, so nothing is probed there")
    return said
