"""The HTML report of a sweep: one file, which asks nothing of any network."""

from distiller.results.report.page import write_report

__all__ = ["write_report"]
