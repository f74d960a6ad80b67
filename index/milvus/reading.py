"""What is read from a collection in Milvus: rows by key, in pages by version, by likeness.

Legend: C candidates of one query, Q queries, D width.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import ranking
from ..errors import Unsupported
from ..plan import Effort
from ..results import Hits, Record
from ..rows import parsed
from . import layout
from .connection import Connection, Row

ANSWER_BYTES = 48 << 20  # vectors in one answer; Milvus's own limit is 100 MB for all of it
WINDOW = 16_384  # rows of one query that is not by key: Milvus's limit
KEYS = 1_024  # in one expression
SPARE = 6  # candidates beyond k: float32 scores may order those with nearly the same score otherwise
LOSSY = 4  # times k from an index that holds no exact vectors


def records(
    connection: Connection, table: str, keys: Sequence[str], dim: int, vectors: bool
) -> dict[str, Record]:
    """Records by key, of those that are there."""
    fields = ["key", "version", "metadata", *(["vector"] if vectors else [])]
    size = min(KEYS, max(1, ANSWER_BYTES // (4 * dim)))
    found: list[Row] = []
    for some in chunks(keys, size):
        listed = ", ".join(f'"{one}"' for one in some)
        found += connection.query(table, f"key in [{listed}]", fields)
    texts = parsed([_braced(row) for row in found])
    return {
        row["key"]: Record(
            layout.id_of(row["key"]), row["version"], text, vector_of(row) if vectors else None
        )
        for row, text in zip(found, texts, strict=True)
    }


def chunks(keys: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """The keys in pieces of at most so many."""
    return (keys[start : start + size] for start in range(0, len(keys), size))


def vector_of(row: Mapping[str, Any]) -> NDArray[np.float32]:
    """The vector (D,) of a row."""
    return np.array(row["vector"], np.float32)


def _braced(row: Mapping[str, Any]) -> str:
    """The metadata's JSON text; the braces are not stored, as Milvus holds a byte less than we promise."""
    return f"{{{row['metadata']}}}"


def page(
    connection: Connection, table: str, limit: int, after: int, dim: int, vectors: bool, condition: str
) -> list[Record]:
    """The next records behind a version. Milvus cannot sort: keys are sorted here, a window at a time."""
    taken: list[Record] = []
    while len(taken) < limit:
        keys, complete = _window(connection, table, limit - len(taken), after, condition)
        found = records(connection, table, [key for _, key in keys], dim, vectors)
        # One that was replaced meanwhile has a higher version and comes later.
        taken += [found[key] for version, key in keys if key in found and found[key].version == version]
        if complete:
            break
        after = keys[-1][0]
    return taken


def _window(
    connection: Connection, table: str, limit: int, after: int, condition: str
) -> tuple[list[tuple[int, str]], bool]:
    """Version and key of the next rows behind a version, ascending, and whether there are no more."""

    def within(until: int | None) -> str:
        bound = f"version > {after}" + ("" if until is None else f" and version <= {until}")
        return f"{bound} and {condition}" if condition else bound

    def rows(until: int | None) -> list[tuple[int, str]]:
        found = connection.query(table, within(until), ["version", "key"], WINDOW)
        return sorted((row["version"], row["key"]) for row in found)

    found = rows(None)
    if len(found) == WINDOW:  # Milvus chose which: find a bound that fewer rows are below
        until = bound(lambda until: connection.count(table, within(until)), after, found[-1][0], limit)
        found = rows(until)
        return found[:limit], False
    return found[:limit], len(found) <= limit


def bound(count: Callable[[int], int], low: int, high: int, limit: int) -> int:
    """A number up to `high` that has at least `limit` rows, and fewer than a window, up to it.

    `count` gives how many rows are up to a number: fewer than `limit` up to `low`, a window or more up to
    `high`. Guesses by proportion and halves the range in turn.
    """
    few, many, target = 0, count(high), (limit + WINDOW) // 2
    proportion = True
    while high - low > 1:
        share = (target - few) / max(1, many - few) if proportion else 0.5
        middle = min(high - 1, max(low + 1, low + int((high - low) * min(1.0, max(0.0, share)))))
        found = count(middle)
        if limit <= found < WINDOW:
            return middle
        if found < limit:
            low, few = middle, found
        else:
            high, many = middle, found
        proportion = not proportion
    return high


def search(
    connection: Connection,
    table: str,
    kind: layout.Kind,
    queries_QD: NDArray[np.float32],
    k: int,
    condition: str,
    *,
    threshold: float | None,
    effort: Effort,
    diversity: float,
) -> list[Hits]:
    """For each query the best items, scored anew here in float64 as everywhere in polylens."""
    pool = ranking.pool(k) if diversity else k
    count = min(WINDOW, (pool if kind.lossless or effort.exact else LOSSY * pool) + SPARE)
    dim = queries_QD.shape[1]
    together = ANSWER_BYTES // (4 * dim * count)
    if not together:
        most = ANSWER_BYTES // (4 * dim) - SPARE
        raise Unsupported(f"{count} candidates of width {dim} for one query; Milvus answers at most {most}")
    params = kind.asked(effort, count)
    hits = []
    for start in range(0, len(queries_QD), together):
        some = queries_QD[start : start + together]
        fields = ["key", "version", "metadata", "vector"]
        answers = connection.search(table, list(some), count, condition, fields, **params)
        hits += [
            _ranked(query_D, rows, k, threshold, diversity)
            for query_D, rows in zip(some, answers, strict=True)
        ]
    return hits


def _ranked(
    query_D: NDArray[np.float32],
    rows: Sequence[Mapping[str, Any]],
    k: int,
    threshold: float | None,
    diversity: float,
) -> Hits:
    if not rows:
        return Hits([], np.empty(0, np.float32), [])
    vectors_CD = np.stack([vector_of(row) for row in rows]).astype(np.float64)
    scores_C = np.einsum("cd,d->c", vectors_CD, query_D.astype(np.float64)).astype(np.float32)
    order = np.lexsort(([row["version"] for row in rows], -scores_C))
    if threshold is not None:
        order = order[scores_C[order] >= np.float32(threshold)]
    if diversity:
        order = order[: ranking.pool(k)]
        order = order[ranking.choose(scores_C[order], vectors_CD[order], k, diversity)]
    order = order[:k]
    chosen = [rows[place] for place in order]
    metadata = parsed([_braced(row) for row in chosen])
    return Hits([layout.id_of(row["key"]) for row in chosen], scores_C[order], metadata)
