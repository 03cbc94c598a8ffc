"""Intermediate objectives: pure functions of one student's and one teacher's states, and their registry.

A loss takes ONE student's tensors and returns a scalar; `torch.func.vmap` adds the member axis. It never
receives a config, computes in float32 or wider (outside autocast, which would undo that), gives the teacher
no gradient, and does not see padding. `distiller.pipelines.contract` checks all this.
"""

from __future__ import annotations

from distiller.pipelines.objectives import attention, barber_agakov, crd, gram, hidden, rkd
from distiller.pipelines.objectives import mutual_information as mi
from distiller.pipelines.objectives.objective import Objective, State
from distiller.pipelines.objectives.representation import reduce_representation

QUERIES, KEYS, VALUES = State("queries"), State("keys"), State("values")

OBJECTIVES: dict[str, Objective] = {
    "mse": Objective(hidden.mse, same_width=True, at_equal="zero"),
    "l1": Objective(hidden.l1, same_width=True, at_equal="zero"),
    "cosine": Objective(hidden.cosine, same_width=True, at_equal="zero"),
    "pkd": Objective(hidden.pkd, same_width=True, at_equal="zero"),
    "ce": Objective(hidden.ce, same_width=True, at_equal="least"),
    "kl": Objective(hidden.kl, same_width=True, at_equal="zero"),
    "attention": Objective(attention.attention, reads=(QUERIES, KEYS), at_equal="zero"),
    "minilm": Objective(attention.minilm, reads=(QUERIES, KEYS, VALUES), at_equal="zero"),
    "minilm_v2": Objective(attention.minilm_v2, reads=(QUERIES, KEYS, VALUES), at_equal="zero"),
    "cka": Objective(gram.cka, at_equal="zero"),
    "rkd": Objective(rkd.rkd, at_equal="zero"),
    "nst": Objective(gram.nst, reads=(State("hidden"),), at_equal="zero"),
    "fsp": Objective(
        gram.fsp, reads=(State("hidden", below=1), State("hidden")), same_width=True, at_equal="zero"
    ),
    "crd": Objective(crd.crd, start=crd.crd_parameters, remembers=True),
    "mi_alpha": Objective(mi.mi_alpha_loss, start=mi.start_critic_and_baseline),
    "info_nce": Objective(mi.info_nce_loss, start=mi.start_critic),
    "tuba": Objective(mi.tuba_loss, start=mi.start_critic_and_baseline),
    "nwj": Objective(mi.nwj_loss, start=mi.start_critic),
    "barber_agakov": Objective(barber_agakov.barber_agakov, start=barber_agakov.decoder_parameters),
    "js": Objective(mi.js_loss, start=mi.start_critic),
}

__all__ = ["OBJECTIVES", "Objective", "State", "reduce_representation"]
