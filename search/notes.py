"""What the pipeline warns of, collected for the row."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


class Notes(logging.Handler):
    """Collects what the pipeline warns of, so that it reaches the row."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text not in self.texts:
            self.texts.append(text)

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Collect while the block runs."""
        logger = logging.getLogger("distiller")
        logger.addHandler(self)
        try:
            yield
        finally:
            logger.removeHandler(self)
