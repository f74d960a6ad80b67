"""The metadata of a shard: rows are put by in a file as they come, and become a parquet table at the end.

Only then are all columns known. `id`, `image_path` and `caption` are always there, further columns as the
samples bring them: what is neither a number, a truth value nor a text becomes JSON text.
"""

import json
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import require
from .samples import Row

GROUP = 1000  # rows in a row group, and in memory
OURS = ("id", "image_path", "caption")
ARROW = {bool: "bool_", int: "int64", float: "float64", str: "string"}
LONGEST = 2**63


class Notes:
    """The rows of a shard on their way, in a temporary file."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+", encoding="utf-8")
        self._kinds: dict[str, type | None] = dict.fromkeys(OURS, str)

    def add(self, rows: Sequence[Row], further: Mapping[str, Sequence[str]]) -> None:
        """Puts rows by, with further columns that have a text for each."""
        for position, row in enumerate(rows):
            values: dict[str, Any] = {"id": row.id, "image_path": row.path, "caption": row.caption}
            values |= {name: column[position] for name, column in further.items()}
            for name, value in row.about.items():
                plain = _plain(value)
                if name not in values:
                    values[name] = plain
                elif values[name] != plain:  # img2dataset repeats the caption
                    values[f"{name}_"] = plain
            for name, value in values.items():
                self._kinds[name] = _wider(self._kinds.get(name), value)
            self._file.write(json.dumps(values) + "\n")

    def write(self, path: Path, vectors: Mapping[str, npt.NDArray[Any]]) -> None:
        """Writes the table, with a column for each of the vectors (N, D) that are given."""
        pyarrow, parquet = require("pyarrow", "embed"), require("pyarrow.parquet", "embed")
        kinds = {name: kind or str for name, kind in self._kinds.items()}
        fields = [(name, getattr(pyarrow, ARROW[kind])()) for name, kind in kinds.items()]
        fields += [
            (name, pyarrow.list_(pyarrow.from_numpy_dtype(array_ND.dtype), array_ND.shape[1]))
            for name, array_ND in vectors.items()
        ]
        schema = pyarrow.schema(fields)
        self._file.seek(0)
        start = 0
        with parquet.ParquetWriter(path, schema) as writer:
            while rows := [json.loads(line) for line in islice(self._file, GROUP)]:
                columns = [
                    pyarrow.array([_as(kind, row.get(name)) for row in rows], schema.field(name).type)
                    for name, kind in kinds.items()
                ]
                for name, array_ND in vectors.items():
                    flat = pyarrow.array(np.array(array_ND[start : start + len(rows)]).reshape(-1))
                    columns.append(pyarrow.FixedSizeListArray.from_arrays(flat, type=schema.field(name).type))
                writer.write_table(pyarrow.table(columns, schema=schema))
                start += len(rows)

    def close(self) -> None:
        """Closes the temporary file."""
        self._file.close()


def _plain(value: Any) -> bool | int | float | str | None:
    """The value where a column can hold it, else as JSON text."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int) and -LONGEST <= value < LONGEST:
        return value
    return value if isinstance(value, str) else _text(value)


def _wider(kind: type | None, value: object) -> type | None:
    """The kind of a column that holds the value as well; None as long as it holds nothing."""
    if value is None or kind is str:
        return kind
    if kind is None or kind is type(value):
        return type(value)
    return float if {kind, type(value)} == {int, float} else str


def _as(kind: type, value: Any) -> Any:
    """The value as its column holds it."""
    if value is None or (kind is not str and type(value) is kind):
        return value
    if isinstance(value, str):
        return _clean(value)
    return float(value) if kind is float else _text(value)


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _clean(text: str) -> str:
    """The text, with halves of surrogate pairs, which UTF-8 cannot hold, written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()
