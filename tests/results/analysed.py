"""Made-up answers on a made-up sweep, of every kind that the report shows."""

from __future__ import annotations

from distiller.results.comparison import (
    AblationPath,
    AblationStep,
    ChoiceSummary,
    ComparisonResult,
    CriticalDifference,
    DatasetComparison,
    Difference,
    Estimate,
    Regret,
    RegretMatrix,
    StageByDataset,
)
from distiller.results.comparison.path import Score
from distiller.results.findings import BeatsNoTeacher, Finding, Findings
from distiller.results.report import Analysis

SHARES = {"intermediate": 0.5, "student": 0.3, "prediction": 0.1, "optimization": 0.02}
QUESTION = "intermediate.objective"


def importance(verdict="ok", shares=None, noise=0.12):
    """`Importance.to_dict()` of stages with these main effects."""
    shares = shares or SHARES
    stages = {
        name: {
            "main": share, "total": share + 0.04, "shapley": share + 0.02, "influential": share >= 0.1,
            "main_interval": [max(share - 0.04, 0.0), share + 0.05], "total_interval": [share, share + 0.1],
            "p_value": 0.001,
        }
        for name, share in shares.items()
    }  # fmt: skip
    names = list(shares)
    pairs = [{"stages": [a, b], "share": 0.03 / (i + 1)} for i, a in enumerate(names) for b in names[i + 1 :]]
    parameters = {
        name: [
            {"path": f"{name}.choice", "column": f"{name}_choice", "kind": "choice", "probability": 1.0,
             "share": share * 0.75},
            {"path": f"{name}.a.weight", "column": f"{name}_weight", "kind": "parameter", "probability": 0.5,
             "share": share * 0.25},
        ]
        for name, share in shares.items()
    }  # fmt: skip
    return {
        "verdict": verdict, "reason": "held-out R2 is 0.81 (95% lower bound 0.74) on 90 full runs",
        "caution": ["Shares are of the explained variance."], "r2": 0.81, "r2_low": 0.74,
        "noise_share": noise, "noise_repeats": 0 if noise is None else 6,
        "stages": stages, "interactions": pairs, "parameters": parameters,
        "top": {"quantile": 0.1, "stages": shares, "parameters": []},
    }  # fmt: skip


def comparison(datasets, choices=("mi_alpha", "mse", "cosine", "none")):
    """Choices in this order from the best to the worst, on every dataset by the same steps."""

    def differences(dataset):
        return tuple(
            Difference(
                one, other, dataset, (20, 16), 4,
                Estimate(gain, gain - 0.008, gain + 0.008, 0.01, 0.06 if j == i + 1 else 0.03),
                Estimate(gain), None, None, None,
            )
            for i, one in enumerate(choices)
            for j, other in enumerate(choices)
            for gain in [0.01 * (j - i)]
            if i < j
        )  # fmt: skip

    def one(dataset):
        summaries = tuple(
            ChoiceSummary(name, 20 - i, 2, 1, 0.9, 20 - i, 0.7 - 0.01 * i, 0.02,
                          tuple(0.7 - 0.01 * i + 0.01 * n**0.5 for n in range(20 - i)), None)
            for i, name in enumerate(choices)
        )  # fmt: skip
        return DatasetComparison(
            dataset,
            "matthews",
            "full runs",
            ("1 choice has few runs",),
            summaries,
            differences(dataset),
            0.01,
            6,
        )

    ranks = None
    if len(datasets) > 2:
        steps = tuple(1 + i * (len(choices) - 1) / max(len(choices) - 1, 1) for i in range(len(choices)))
        pairs = {(a, b): 0.2 for i, a in enumerate(choices) for b in choices[i + 1 :]}
        ranks = CriticalDifference(
            tuple(choices), steps, tuple(datasets), "best of 4", 8.1, 0.04, 9.0, 0.002, 1.5,
            (tuple(choices[:2]), tuple(choices[1:3])), pairs,
        )  # fmt: skip
    overall = differences(None) if len(datasets) > 1 else ()
    return ComparisonResult(
        QUESTION,
        "intermediate_objective",
        tuple(choices),
        tuple(map(one, datasets)),
        overall,
        ranks,
        (),
        (),
        (),
    )


def regret(datasets):
    """Between any two; the first pair is unknown, the rest in turn measured and predicted."""
    pairs = [(of, on) for of in datasets for on in datasets if of != on]
    entries = tuple(
        Regret(
            of,
            on,
            ("unknown", "measured", "predicted")[min(i, 1 + i % 2)],
            None if i == 0 else 0.01 * i,
            None,
        )
        for i, (of, on) in enumerate(pairs)
    )
    stages = tuple(
        StageByDataset(name, share / 5, 0.0, share / 4, 0.01, 0.02 if share > 0.2 else 0.3, {})
        for name, share in SHARES.items()
    )
    return RegretMatrix(tuple(datasets), entries, stages, dict.fromkeys(datasets, 0.01), ("one note",))


def findings(datasets, reason="its share is 50% and the next one's 30%"):
    """One claim of each verdict."""
    claims = tuple(
        Finding(f"claim{i}", f"claim number {i} holds", verdict, reason, "a share of 10%", tuple(datasets),
                40, Estimate(0.05, 0.01, 0.09, 0.02, 0.04), "matthews")
        for i, verdict in enumerate(("supported", "not supported", "cannot tell"))
    )  # fmt: skip
    beats = BeatsNoTeacher(30, 40, 0.75, 0.6, 0.86, dict.fromkeys(datasets, 0.75))
    return Findings(beats, claims, regret(datasets))


def ablation(dataset):
    """Two stages on the way, the second one not run."""
    steps = (
        AblationStep(None, "", "", "a" * 12, {}, Score("predicted", 0.6),
                     Score("measured", 0.61, 0.01, 3), None),
        AblationStep("student", "svd", "random", "b" * 12, {}, Score("predicted", 0.65),
                     Score("measured", 0.66, 0.02, 3), Estimate(0.05, 0.02, 0.08), "", "measured"),
        AblationStep("intermediate", "mse", "mi_alpha", "c" * 12, {}, Score("predicted", 0.7), None, None),
    )  # fmt: skip
    return AblationPath(dataset, "matthews", "tinybert", "predicted", 0.7, steps, ())


def analysis(designs, **more):
    """Every kind of answer, on all datasets of the designs."""
    names = list(designs)
    known = {
        "importance": {name: importance("cannot tell" if i == 1 else "ok") for i, name in enumerate(names)},
        "comparisons": (comparison(names),),
        "findings": findings(names),
        "ablations": tuple(map(ablation, names[:1])),
    }
    return Analysis(designs, **{**known, **more})
