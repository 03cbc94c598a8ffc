"""The HTML report of a sweep: one file, which asks nothing of any network."""

from distiller.results.report.analysis import Analysis
from distiller.results.report.figure import Figure
from distiller.results.report.files import write_figures
from distiller.results.report.page import Report, write_report

__all__ = ["Analysis", "Figure", "Report", "write_figures", "write_report"]
