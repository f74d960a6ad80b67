"""One FAISS index over the rows of a sealed segment: its kind, its search, its bytes.

Legend: Q queries, D width, C candidates per query.

An index numbers its rows from 0 in the order they were added, so there is never an IndexIDMap: over IVF it
returns wrong ids after a removal (faiss issues 4535, 4656). A built index is never changed: adding while
somebody searches crashes. Any number of threads may search it.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidInput, require

# Any: the type stubs of faiss give the C++ signatures of these functions, not Python's.
faiss: Any = require("faiss", "cpu")
EXACT = "Flat"  # the factory string of segments without an index: scanning the rows themselves is faster
MAX_FACTORY = 128  # characters
# Lists x codes x 4 bytes: FAISS counts a table of IVF-PQ against the limit for reading, though inner products
# need none. 65,536 lists of 64 product codes come to 4 GiB.
TABLES_BYTES = 8 * 2**30
_reading = threading.Lock()  # FAISS's limits for reading belong to the whole process


class ReadsBytes(Protocol):
    """What has bytes to read, one after the other: a file, a memory map."""

    def read(self, n: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Kind:
    """What the planner needs to know of an index.

    `knob` is the parameter that trades speed for recall (None: it looks at every row), `top` its largest
    useful value. `lossless` says that it holds the vectors themselves, so that its scores order them right.
    """

    knob: str | None
    top: int
    lossless: bool
    links: int  # neighbours of a node in a graph; 0 in other kinds


class FaissIndex:
    """A finished index, optionally with a copy on a GPU for searches without a selection."""

    def __init__(self, index: Any, copy: Any = None, resources: Any = None) -> None:
        self._index = index  # which owns what `innermost` gives
        self._inner = innermost(self._index)
        self._copy, self._copy_turn = copy, threading.Lock()
        self._resources = resources  # of the GPU: to outlive the copy
        self.kind = kind_of(self._inner, self._inner is not self._index)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def add(self, block_BD: NDArray[np.float32]) -> None:
        """Adds rows: before anybody searches the index, never after."""
        self._index.add(block_BD)

    def search(
        self, queries_QD: NDArray[np.float32], count: int, bits: NDArray[np.uint8] | None, setting: int
    ) -> NDArray[np.int64]:
        """Positions (Q, count) of the best rows as the index sees them, best first; -1 for none.

        `bits`, one for each row, says which rows count (None: all); `setting` is the knob's value.
        """
        if self._copy is not None and bits is None:
            with self._copy_turn:  # the memory pool of a GPU serves one thread at a time
                if self.kind.knob == "nprobe":
                    self._copy.nprobe = setting
                return np.asarray(self._copy.search(queries_QD, count)[1], np.int64)
        # The selector reads `bits` and the parameters refer to the selector: all three outlive the search.
        selector = None if bits is None else faiss.IDSelectorBitmap(bits)
        parameters = self._parameters(selector, setting)
        labels: NDArray[np.int64] = self._index.search(queries_QD, count, params=parameters)[1]
        return labels

    def _parameters(self, selector: Any, setting: int) -> Any:
        if self.kind.knob == "nprobe":
            parameters = faiss.SearchParametersIVF(nprobe=setting, sel=selector)
        elif self.kind.knob == "ef_search":
            parameters = faiss.SearchParametersHNSW(efSearch=setting, sel=selector)
        else:
            parameters = faiss.SearchParameters(sel=selector)
        if self._inner is self._index:
            return parameters
        return faiss.SearchParametersPreTransform(index_params=parameters)

    def write(self, put: Callable[[bytes], None]) -> None:
        """Hands over the bytes of the index, block by block.

        FAISS's own writer of files reports success on a full disk and never syncs; an exception of `put`
        comes through.
        """
        problem: list[BaseException] = []

        def guarded(block: bytes) -> None:
            try:
                put(block)
            except BaseException as error:
                problem.append(error)
                raise

        try:
            faiss.write_index(self._index, faiss.PyCallbackIOWriter(guarded))
        except Exception:
            if problem:
                raise problem[0] from None
            raise


def read(source: ReadsBytes, size: int, gpu: bool = True) -> FaissIndex:
    """The index of these bytes, whose checksum the caller has verified; with a copy on a GPU if there is one.

    FAISS takes a quarter or more of all damaged files for good ones, hence the checksum; the limit keeps a
    wrong length in the file from asking for any amount of memory.
    """
    with _reading:
        before = faiss.get_deserialization_vector_byte_limit()
        faiss.set_deserialization_vector_byte_limit(size + TABLES_BYTES)
        try:
            index = faiss.read_index(faiss.PyCallbackIOReader(source.read))
        finally:
            faiss.set_deserialization_vector_byte_limit(before)
    return with_gpu(index) if gpu else FaissIndex(index)


def with_gpu(index: Any) -> FaissIndex:
    """The index, and a copy on the first GPU where FAISS has one, the kind allows it and it fits.

    Only Flat and IVF have a GPU form that searches like the original. The copy serves searches of all rows:
    selections (filters, deleted rows) stay with the CPU.
    """
    inner = innermost(index)
    gpus = getattr(faiss, "get_num_gpus", lambda: 0)()
    if not gpus or not isinstance(inner, faiss.IndexFlat | faiss.IndexIVF):
        return FaissIndex(index)
    resources = faiss.StandardGpuResources()
    try:
        copy = faiss.index_cpu_to_gpu(resources, 0, index)
    except RuntimeError:  # no room on the GPU, or a variant that it does not have
        return FaissIndex(index)
    return FaissIndex(index, copy, resources)


def innermost(index: Any) -> Any:
    """The index behind rotations and projections."""
    while isinstance(index, faiss.IndexPreTransform):
        index = faiss.downcast_index(index.index)
    return index


def kind_of(inner: Any, transformed: bool) -> Kind:
    """The kind of the innermost index; `InvalidInput` for one that cannot be searched with a selection."""
    if isinstance(inner, faiss.IndexIVF):
        return Kind("nprobe", int(inner.nlist), isinstance(inner, faiss.IndexIVFFlat) and not transformed, 0)
    if isinstance(inner, faiss.IndexHNSW):
        links = int(inner.hnsw.nb_neighbors(0))
        return Kind("ef_search", 2_048, isinstance(inner, faiss.IndexHNSWFlat) and not transformed, links)
    if isinstance(inner, faiss.IndexFlat | faiss.IndexScalarQuantizer):
        return Kind(None, 1, isinstance(inner, faiss.IndexFlat) and not transformed, 0)
    raise InvalidInput(f"FAISS index is {type(inner).__name__}, expected one of Flat, SQ, HNSW and IVF")


def empty(factory: str, dim: int) -> Any:
    """The untrained index of a factory string; `InvalidInput` if FAISS or polylens does not know it."""
    if not isinstance(factory, str) or not 0 < len(factory) <= MAX_FACTORY or not factory.isascii():
        raise InvalidInput(f"index is {factory!r:.80}, expected a FAISS factory string or 'auto'")
    try:
        index = faiss.index_factory(dim, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].rpartition("Error: ")[2]
        raise InvalidInput(f"index {factory!r} is none for width {dim}: {reason:.200}") from None
    inner = innermost(index)
    if kind_of(inner, inner is not index).top < 1:
        raise InvalidInput(f"index {factory!r} has no lists, expected at least one")
    return index
