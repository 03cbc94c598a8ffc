"""The results tables as pandas DataFrames."""

from typing import NamedTuple

import pandas as pd
import pyarrow as pa

from distiller.results.schema import core_schema
from distiller.results.store import Store

_TYPES = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}


class Column(NamedTuple):
    name: str
    type: str
    comment: str


def load(url: str, table: str = "trials", sweep: str | None = None) -> pd.DataFrame:
    """One table of the store at `url`, of one sweep or of all.

    Whole numbers and booleans are pandas' nullable types, since an inactive parameter is null.
    """
    return to_frame(Store.open(url).read(table, sweep))


def to_frame(table: pa.Table) -> pd.DataFrame:
    """Any Arrow table of results, such as a query's, with the types of `load`."""
    frame: pd.DataFrame = table.to_pandas(types_mapper=_TYPES.get)
    return frame


def columns(table: str) -> list[Column]:
    """Core columns of a table: name, type, comment."""
    return [
        Column(field.name, str(field.type), field.metadata[b"comment"].decode())
        for field in core_schema(table)
    ]
