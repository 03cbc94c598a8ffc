"""What a sweep says about four claims of He et al. 2021 (arXiv 2109.11105)."""

from distiller.results.findings.find import find
from distiller.results.findings.report import BeatsNoTeacher, Finding, Findings

__all__ = ["BeatsNoTeacher", "Finding", "Findings", "find"]
