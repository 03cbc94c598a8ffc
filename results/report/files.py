"""Every figure of a report as files: its numbers as CSV, and as SVG and PNG where a browser is installed."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path

from distiller.results.export import write_bytes, write_file
from distiller.results.report.browser import browser_page, find_browser
from distiller.results.report.figure import Figure
from distiller.results.report.page import Report

NO_BROWSER = (
    "no Chromium, Chrome or Edge is installed, so there is CSV alone; install one or name it in BROWSER_PATH"
)


def write_figures(report: Report, folder: Path, width: int = 1280) -> str | None:
    """Writes `<name>.csv`, `<name>.svg` and `<name>.png` of every figure; what is missing, in one line.

    The images are those that the page's own buttons save.

    Raises:
        InputError: the folder cannot be written, or the browser does not start.
    """
    write_numbers(report.figures, folder)
    program = find_browser()
    if program is None:
        return NO_BROWSER
    with browser_page(program) as page:
        page.open(report.path, width)
        for name in report.figures:
            figure = f"figures[{json.dumps(name)}]"
            write_file(folder / f"{name}.svg", page.evaluate(f"svgOf({figure})"), "--figures")
            image = page.evaluate(f"pngOf({figure})")
            write_bytes(folder / f"{name}.png", base64.b64decode(image.partition(",")[2]), "--figures")
    return None


def write_numbers(figures: Mapping[str, Figure], folder: Path) -> None:
    """Writes `<name>.csv` of every figure."""
    for name, figure in figures.items():
        write_file(folder / f"{name}.csv", figure.csv(), "--figures")
