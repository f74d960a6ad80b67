"""Ranks of right answers among any number of others, with bounded memory.

Legend: R = rows and C = columns of the matrix of scores, P = pairs of a row and a column that belong
together, D = width.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Floats = npt.NDArray[np.floating]
Integers = npt.NDArray[np.int64]
MAX_BLOCK = 2**24  # scores held at once: 64 MiB of float32


class Tile(NamedTuple):
    """A rectangle of the matrix, and which of the pairs lie in it."""

    rows: slice
    columns: slice
    pairs: slice


def pair_ranks(
    rows_RD: Floats, columns_CD: Floats, pairs_P2: Integers, *, both: bool = True
) -> tuple[Integers, Integers]:
    """(R,) for each row the rank of its best partner, and (C,) the same for each column (if `both`).

    The rank is how many that are no partners score at least as much: 0 is the best, and equal scores count
    against. Rows and columns without a partner get the number of all others.

    The matrix is passed through once in tiles, which are only compared with the partners' scores and never
    sorted; those of the pairs are computed in a first pass, in the same tiles so that they round alike.
    """
    side = max(1, math.isqrt(MAX_BLOCK))
    rows = torch.from_numpy(np.ascontiguousarray(rows_RD))
    columns = torch.from_numpy(np.ascontiguousarray(columns_CD))
    tiles, order = _tiles(len(rows), len(columns), pairs_P2, side)
    pairs = torch.from_numpy(pairs_P2[order])
    own_P = torch.empty(len(pairs), dtype=rows.dtype)
    # Written anew for every tile: memory of this size is costly to ask for.
    area = min(side, len(rows)) * min(side, len(columns))
    space, mask = torch.empty(area, dtype=rows.dtype), torch.empty(area, dtype=torch.bool)

    def scored(tile: Tile) -> Tensor:
        of_rows, of_columns = rows[tile.rows], columns[tile.columns]
        place = space[: len(of_rows) * len(of_columns)].view(len(of_rows), len(of_columns))
        return torch.matmul(of_rows, of_columns.T, out=place)

    for tile in (tile for tile in tiles if tile.pairs.start < tile.pairs.stop):
        scores = scored(tile)
        own_P[tile.pairs] = scores[_inside(pairs, tile)]
    best_R = _best(len(rows), pairs[:, 0], own_P)
    best_C = _best(len(columns), pairs[:, 1], own_P)
    ranks_R = np.zeros(len(rows), np.int64)
    ranks_C = np.zeros(len(columns), np.int64)
    for tile in tiles:
        scores = scored(tile)
        scores[_inside(pairs, tile)] = -torch.inf
        above = mask[: scores.numel()].view(scores.shape)
        torch.ge(scores, best_R[tile.rows, None], out=above)
        # numpy counts bytes many times faster than torch sums booleans.
        ranks_R[tile.rows] += [np.count_nonzero(row) for row in above.numpy()]
        if both:
            torch.ge(scores, best_C[None, tile.columns], out=above)
            ranks_C[tile.columns] += _down(above.numpy())
    return ranks_R, ranks_C


def _down(above_RC: npt.NDArray[np.bool_]) -> Integers:
    """(C,) how many are true in each column; 255 rows at a time, so that bytes can hold the sums."""
    total_C = np.zeros(above_RC.shape[1], np.int64)
    for start in range(0, len(above_RC), 255):
        total_C += np.add.reduce(above_RC[start : start + 255].view(np.uint8), axis=0, dtype=np.uint8)
    return total_C


def _best(count: int, places_P: Tensor, scores_P: Tensor) -> Tensor:
    """(count,) the highest score of the pairs at each place, minus infinity where there is none."""
    lowest = torch.full((count,), -torch.inf, dtype=scores_P.dtype)
    return lowest.scatter_reduce(0, places_P, scores_P, "amax")


def _tiles(rows: int, columns: int, pairs_P2: Integers, side: int) -> tuple[list[Tile], Integers]:
    """All tiles in order, and the order of the pairs in which those of a tile stand together."""
    across = -(-columns // side)
    tile_P = pairs_P2[:, 0] // side * across + pairs_P2[:, 1] // side
    order = np.argsort(tile_P, kind="stable")
    count = -(-rows // side) * across
    ends = np.searchsorted(tile_P[order], np.arange(count + 1))
    return list(_cut(rows, columns, side, ends)), order


def _cut(rows: int, columns: int, side: int, ends: Integers) -> Iterator[Tile]:
    number = 0
    for top in range(0, rows, side):
        for left in range(0, columns, side):
            pairs = slice(int(ends[number]), int(ends[number + 1]))
            yield Tile(slice(top, min(top + side, rows)), slice(left, min(left + side, columns)), pairs)
            number += 1


def _inside(pairs: Tensor, tile: Tile) -> tuple[Tensor, Tensor]:
    """Row and column, within the tile, of its pairs."""
    own = pairs[tile.pairs]
    return own[:, 0] - tile.rows.start, own[:, 1] - tile.columns.start
