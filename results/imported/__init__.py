"""Somebody else's table of trials as a sweep: a mapping says what its columns are."""

from __future__ import annotations

from distiller.results.imported.importing import Imported, import_into, import_table, read_import
from distiller.results.imported.kept import imported_designs, imported_mapping, is_imported
from distiller.results.imported.mapping import TableMapping, parse_mapping
from distiller.results.imported.suggestion import suggest
from distiller.results.imported.tables import Table, read_table

__all__ = [
    "Imported",
    "Table",
    "TableMapping",
    "import_into",
    "import_table",
    "imported_designs",
    "imported_mapping",
    "is_imported",
    "parse_mapping",
    "read_import",
    "read_table",
    "suggest",
]
