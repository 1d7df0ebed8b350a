"""Named columns as a pandas DataFrame or an Arrow table: text stays text, and unknown times stay missing."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from featstore.errors import DataError

if TYPE_CHECKING:
    import pandas
    import pyarrow

Column = Sequence[str | None] | np.ndarray
"""Texts, of which None is missing, or an array of numbers, of which NaN is missing."""


def to_pandas(columns: Mapping[str, Column]) -> "pandas.DataFrame":
    """One row per entry; text columns have the type that this version of pandas gives to text.

    DataError where pandas is not installed.
    """
    pandas = installed("pandas", "a DataFrame")
    text = pandas.Series(["text"]).dtype  # str from pandas 3 on, object before
    series = {
        name: values if isinstance(values, np.ndarray) else pandas.Series(unicode_texts(values), dtype=text)
        for name, values in columns.items()
    }
    return pandas.DataFrame(series)


def to_arrow(columns: Mapping[str, Column]) -> "pyarrow.Table":
    """One row per entry; text columns are strings, and a missing time is null.

    DataError where pyarrow is not installed.
    """
    arrow = installed("pyarrow", "an Arrow table")
    arrays = {
        name: arrow.array(values, from_pandas=True)
        if isinstance(values, np.ndarray)
        else arrow.array(unicode_texts(values), type=arrow.string())
        for name, values in columns.items()
    }
    return arrow.table(arrays)


def unicode_text(text: str) -> str:
    r"""The text with bytes of a path that are not UTF-8 as \xNN, because tables hold Unicode only."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def unicode_texts(texts: Sequence[str | None]) -> list[str | None]:
    """`unicode_text` of every text; None stays None."""
    return [text if text is None else unicode_text(text) for text in texts]


def installed(name: str, what: str) -> Any:
    """The library `name` of the extra `tables`; DataError where it is not installed."""
    try:
        return import_module(name)
    except ImportError as error:
        raise DataError(f"{what} needs {name}; pip install 'featstore[tables]'") from error
