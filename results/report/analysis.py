"""What the report tells of a sweep beyond its rows: computed once, shown in many places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from distiller.results.comparison import AblationPath, ComparisonResult
from distiller.results.design import Design
from distiller.results.findings import Findings


@dataclass(frozen=True)
class Analysis:
    """The answers that a report shows; what is empty was not asked, or could not be told.

    Attributes:
        designs: by dataset what was searched.
        importance: by dataset `Importance.to_dict()`.
        comparisons: of choices, one for each question.
        ablations: from published recipes to the best configs.
        missing: what could not be told and why, one sentence each.
    """

    designs: Mapping[str, Design] = field(default_factory=dict)
    importance: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    comparisons: tuple[ComparisonResult, ...] = ()
    findings: Findings | None = None
    ablations: tuple[AblationPath, ...] = ()
    missing: tuple[str, ...] = ()
